# Every target works from a fresh clone: what it needs is set up and built first.
# ARGS passes arguments on:  make test ARGS="-k gate"    make demo ARGS="--help"

.PHONY: help setup build test demo lint format bench shell lock clean distclean
.DEFAULT_GOAL := help

# Those that need no recording and drive no laps; README.md lists them all.
BENCHMARKS ?= mppi_solve mppi_peers learned_solve ddp_crocoddyl mctx_trees mbrl_lib_ensemble

help:
	@echo "make setup      virtual environment: ROS 2 from wheels, or what a sourced ROS 2 lacks"
	@echo "make build      messages and links to the sources"
	@echo "make demo       simulated car: drive, record, fit, drive, learn, drive, report"
	@echo "make test       all tests"
	@echo "make lint       style, formatting and types"
	@echo "make format     put the sources into the house style"
	@echo "make bench      timing beside other projects"
	@echo "make shell      a shell with everything on its paths (or: . tools/env.sh)"
	@echo "make lock       renew the pinned dependencies (developers, needs uv)"
	@echo "make clean      remove what was built;  make distclean: the environments, too"
	@echo
	@echo "MBRL_CUDA=1 installs torch for CUDA.  ROS_WHEELS=kilted takes ROS 2 Kilted instead of Jazzy."

setup:
	@tools/setup.sh

build: setup
	@tools/build.sh

test: build
	@tools/test.sh $(ARGS)

demo: build
	@tools/run.sh mbrl demo $(ARGS)

lint: setup
	@tools/run.sh --unbuilt ruff check .
	@tools/run.sh --unbuilt ruff format --check .
	@tools/run.sh --unbuilt mypy

format: setup
	@tools/run.sh --unbuilt ruff check --fix .
	@tools/run.sh --unbuilt ruff format .

bench: build
	@for name in $(BENCHMARKS); do \
	    echo "== $$name"; tools/run.sh python "benchmarks/$$name.py" $(ARGS) || exit 1; \
	done

shell: build
	@tools/run.sh "$${SHELL:-sh}"

lock:
	@tools/lock.sh $(ARGS)

clean:
	rm -rf build build-* install install-* log log-* .mypy_cache .pytest_cache .ruff_cache
	find mbrl_ros test launch -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-* .setup.lock
