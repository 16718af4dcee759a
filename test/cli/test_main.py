"""What holds for every command: an example, figures for scripts, seeds, one clear line for a mistake."""

import pytest
import typer
from typer.testing import CliRunner

from mbrl_ros.cli.main import app, main

RANDOM = {"adapt", "demo", "drive", "evaluate", "fit", "improve", "race", "replay", "track generate", "train"}


def leaves(command, path=()):
    if not hasattr(command, "commands"):
        return {" ".join(path): command}
    found = {}
    for name, child in command.commands.items():
        found |= leaves(child, (*path, name))
    return found


COMMANDS = leaves(typer.main.get_command(app))


def options(command):
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"})
    assert result.exit_code == 0
    assert f"Example: mbrl {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_figures_can_be_written_for_scripts(name):
    assert "--json" in options(COMMANDS[name])


def test_what_is_random_has_a_seed():
    assert {name for name, command in COMMANDS.items() if "--seed" in options(command)} == RANDOM


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_a_seed_is_not_negative(name):
    arguments = {
        "adapt": ["x", "y", "--replay", "z", "--out", "w"],
        "evaluate": ["--bag", "x"],
        "fit": ["x", "--out", "y"],
        "improve": ["--out", "x"],
        "replay": ["x"],
        "track generate": ["x.csv"],
        "train": ["x", "y", "--out", "z"],
    }
    result = CliRunner().invoke(app, [*name.split(), *arguments.get(name, []), "--seed", "-1"])
    assert result.exit_code == 2
    assert "--seed" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["race", "--track", "nowhere"], "no file 'nowhere', and config/tracks has no 'nowhere.csv'; it has demo"),
        (["race", "--plant", "rigid"], "--plant: field 'model': Input should be 'single_track_drift' or 'multi_body'"),
        (["race", "--model", "[bold]"], "--model [bold]: neither a folder nor one of kinematic_bicycle"),
        (
            ["track", "show", "demo", "--json", "/proc/none/figures.json"],
            "/proc/none: No such file or directory; check the path",
        ),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_2(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr("sys.argv", ["mbrl", *arguments])
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {words}")
    assert error.count("\n") == 1
