#!/bin/sh
# Rewrites the lock files in requirements/ from the .in files: exact versions with their hashes,
# for every supported Python at once. For developers only; needs uv on the PATH. The rest of the
# project only reads the lock files.
set -eu
cd "$(dirname "$0")/../requirements"

command -v uv >/dev/null || { echo "lock: uv is not on the PATH (pip install uv)" >&2; exit 1; }

compile() {
    uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.10 \
        --custom-compile-command "make lock" "$@"
}

# python.txt is the base; the others may only add to it, so that any of them installs beside it.
compile runtime.in develop.in -o python.txt "$@"
compile ros-jazzy.in -c python.txt -o ros-jazzy.txt "$@"
compile ros-kilted.in -c python.txt -o ros-kilted.txt "$@"
compile cuda.in -c python.txt -o cuda.txt "$@"
