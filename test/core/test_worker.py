"""A thread that works when it is woken, and tells what ended it."""

import threading

import pytest

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.core.worker import Worker


class Work:
    """Counts, and waits where it is told to."""

    def __init__(self):
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()
        self.done = 0

    def __call__(self):
        self.begun.release()
        assert self.go.wait(30)
        self.done += 1

    def has_begun(self):
        return self.begun.acquire(timeout=30)


def test_it_works_once_for_each_waking_and_once_more_for_all_that_came_meanwhile():
    work = Work()
    worker = Worker("solver", work)
    worker.start()
    worker.wake()
    assert work.has_begun()
    work.go.clear()
    worker.wake()
    assert work.has_begun()
    for _ in range(5):
        worker.wake()
    work.go.set()
    assert work.has_begun()
    worker.stop()
    assert work.done == 3
    worker.check()


def test_it_can_be_started_again_and_a_waking_while_it_stood_is_forgotten():
    work = Work()
    worker = Worker("solver", work)
    worker.start()
    worker.stop()
    worker.wake()
    worker.start()
    worker.stop()
    assert work.done == 0


def test_what_ends_it_is_told_until_it_is_started_again():
    ended = threading.Event()

    def fail():
        ended.set()
        raise ValueError("no")

    worker = Worker("solver", fail)
    worker.start()
    worker.wake()
    assert ended.wait(30)
    worker.stop()
    with pytest.raises(MbrlError, match=r"the solver stopped: (?s:.*)ValueError: no"):
        worker.check()
    worker.start()
    worker.check()
    worker.stop()
