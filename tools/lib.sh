# Shared by the scripts of this folder, which set $root and source it: where things are, which
# ROS 2 is in use, and how to stop with one clear line.

say() { echo "mbrl_ros: $*" >&2; }
die() { say "$*"; exit 1; }

# Prints the prefix of a sourced ROS 2 distribution, or nothing. A virtual environment with the
# ROS 2 wheels looks like a distribution, too, but for its pyvenv.cfg.
sourced_distribution() {
    printf '%s\n' "${AMENT_PREFIX_PATH:-}" | tr ':' '\n' | while IFS= read -r prefix; do
        if [ -n "$prefix" ] && [ -d "$prefix/share/rclpy" ] && [ ! -f "$prefix/pyvenv.cfg" ]; then
            echo "$prefix"
            break
        fi
    done
}

# Sets distribution (prefix of the sourced ROS 2, empty: wheels), wheels (which ones), and the
# folders. Each source of ROS 2 has folders of its own, so that one never spoils the other's.
choose_habitat() {
    case $root in *:*) die "the path $root contains a colon, which no search path can hold; move the repository" ;; esac
    distribution=$(sourced_distribution)
    wheels=${ROS_WHEELS:-jazzy}
    if [ -n "$distribution" ]; then
        [ -z "${ROS_WHEELS:-}" ] ||
            die "ROS_WHEELS is set, but $distribution is sourced; use a shell without a sourced ROS 2"
        suffix=-${ROS_DISTRO:?"$distribution is sourced, but ROS_DISTRO is not set; source its setup file"}
    elif [ "$wheels" = jazzy ]; then
        suffix=
    else
        [ -f "$root/requirements/ros-$wheels.txt" ] || die "ROS_WHEELS=$wheels: choose jazzy or kilted"
        suffix=-wheels-$wheels
    fi
    venv=$root/.venv$suffix
    build=$root/build$suffix
    install=$root/install$suffix
    log=$root/log$suffix
}

# Two runs of make in one tree wait for each other. The lock goes away with the process.
take_lock() {
    command -v flock >/dev/null || return 0
    exec 9>"$root/.setup.lock"
    flock -n 9 || { say "waiting for another make in this folder"; flock 9; }
}

# Hash of the contents of the files named on standard input, and of the names.
content_key() {
    LC_ALL=C sort | (cd "$root" && xargs -d '\n' sha256sum) | sha256sum | cut -d ' ' -f 1
}

stamp_says() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
