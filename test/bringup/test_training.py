"""A training as whoever starts it sees it: stopped, gone on with, refused."""

import dataclasses
import os
import signal

import pytest

from mbrl_ros.bringup.stopping import StopOnSignal
from mbrl_ros.bringup.training import Training, run_training
from mbrl_ros.core.errors import ModelError, StoppedError
from mbrl_ros.learning.training import Progress


@pytest.fixture
def training(weaving_bag, write_recipe, tmp_path):
    reading = {"mean_commands": True}
    return Training(str(write_recipe(training={"epochs": 4})), [weaving_bag], tmp_path / "car", reading=reading)


class Listener:
    """Hears of epochs and asks to stop after one of them."""

    def __init__(self, last):
        self.epochs = []
        self.progress = Progress(trained=self.epochs.append, stop=lambda: len(self.epochs) >= last)


def test_stopped_it_keeps_the_best_and_goes_on_to_the_end_of_an_undisturbed_one(training, tmp_path):
    stopped = run_training(training, Listener(2).progress)
    assert not stopped.finished
    stated = stopped.model.passport
    assert "stopped after 2 of 4 epochs: each member is at its best so far" in stated.notes
    assert [score.horizon_s for score in stated.scores] == [1.0, 2.0]
    assert stated.uncertainty is not None

    rest = Listener(9)
    resumed = run_training(training, rest.progress)
    assert resumed.finished
    assert [epoch.number for epoch in rest.epochs] == [3, 4]
    whole = run_training(dataclasses.replace(training, out=tmp_path / "whole"))
    assert resumed.model.id == whole.model.id
    with pytest.raises(ModelError, match="there is a model already"):  # what is finished is nobody's to replace
        run_training(training)


def test_stopped_before_there_is_anything_it_writes_nothing(training):
    with pytest.raises(StoppedError, match="nothing was written"):
        run_training(training, Listener(0).progress)
    assert not training.out.exists()


def test_stopped_before_the_first_epoch_the_physics_is_the_best(training):
    asked = []

    def identified(what, share):
        if share == 1.0:
            asked.append(what)

    stopped = run_training(training, Progress(stop=lambda: bool(asked), identified=identified))
    assert not stopped.finished
    assert any("stopped after 0 of 4" in note for note in stopped.model.passport.notes)


def test_the_first_signal_is_a_wish_where_it_is_heeded_and_the_second_an_order():
    with StopOnSignal() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)  # nobody listens yet
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
