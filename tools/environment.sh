#!/bin/sh
# Prints the shell commands that make ROS 2, the built messages and the sources usable; env.sh runs
# them. With the argument "base": without what build.sh builds.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
. "$root/tools/lib.sh"
choose_habitat

# The list $1 without what an earlier call put there from the folders of this tree.
foreign() {
    printf '%s' "$1" | tr ':' '\n' | awk -v own="$root" \
        '$0 != "" && $0 != own && index($0, own "/.venv") != 1 && index($0, own "/install") != 1' | paste -sd: -
}

# Prints an assignment, quoted for any shell.
assign() {
    printf "export %s='%s'\n" "$1" "$(printf '%s' "$2" | sed "s/'/'\\\\''/g")"
}

# Prints an assignment of the list $3 before the foreign part of $2. An empty entry would stand for
# the working directory, so an empty list is no variable at all.
prepend() {
    rest=$(foreign "$2")
    list=$3${3:+${rest:+:}}$rest
    if [ -n "$list" ]; then assign "$1" "$list"; else echo "unset $1"; fi
}

# Joins folders into a list, leaving out those that do not exist.
existing() {
    for folder in "$@"; do
        [ ! -d "$folder" ] || printf '%s\n' "$folder"
    done | paste -sd: -
}

[ -x "$venv/bin/python" ] || die "no environment at $venv; run make setup"
prefixes=
programs=$venv/bin
libraries=
modules=

if [ -z "$distribution" ]; then
    prefixes=$venv
    libraries=$(existing "$venv/lib" "$venv"/lib/python3*/site-packages/ros_*.libs)
    assign ROS_DISTRO "$wheels"
    assign ROS_WHEELS "$wheels"
    assign ROS_VERSION 2
    assign ROS_PYTHON_VERSION 3
    # The wheels would start Python a second time to set the library path.
    assign _ROS_WHEELS_BOOTSTRAP_COMPLETE 1
fi

if [ "${1:-}" != base ]; then
    [ -d "$install/share/mbrl_ros" ] || die "nothing built yet; run make build"
    prefixes=$install${prefixes:+:$prefixes}
    programs=$install/bin:$programs
    libraries=$install/lib${libraries:+:$libraries}
    # The sources stand before their links, so that new files count at once. The generated half is
    # where the distribution's Python keeps its packages.
    modules=$root:$(existing "$install"/lib/python3*/*-packages "$install"/local/lib/python3*/*-packages)
    assign MBRL_ROOT "$root"
    # Development stays on this machine; a vehicle's network is joined by sourcing ROS 2 alone.
    assign ROS_AUTOMATIC_DISCOVERY_RANGE "${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
    [ "${ROS_DISTRO:-}" != humble ] || assign ROS_LOCALHOST_ONLY "${ROS_LOCALHOST_ONLY:-1}"
fi

prepend AMENT_PREFIX_PATH "${distribution:+$AMENT_PREFIX_PATH}" "$prefixes"
prepend CMAKE_PREFIX_PATH "${CMAKE_PREFIX_PATH:-}" "$prefixes"
prepend LD_LIBRARY_PATH "${LD_LIBRARY_PATH:-}" "$libraries"
prepend PATH "$PATH" "$programs"
prepend PYTHONPATH "${PYTHONPATH:-}" "$modules"
assign MBRL_PYTHON "$venv/bin/python"
