#!/bin/sh
# Runs a command in the environment of env.sh: tools/run.sh python -m pytest test/core
# With --unbuilt as the first argument: without what the build made, for tools that only read.
set -eu
tools=$(cd "$(dirname "$0")" && pwd -P)
part=
if [ "$1" = --unbuilt ]; then
    part=base
    shift
fi
commands=$(sh "$tools/environment.sh" $part)
eval "$commands"
exec "$@"
