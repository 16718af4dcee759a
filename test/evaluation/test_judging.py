"""Judgements that take their time, and one that does not end."""

import threading

from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.judging import Judging


def test_a_judgement_that_does_not_end_is_known_of_until_it_does():
    may_end, judged = threading.Event(), []

    def judge(driven):
        assert may_end.wait(30.0)
        judged.append(driven)

    subject, driven = Judging(judge, longest_s=2.0), Driven(1.0)
    assert (subject.under_way, subject.overdue(100.0)) == (False, "")
    subject.begin(driven, 10.0)
    assert subject.under_way
    assert subject.overdue(12.0) == ""
    assert "longer than 2 s, nobody vouches for the model" in subject.overdue(12.1)
    may_end.set()
    subject.close()
    assert (judged, subject.under_way, subject.overdue(99.0)) == ([driven], False, "")


def test_closing_does_not_wait_for_ever():
    may_end = threading.Event()
    subject = Judging(lambda _: may_end.wait(30.0), longest_s=0.05)
    subject.begin(Driven(1.0), 0.0)
    subject.close()
    assert subject.under_way
    may_end.set()
