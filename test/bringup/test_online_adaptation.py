"""Adaptation beside the model in force, without ROS: what it learns from, how it proves itself, what it refuses."""

import threading

import pytest
from serving_toys import VEHICLE, ScriptedDrive, save

from mbrl_ros.bringup.online_adaptation import OnlineAdaptation, OnlineSettings
from mbrl_ros.core.errors import ConfigError, ModelError
from mbrl_ros.core.trust import TrustSettings
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.driven_recording import record
from mbrl_ros.evaluation.proof import ProofSettings
from mbrl_ros.evaluation.serving import ModelInForce, read


class Beside:
    """An adaptation beside a model in force, and what it says at its end."""

    def __init__(self, place, **settings):
        save(place / "model")
        save(place / "nominal", "kinematic_bicycle")
        proof = ProofSettings(least_s=3.0)
        self.models = ModelInForce(read(place / "model"), read(place / "nominal"), proof, TrustSettings(), VEHICLE)
        self.drive, self.ended, self.announced, self.said = ScriptedDrive(), threading.Event(), 0, None
        # The model is the simulated car's own: of an error of 1 mm on gentle driving no share can be kept.
        learning = {"horizon_s": 0.5, "start_every_s": 0.2, "forgetting": 10.0}
        given = OnlineSettings.model_validate({"learning": learning, **settings})
        self.time_s = 0.0
        self.adaptation = OnlineAdaptation(
            given, self.models, self.driving, self.announce, self.conclude, lambda: self.time_s
        )

    def driving(self):
        return self.drive.driven.copy()

    def announce(self):
        self.announced += 1

    def until(self, words):
        """Wait until it says that it does this."""
        for _ in range(600):
            if words in self.adaptation.standing.words:
                return
            assert not self.ended.wait(0.1), self.said
        raise AssertionError(f"{self.adaptation.standing.words}: not '{words}'")

    def conclude(self, standing):
        self.said = standing
        self.ended.set()


def test_what_was_driven_is_recorded_as_it_was(tmp_path):
    drive = ScriptedDrive().drive(8.0, 3.0)
    record(drive, tmp_path / "bag")
    read_back = read_drive(tmp_path / "bag", rate_hz=50, mean_commands=True)
    (segment,) = read_back.segments
    assert read_back.reference_point == "cg"
    assert segment.time_s[-1] - segment.time_s[0] == pytest.approx(drive.driven_s, abs=0.1)
    assert segment.state == pytest.approx(drive.at(segment.time_s), abs=1e-6)
    sent = drive._commands.mean(segment.time_s[0], 0.02, len(segment) - 1)
    assert segment.action[:-1] == pytest.approx(sent[:, :2], abs=1e-5)


def test_it_is_off_without_a_folder_and_says_what_it_lacks(tmp_path):
    off = Beside(tmp_path)
    with pytest.raises(ConfigError, match=r"set adapt\.folder"):
        off.adaptation.begin()
    on = Beside(tmp_path, folder=str(tmp_path / "made"))
    on.drive.drive(12.0, 3.0)
    on.adaptation.begin()
    assert on.ended.wait(60)
    assert on.said.failed
    assert "does not say what it learned from; name recordings to replay" in on.said.words
    assert not on.adaptation.standing.running


def test_another_model_that_comes_into_force_meanwhile_stays(tmp_path):
    record(ScriptedDrive().drive(12.0, 2.0, steering=0.1), tmp_path / "gentle")
    beside = Beside(tmp_path, folder=str(tmp_path / "made"), replay=str(tmp_path / "gentle"))
    beside.drive.simulator.set_friction_scale(0.4)
    beside.drive.drive(12.0, 3.0, steering=0.2)
    beside.adaptation.begin()
    with pytest.raises(ModelError, match="under way"):
        beside.adaptation.begin()
    save(tmp_path / "other", wheelbase=0.34)
    beside.models.load(tmp_path / "other", ScriptedDrive().driven)
    assert beside.ended.wait(60)
    assert beside.said.failed
    assert "came into force meanwhile; nothing was changed" in beside.said.words
    assert beside.models.present.folder.name == "other"
    assert beside.announced == 0


def test_time_that_is_set_back_ends_the_wait_for_new_driving(tmp_path):
    record(ScriptedDrive().drive(12.0, 2.0, steering=0.1), tmp_path / "gentle")
    beside = Beside(tmp_path, folder=str(tmp_path / "made"), replay=str(tmp_path / "gentle"))
    beside.drive.simulator.set_friction_scale(0.4)
    beside.drive.drive(12.0, 3.0, steering=0.2)
    before = beside.models.present
    beside.adaptation.begin()
    beside.drive = ScriptedDrive()
    beside.drive.drive(4.0, 3.0)
    assert beside.ended.wait(60)
    assert beside.said.failed
    assert "time was set back" in beside.said.words
    assert beside.models.present is before
    assert not beside.adaptation.standing.running


def parked(place):
    """An adaptation that lacks nothing but new driving."""
    record(ScriptedDrive().drive(12.0, 2.0, steering=0.1), place / "gentle")
    beside = Beside(place, folder=str(place / "made"), replay=str(place / "gentle"), proof_timeout_s=60.0)
    beside.drive.simulator.set_friction_scale(0.4)
    beside.drive.drive(12.0, 3.0, steering=0.2)
    beside.adaptation.begin()
    return beside


def test_a_parked_car_ends_the_wait_for_new_driving_and_a_second_one_may_be_cancelled(tmp_path):
    beside = parked(tmp_path)
    before = beside.models.present
    beside.until("waits for new driving")
    beside.time_s = 61.0
    assert beside.ended.wait(30)
    assert beside.said.failed
    assert "0.0 s were driven within 60 s, too little to prove it on" in beside.said.words
    assert "nothing was changed" in beside.said.words

    beside.ended.clear()
    beside.adaptation.begin()
    assert "cancelled: " in beside.adaptation.cancel()
    assert beside.ended.wait(30)
    assert (beside.said.failed, beside.said.words) == (False, "the adaptation was cancelled; nothing was changed")
    assert beside.models.present is before
    with pytest.raises(ModelError, match=r"no adaptation is under way.*was cancelled"):
        beside.adaptation.cancel()


def test_nothing_is_cancelled_where_nothing_is_under_way(tmp_path):
    with pytest.raises(ModelError, match="no adaptation is under way"):
        Beside(tmp_path).adaptation.cancel()
