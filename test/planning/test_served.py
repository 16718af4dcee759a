"""Planners on served models: built beside the one that drives, exchanged at once, tried again after a failure."""

import threading
from types import SimpleNamespace

import pytest

from mbrl_ros.core.errors import ModelError
from mbrl_ros.planning.planner import PlanningError
from mbrl_ros.planning.served import ServedPlanners


class Server:
    """Hands out models by id; building waits where it is told to."""

    def __init__(self, in_force="a"):
        self.in_force, self.bad, self.fetched, self.said = in_force, set(), [], []
        self.at_once = []
        self.may_build = threading.Event()
        self.may_build.set()
        self.known, self.rehearsed, self.slow = True, [], set()
        self.planners = ServedPlanners(
            self.fetch, self.build, lambda: self.rehearse if self.known else None, self.said.append, "mppi", retry_s=5.0
        )

    def fetch(self, model_id):
        self.fetched.append(model_id)
        return SimpleNamespace(id=model_id or self.in_force)

    def build(self, loaded, kind, at_once):
        self.at_once.append((loaded.id, at_once))
        assert self.may_build.wait(30)
        for what in (loaded.id, kind):
            if what in self.bad:
                raise ModelError(f"{what} is bad")
        return SimpleNamespace(model_id=loaded.id, kind=kind)

    def rehearse(self, planner):
        self.rehearsed.append((planner.kind, planner.model_id))
        for what in (planner.model_id, planner.kind):
            if what in self.slow:
                raise PlanningError(f"{what} takes {0.3 + 0.01 * len(self.rehearsed):.2f} s for a plan")

    def plans_with(self, *, nominal=False):
        planner = self.planners.planner(nominal=nominal)
        return planner and planner.model_id

    def kind(self, *, nominal=False):
        return self.planners.planner(nominal=nominal).kind

    def settle(self, now_s=0.0):
        """As heartbeats do: one build at a time, until there is no other."""
        worker = None
        while self.planners._worker is not worker:
            worker = self.planners._worker
            worker.join(30)
            self.planners.serve(self.planners._served, now_s)


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
    assert (server.plans_with(), server.planners.in_force) == ("b", "planner mppi on model b")
    assert server.planners.trouble == ""


def test_the_nominal_model_is_ready_before_it_is_needed_and_going_back_is_immediate(server):
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    assert (server.plans_with(), server.plans_with(nominal=True)) == ("a", "n")
    server.planners.serve("a", 1.0)
    server.planners.keep_nominal("n", 1.0)
    assert server.fetched == ["", "n"]


def test_only_the_planner_that_begins_has_to_serve_at_once(server):
    """Whoever takes over from another has time to be compiled."""
    server.planners.serve("b", 0.0)
    server.settle()
    assert server.at_once == [("a", True), ("b", False)]


def test_a_nominal_model_that_is_in_force_is_not_built_twice(server):
    server.planners.keep_nominal("a", 0.0)
    assert server.fetched == [""]
    assert server.plans_with(nominal=True) == "a"


def test_a_model_that_fails_is_told_once_and_tried_again_after_a_while(server):
    server.bad.add("b")
    server.planners.serve("b", 0.0)
    server.settle()
    assert server.plans_with() == "a"
    assert server.planners.trouble == "planner mppi on model b not taken over: b is bad"
    server.planners.serve("b", 4.9)
    assert server.fetched == ["", "b"]
    server.planners.serve("b", 5.1)
    server.settle(5.1)
    assert len(server.said) == 1
    server.bad.clear()
    server.planners.serve("b", 15.0)
    assert server.plans_with() == "a", "left alone twice as long as the first time"
    server.planners.serve("b", 15.2)
    server.settle(15.2)
    server.planners.serve("b", 15.3)
    assert (server.plans_with(), server.planners.trouble) == ("b", "")


def test_what_took_long_to_fail_is_left_alone_as_long_as_what_failed_at_once(server):
    server.bad.add("b")
    server.may_build.clear()
    server.planners.serve("b", 0.0)
    server.planners.serve("b", 60.0)
    server.may_build.set()
    server.planners._worker.join(30)
    server.planners.serve("b", 64.9)
    assert server.fetched == ["", "b"]
    server.planners.serve("b", 65.1)
    server.settle(65.1)
    assert server.fetched == ["", "b", "b"]


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
    assert (server.plans_with(), list(server.planners._planners)) == ("c", [("mppi", "c")])


def test_a_distrusted_model_is_not_planned_with_while_the_one_in_its_place_is_built(server):
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    server.planners.distrust("a", holds=True)
    assert server.plans_with() == "n"
    server.may_build.clear()
    server.planners.serve("b", 1.0)
    server.planners.distrust("b", holds=False)
    assert server.plans_with() == "n", "what is said of b does not speak for a"
    server.may_build.set()
    server.settle(1.0)
    assert server.plans_with() == "b"
    server.planners.serve("a", 2.0)
    server.settle(2.0)
    assert server.plans_with() == "n"
    server.planners.distrust("a", holds=False)
    assert server.plans_with() == "a"


def test_another_planner_is_built_beside_the_present_one_for_both_models(server):
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    server.may_build.clear()
    server.planners.choose("ddp", 1.0)
    assert (server.kind(), server.kind(nominal=True)) == ("mppi", "mppi")
    server.may_build.set()
    server.settle(1.0)
    assert (server.kind(), server.kind(nominal=True)) == ("ddp", "ddp")
    assert (server.plans_with(), server.plans_with(nominal=True)) == ("a", "n")
    server.planners.planned(server.planners.planner())
    server.planners.serve("a", 2.0)
    assert sorted(server.planners._planners) == [("ddp", "a"), ("ddp", "n")], "those of the first planner are kept"


def test_the_nominal_model_can_be_planned_with_all_the_while(server):
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    server.planners.choose("ddp", 1.0)
    server.planners._worker.join(30)  # the model in force is taken over, the nominal one not yet
    assert (server.kind(), server.kind(nominal=True), server.plans_with(nominal=True)) == ("ddp", "mppi", "n")


def test_a_planner_that_cannot_be_built_leaves_the_present_one_which_follows_the_served_model(server):
    server.bad.add("ddp")
    server.planners.choose("ddp", 0.0)
    server.settle()
    assert server.kind() == "mppi"
    assert server.planners.trouble == "planner ddp on model a not taken over: ddp is bad"
    assert len(server.said) == 1
    server.planners.serve("b", 1.0)
    server.settle(1.0)
    assert (server.kind(), server.plans_with()) == ("mppi", "b")
    assert "planner ddp on model b not taken over" in server.planners.trouble
    server.planners.choose("mppi", 2.0)
    assert server.planners.trouble == ""


def test_the_planner_that_was_chosen_back_meanwhile_stays(server):
    server.may_build.clear()
    server.planners.choose("ddp", 0.0)
    server.planners.choose("mppi", 0.1)
    server.may_build.set()
    server.settle()
    assert server.kind() == "mppi"
    assert list(server.planners._planners) == [("mppi", "a")]


def test_what_was_chosen_before_it_begins_begins():
    subject = Server()
    subject.planners.choose("ddp", 0.0)
    subject.planners.begin()
    assert (subject.kind(), subject.fetched) == ("ddp", [""])


def test_what_was_built_before_the_car_was_seen_is_rehearsed_once_it_is_and_not_planned_with_before():
    server = Server()
    server.known = False
    server.planners.begin()
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    assert (server.plans_with(), server.plans_with(nominal=True), server.rehearsed) == ("a", None, [])
    for now_s in (0.1, 0.2):
        server.planners.serve("a", now_s)
    assert server.fetched == ["", "n"], "built again and again"
    server.known = True
    server.settle(0.3)
    assert (server.plans_with(nominal=True), server.rehearsed) == ("n", [("mppi", "n")])
    assert server.fetched == ["", "n"]


def test_a_nominal_planner_that_is_too_slow_is_known_before_it_is_needed():
    server = Server()
    server.known = False
    server.planners.begin()
    server.slow.add("n")
    server.planners.keep_nominal("n", 0.0)
    server.settle()
    server.known = True
    server.settle(1.0)
    assert server.plans_with(nominal=True) is None
    assert "planner mppi on model n not taken over: n takes 0.31 s" in server.planners.trouble


def test_what_is_refused_time_and_again_is_told_once_and_tried_ever_less_often(server):
    server.slow.add("ddp")
    server.planners.choose("ddp", 0.0)
    for now_s in range(0, 2000):
        server.settle(float(now_s))
    tried = server.rehearsed.count(("ddp", "a"))
    assert tried == 12  # after 5, 10, 20, ... 160 s, then every 300 s
    assert len(server.said) == 1
    assert "takes 0.42 s" in server.planners.trouble, "the diagnostics know of the last time"
    server.slow.clear()
    server.planners.choose("ddp", 2000.0)
    server.settle(2000.0)
    assert server.kind() == "ddp", "who asks again is answered at once"


def test_the_planner_before_plans_again_where_the_new_one_finds_no_plan(server):
    server.planners.choose("ddp", 0.0)
    server.settle()
    first = server.planners.planner()
    assert first.kind == "ddp"
    server.planners.fall_back(first, "no plan was found")
    assert (server.kind(), server.planners.in_force) == ("mppi", "planner mppi on model a")
    assert server.planners.trouble == "planner ddp on model a not taken over: no plan was found"
    assert len(server.said) == 1
    server.planners.serve("a", 4.9)
    assert server.kind() == "mppi", "not at once again"
    server.settle(5.1)
    assert server.kind() == "ddp"


def test_one_that_has_planned_stays_whatever_comes(server):
    server.planners.serve("b", 0.0)
    server.settle()
    server.planners.planned(server.planners.planner())
    server.planners.fall_back(server.planners.planner(), "no plan was found")
    assert server.plans_with() == "b"
    server.planners.serve("b", 1.0)
    assert list(server.planners._planners) == [("mppi", "b")]


@pytest.mark.parametrize("second", ["c", "a"], ids=["over several that never planned", "gone back to before"])
def test_it_falls_back_to_the_last_one_that_planned(server, second):
    for model in ("b", second):
        server.planners.serve(model, 0.0)
        server.settle()
    server.planners.fall_back(server.planners.planner(), "no plan was found")
    assert server.plans_with() == "a"
