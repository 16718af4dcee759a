"""Planners of served models: built beside the one that drives, exchanged at once, tried again after a failure."""

import threading
from types import SimpleNamespace

import pytest

from mbrl_ros.core.errors import ModelError
from mbrl_ros.planning.served import ServedPlanners


class Server:
    """Hands out models by id; building waits where it is told to."""

    def __init__(self, in_force="a"):
        self.in_force, self.bad, self.fetched, self.said = in_force, set(), [], []
        self.may_build = threading.Event()
        self.may_build.set()
        self.planners = ServedPlanners(self.fetch, self.build, self.said.append, retry_s=5.0)

    def fetch(self, model_id):
        self.fetched.append(model_id)
        return SimpleNamespace(id=model_id or self.in_force)

    def build(self, loaded):
        assert self.may_build.wait(30)
        if loaded.id in self.bad:
            raise ModelError(f"{loaded.id} is bad")
        return SimpleNamespace(model_id=loaded.id)

    def plans_with(self, *, nominal=False):
        planner = self.planners.planner(nominal=nominal)
        return planner and planner.model_id

    def settle(self):
        self.planners._worker.join(30)


@pytest.fixture
def server():
    subject = Server()
    subject.planners.begin()
    return subject


def test_before_it_has_begun_nothing_is_fetched():
    subject = Server()
    subject.planners.serve("b", 0.0)
    assert subject.fetched == []
    assert subject.plans_with() is None


def test_the_present_model_drives_on_until_the_new_one_is_ready(server):
    server.may_build.clear()
    server.planners.serve("b", 0.0)
    assert server.plans_with() == "a"
    server.may_build.set()
    server.settle()
    assert (server.plans_with(), server.planners.in_force, server.planners.trouble) == ("b", "b", "")


def test_the_nominal_model_is_ready_before_it_is_needed_and_going_back_is_immediate(server):
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    assert (server.plans_with(), server.plans_with(nominal=True)) == ("a", "n")
    server.planners.serve("a", 1.0)
    server.planners.keep_nominal("n", 1.0)
    assert server.fetched == ["", "n"]


def test_a_nominal_model_that_is_in_force_is_not_built_twice(server):
    server.planners.keep_nominal("a", 0.0)
    assert server.fetched == [""]
    assert server.plans_with(nominal=True) == "a"


def test_a_model_that_fails_is_told_once_and_tried_again_after_a_while(server):
    server.bad.add("b")
    server.planners.serve("b", 0.0)
    server.settle()
    assert (server.plans_with(), server.planners.trouble) == ("a", "model b not taken over: b is bad")
    server.planners.serve("b", 4.9)
    assert server.fetched == ["", "b"]
    server.planners.serve("b", 5.1)
    server.settle()
    assert len(server.said) == 1
    server.bad.clear()
    server.planners.serve("b", 11.0)
    server.settle()
    server.planners.serve("b", 11.1)
    assert (server.plans_with(), server.planners.trouble) == ("b", "")


def test_trouble_is_over_when_the_present_model_is_served_again(server):
    server.bad.add("b")
    server.planners.serve("b", 0.0)
    server.settle()
    server.planners.serve("a", 0.1)
    assert server.planners.trouble == ""


def test_what_was_still_being_built_when_it_began_anew_comes_too_late(server):
    server.may_build.clear()
    server.planners.serve("b", 0.0)
    late = server.planners._worker
    server.in_force = "c"
    again = threading.Thread(target=server.planners.begin)
    again.start()
    while server.fetched.count("") < 2:
        again.join(0.01)
    server.may_build.set()
    late.join(30)
    again.join(30)
    assert (server.plans_with(), list(server.planners._planners)) == ("c", ["c"])
