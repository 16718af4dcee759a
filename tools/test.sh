#!/bin/sh
# Runs the tests: first those without nodes, on all cores; then those with nodes, one by one, since a graph of nodes
# has a machine to itself on a car, too. With arguments: one plain run of pytest with them.
set -eu
tools=$(cd "$(dirname "$0")" && pwd -P)
cd "$tools/.."

if [ $# -gt 0 ]; then
    exec "$tools/run.sh" python -m pytest "$@"
fi
# Each worker is a process with a core of its own; more threads would only be in each other's way. Files come in their
# own order: xdist would begin with those of many tests, and end with one worker in a long test and the others idle.
OMP_NUM_THREADS=1 "$tools/run.sh" python -m pytest -m "not ros" -n auto --dist loadfile --no-loadscope-reorder
"$tools/run.sh" python -m pytest -m ros
