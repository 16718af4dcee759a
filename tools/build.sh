#!/bin/sh
# Builds the messages (and the interface packages that ROS 2 lacks here) with colcon and links the
# Python sources into the install folder. Does nothing when nothing that matters has changed; Python
# sources may be edited without building again.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
. "$root/tools/lib.sh"
choose_habitat
take_lock
stamp=$install/mbrl-stamp
building=$build/mbrl-building
sources=$build/mbrl-sources

# Files whose contents the build depends on. Of the Python sources only the names count, since they
# are linked; and which of them are nodes.
built_files() {
    cd "$root"
    find msg srv action overlay CMakeLists.txt package.xml tools/launcher.sh.in -type f
}
linked_names() {
    cd "$root"
    find mbrl_ros launch config -type f ! -name '*.pyc' 2>/dev/null | LC_ALL=C sort
    grep -l '^def main(' mbrl_ros/nodes/*.py || true
}

# Interface packages of the overlay that the sourced ROS 2 has itself.
provided_packages() {
    for package in "$root"/overlay/*/package.xml; do
        name=$(basename "$(dirname "$package")")
        printf '%s\n' "${AMENT_PREFIX_PATH:-}" | tr ':' '\n' | while IFS= read -r prefix; do
            [ "$prefix" = "$install" ] || [ ! -d "$prefix/share/$name" ] || { echo "$name"; break; }
        done
    done
}

# Whether the folders of the last build serve for the next one. They do not when a build was killed,
# or when the generators have left code there for an interface that is gone.
can_continue() {
    [ ! -f "$building" ] || return 1
    [ -f "$sources" ] || return 1
    while IFS= read -r path; do
        [ -f "$root/$path" ] || return 1
    done <"$sources"
}

run_colcon() {
    # A distribution's build tools belong to the system's Python, the wheels' to the environment's.
    build_python=$("$venv/bin/python" -c 'import sys; print(sys.argv[1] and sys._base_executable or sys.executable)' \
        "$distribution")
    # Messages are converted in microseconds either way; full optimisation doubles the build.
    set -- --cmake-args --no-warn-unused-cli -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
        "-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG" "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG" \
        "-DPython3_EXECUTABLE=$build_python" "-DMBRL_PYTHON=$venv/bin/python"
    # Without a distribution there is nobody to use the messages from C++.
    [ -n "$distribution" ] || set -- "$@" -G Ninja -DPYTHON_MESSAGES_ONLY=ON
    skip=$(provided_packages)
    # shellcheck disable=SC2086  # one word per package
    [ -z "$skip" ] || set -- --packages-skip $skip "$@"
    (cd "$root" && "$venv/bin/python" -m colcon --log-base "$log" build \
        --base-paths . overlay --build-base "$build" --install-base "$install" \
        --merge-install --symlink-install \
        --event-handlers console_cohesion- console_stderr- status- desktop_notification- "$@")
}

[ -f "$venv/mbrl-stamp" ] || die "no environment at $venv; run make setup"
key="$(cat "$venv/mbrl-stamp") $(built_files | content_key) $(linked_names | sha256sum)"
if stamp_says "$stamp" "$key"; then
    exit 0
fi

eval "$(sh "$root/tools/environment.sh" base)"
# Options of the make that called are not meant for the makes that colcon calls.
unset MAKEFLAGS MAKELEVEL
# colcon warns of prefixes that it did not make itself.
export COLCON_LOG_LEVEL=error
say "building messages (a minute the first time)"
rm -f "$stamp"
if ! can_continue; then
    rm -rf "$build" "$install"
fi
mkdir -p "$build"
touch "$building"
built_files >"$sources"
status=0
run_colcon || status=$?
# colcon ends with 2 when it was interrupted.
[ "$status" = 2 ] || rm -f "$building"
if [ "$status" != 0 ]; then
    tail -n 25 "$log"/latest_build/*/stdout_stderr.log >&2
    die "build failed (whole log: $log/latest_build)"
fi
echo "$key" >"$stamp"
say "built: $install"
