"""The `mbrl` command: one module per subcommand."""

from __future__ import annotations

import importlib
import signal

import typer
from rich.console import Console
from rich.markup import escape

from mbrl_ros.cli import config, track
from mbrl_ros.core.errors import MbrlError

app = typer.Typer(
    name="mbrl",
    help="Model-based reinforcement learning for cars: identify, score, plan, drive.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _register(module: str, function: str, name: str) -> None:
    app.command(name=name)(getattr(importlib.import_module(f"mbrl_ros.cli.{module}"), function))


app.add_typer(config.app, name="config")
app.add_typer(track.app, name="track")
_register("doctor", "doctor", "doctor")
_register("demo", "demo", "demo")
_register("drive", "drive", "drive")
_register("replay", "replay", "replay")
_register("race", "race", "race")
_register("improve", "improve", "improve")
_register("fit", "fit", "fit")
_register("train", "train", "train")
_register("adapt", "adapt_command", "adapt")
_register("evaluate", "evaluate", "evaluate")


def main() -> None:
    """Run the command line; an error made on purpose ends in one clear line and exit status 2.

    SIGTERM and SIGHUP end it as Ctrl-C does, so that what it started is stopped with it.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        app()
    except MbrlError as error:
        raise _refused(str(error)) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise _refused(f"{error.filename}: {error.strerror}; check the path") from error


def _refused(message: str) -> SystemExit:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    return SystemExit(2)


if __name__ == "__main__":
    main()
