"""`mbrl doctor` as a script meets it: exit statuses, JSON, report and repaired copy."""

import json

import pytest
from planted_faults import FAULTS
from typer.testing import CliRunner

from mbrl_ros.cli.main import app, main

FIELDS = {"check", "severity", "topic", "evidence", "value", "unit", "std", "consequence", "fix", "repairable"}


def run(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_healthy_recording_exits_with_0(clean, tmp_path):
    result = run(clean, "--json", tmp_path / "new" / "findings.json")
    assert result.exit_code == 0, result.output
    assert "clean: 0 errors, 0 warnings" in result.output
    found = json.loads((tmp_path / "new" / "findings.json").read_text())
    assert found["verdict"] == "info"
    assert found["sources"]["command"] == "/drive"
    assert {row["topic"] for row in found["topics"]} == {"/drive", "/drive_feedback", "/imu/data", "/odom"}
    assert len(found["coverage"]["speed"]) == len(found["coverage"]["quantiles"])
    assert all(set(finding) == FIELDS for finding in found["findings"])


def test_a_sick_one_is_reported_repaired_and_exits_with_1(planted, tmp_path):
    fault = next(f for f in FAULTS if f.name == "steering_sign")
    path = planted(fault, *fault.topics)
    result = run(path, "--report", tmp_path / "report", "--repair", tmp_path / "repaired")
    assert result.exit_code == 1, result.output
    assert "error steering_sign /drive_feedback" in result.output
    assert "repaired /drive_feedback: drive.steering_angle times -1" in result.output
    assert "repaired: 0 errors, 0 warnings" in result.output
    page = (tmp_path / "report" / "report.html").read_text()
    assert "steering sign" in page and "drive.steering_angle times -1" in page
    assert page.count("data:image/png;base64,") == 3
    assert {p.name for p in (tmp_path / "report").iterdir()} == {
        "report.html", "topics.png", "coverage.png", "evidence.png",
    }  # fmt: skip
    assert run(tmp_path / "repaired").exit_code == 0
    assert run(path, "--fail-on", "never").exit_code == 0
    again = run(path, "--repair", tmp_path / "repaired")
    assert again.exit_code != 0 and "exists already" in str(again.exception)


def test_warnings_can_be_let_pass(planted):
    fault = next(f for f in FAULTS if f.name == "imu_bias")
    path = planted(fault, *fault.topics)
    assert run(path).exit_code == 1
    assert run(path, "--fail-on", "error").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "no such recording"),
        (("{clean}", "--topic", "command=/nowhere"), "no readable topic '/nowhere'"),
        (("{clean}", "--topic", "odom"), "expected quantity=/topic"),
        (("{clean}", "--repair", "{tmp}/copy"), "nothing that --repair could put right"),
    ],
)
def test_mistakes_end_in_one_line_and_2(clean, tmp_path, monkeypatch, capsys, arguments, message):
    given = [a.replace("{clean}", str(clean)).replace("{tmp}", str(tmp_path)) for a in arguments]
    monkeypatch.setattr("sys.argv", ["mbrl", "doctor", *given])
    with pytest.raises(SystemExit) as exit_of:
        main()
    assert exit_of.value.code == 2
    assert message in capsys.readouterr().err
