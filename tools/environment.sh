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

# Prints an assignment of the list $3, or of it behind the foreign part of $2.
prepend() {
    rest=$(foreign "$2")
    assign "$1" "$3${rest:+:$rest}"
}

wheel_libraries() {
    libraries=$venv/lib
    for folder in "$venv"/lib/python3*/site-packages/ros_*.libs; do
        libraries=$libraries:$folder
    done
    echo "$libraries"
}

[ -x "$venv/bin/python" ] || die "no environment at $venv; run make setup"

if [ -z "$distribution" ]; then
    assign AMENT_PREFIX_PATH "$venv"
    assign ROS_DISTRO "$wheels"
    assign ROS_WHEELS "$wheels"
    assign ROS_VERSION 2
    assign ROS_PYTHON_VERSION 3
    prepend CMAKE_PREFIX_PATH "${CMAKE_PREFIX_PATH:-}" "$venv"
    prepend LD_LIBRARY_PATH "${LD_LIBRARY_PATH:-}" "$(wheel_libraries)"
    # The wheels would start Python a second time to set the line above.
    assign _ROS_WHEELS_BOOTSTRAP_COMPLETE 1
else
    assign AMENT_PREFIX_PATH "$(foreign "$AMENT_PREFIX_PATH")"
fi
python_path=$(foreign "${PYTHONPATH:-}")
# An empty entry would stand for the working directory.
if [ -n "$python_path" ]; then assign PYTHONPATH "$python_path"; else echo "unset PYTHONPATH"; fi
prepend PATH "$PATH" "$venv/bin"
assign MBRL_PYTHON "$venv/bin/python"
[ "${1:-}" != base ] || exit 0

assign MBRL_ROOT "$root"
# Development stays on this machine; a vehicle's network is joined by sourcing ROS 2 alone.
assign ROS_AUTOMATIC_DISCOVERY_RANGE "${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
[ "${ROS_DISTRO:-}" != humble ] || assign ROS_LOCALHOST_ONLY "${ROS_LOCALHOST_ONLY:-1}"
[ -f "$install/local_setup.sh" ] || die "nothing built yet; run make build"
assign COLCON_CURRENT_PREFIX "$install"
echo '. "$COLCON_CURRENT_PREFIX/local_setup.sh"; unset COLCON_CURRENT_PREFIX'
# The sources stand before their links, so that new files count at once.
echo "export PYTHONPATH=\"\$MBRL_ROOT\${PYTHONPATH:+:\$PYTHONPATH}\""
