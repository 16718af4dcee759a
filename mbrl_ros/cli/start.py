"""Entry of the `mbrl` command, which must answer Ctrl-C while the rest is still being loaded."""

from __future__ import annotations

import signal


def main() -> None:
    """Load the command line and run it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing has begun that had to be put in order
    from mbrl_ros.cli.main import main as command_line  # takes seconds

    signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":
    main()
