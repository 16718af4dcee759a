"""Planners on served models: one for the model in force, one for the nominal model, and newcomers built beside them."""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner

P = TypeVar("P", bound=Planner)

_LONGEST_RETRY_S = 300.0
"""However often it failed, what is wanted is tried again after so long [s]."""


class _Pair(NamedTuple):
    """What a planner is of: the name of a planner and the id of the model that it plans with."""

    kind: str
    model_id: str

    def __str__(self) -> str:
        return f"planner {self.kind} on model {self.model_id}"


class _Failure(NamedTuple):
    """Why something is not there, when that was found out [s], and how many times in a row."""

    stamp_s: float
    reason: str
    times: int


class ServedPlanners(Generic[P]):
    """Keeps a warm planner for the model in force and one for the nominal model, so that either can plan at once.

    Where another model is served, or another planner chosen, what is new is fetched, built and rehearsed in a thread,
    while the present planner drives on; a swap is the exchange of a name between two cycles. All but the planner that
    begins have planned from where the car is before they count: what was built before anybody knew where that is waits.
    The planner before a swap is kept until the new one has planned, and plans again where it cannot. What fails is told
    once, kept as ``trouble``, and tried again after a while, which doubles from time to time; a planner that fails with
    a new model does not keep the model from being planned with by the present one.

    Args:
        fetch: id to the model that is served under it, the one in force for an empty id; blocks.
        build: a model and the name of a planner to that planner, and whether nothing else can serve until it is ready,
            so that it has to as soon as it can; else warmed up; blocks.
        rehearsal: what lets a planner plan once from where the car is, or None while nobody knows; what that raises
            keeps the planner out.
        say: told of every failure.
        kind: name of the planner that begins.
        retry_s: how long what failed is left alone at first, by the times handed in [s].
    """

    def __init__(
        self,
        fetch: Callable[[str], LoadedModel],
        build: Callable[[LoadedModel, str, bool], P],
        rehearsal: Callable[[], Callable[[P], None] | None],
        say: Callable[[str], None],
        kind: str,
        retry_s: float = 5.0,
    ) -> None:
        self._fetch, self._build, self._rehearsal, self._say = fetch, build, rehearsal, say
        self._chosen, self._retry_s = kind, retry_s
        self._lock = threading.Lock()
        self._generation = 0
        self._planners: dict[_Pair, P] = {}
        self._unrehearsed: dict[_Pair, P] = {}
        self._failures: dict[_Pair, _Failure] = {}
        self._worker: threading.Thread | None = None
        self._in_force: _Pair | None = None
        self._before: _Pair | None = None  # what planned before the one in force, which has not planned yet
        self._served = self._nominal = ""
        self._now_s = -math.inf
        self._distrusted: set[str] = set()

    def begin(self) -> None:
        """Forget everything, and build the chosen planner for the model in force; blocks.

        Raises:
            MbrlError: there is no model, or none that can be planned with.
        """
        with self._lock:
            self._generation += 1  # what is still being built comes too late
            self._planners, self._unrehearsed, self._failures = {}, {}, {}
            self._in_force = self._before = None
            generation, kind = self._generation, self._chosen
        loaded = self._fetch("")
        planner = self._build(loaded, kind, True)
        with self._lock:
            if generation == self._generation:
                self._in_force, self._served = _Pair(kind, loaded.id), loaded.id
                self._planners[self._in_force] = planner

    def choose(self, kind: str, now_s: float) -> None:
        """Plan with the planner of this name as soon as it is ready; one that failed before is tried again at once."""
        with self._lock:
            self._chosen = kind
            self._failures = {pair: failure for pair, failure in self._failures.items() if pair.kind != kind}
        self._catch_up(now_s)

    def serve(self, model_id: str, now_s: float) -> None:
        """The server says that ``model_id`` is in force."""
        self._served = model_id
        self._catch_up(now_s)

    def keep_nominal(self, model_id: str, now_s: float) -> None:
        """The server says that ``model_id`` is to be planned with where the one in force is not trusted."""
        self._nominal = model_id
        self._catch_up(now_s)

    def distrust(self, model_id: str, *, holds: bool) -> None:
        """The server says whether ``model_id``, in force there, is too little trusted to be planned with.

        What it says of another model that comes into force speaks for that one only, not for the one before, which is
        planned with until the other's planner is ready.
        """
        with self._lock:
            (self._distrusted.add if holds else self._distrusted.discard)(model_id)

    def planner(self, *, nominal: bool = False) -> P | None:
        """The planner to plan with now, on the nominal model where wished or where the other is distrusted; None where
        it is not there (yet)."""
        with self._lock:
            if self._in_force is None:
                return None
            nominal = nominal or self._in_force.model_id in self._distrusted
            wanted = _Pair(self._in_force.kind, self._nominal) if nominal else self._in_force
            others = (planner for pair, planner in self._planners.items() if pair.model_id == wanted.model_id)
            return self._planners.get(wanted) or next(others, None)

    def planned(self, planner: P) -> None:
        """``planner`` has found a plan that is followed; where it took over, the one before is not needed any more."""
        with self._lock:
            if self._in_force is not None and self._planners.get(self._in_force) is planner:
                self._before = None
                self._failures.pop(self._in_force, None)

    def fall_back(self, planner: P, reason: str) -> None:
        """``planner`` has found no plan; where it took over and never found one, the one before plans again."""
        with self._lock:
            pair, before = self._in_force, self._before
            if pair is None or before is None or self._planners.get(pair) is not planner:
                return
            self._in_force, self._before = before, None
            del self._planners[pair]
            first = self._failed(pair, reason)
        if first:
            self._tell(pair, reason)

    @property
    def in_force(self) -> str:
        """What is planned with, in words."""
        return str(self._in_force or "no planner")

    @property
    def trouble(self) -> str:
        """Why what is wanted is not there, or an empty string."""
        with self._lock:
            missing = [pair for pair in self._wanted() if pair not in self._planners]
            failed = [(pair, self._failures[pair].reason) for pair in missing if pair in self._failures]
        return "; ".join(f"{pair} not taken over: {reason}" for pair, reason in failed)

    def _wanted(self) -> list[_Pair]:
        """The present planner's pairs before the chosen one's: they take less time."""
        if self._in_force is None:
            return []  # not begun
        kinds = dict.fromkeys((self._in_force.kind, self._chosen))
        return [_Pair(kind, i) for kind in kinds for i in dict.fromkeys((self._served, self._nominal)) if i]

    def _catch_up(self, now_s: float) -> None:
        can_rehearse = self._rehearsal() is not None
        with self._lock:
            self._now_s = now_s
            self._take_over()
            wanted = self._wanted()
            self._failures = {pair: f for pair, f in self._failures.items() if pair in wanted}
            missing = [
                pair
                for pair in wanted
                if pair not in self._planners
                and not self._failed_lately(pair, now_s)
                and (can_rehearse or pair not in self._unrehearsed)
            ]
            if not missing or (self._worker is not None and self._worker.is_alive()):
                return
            arguments = (missing[0], self._generation)
            self._worker = threading.Thread(target=self._make, args=arguments, name="build planner", daemon=True)
            self._worker.start()

    def _take_over(self) -> None:
        """Plan with the best of what is there, and drop what nobody will want again."""
        if self._in_force is None:
            return
        for kind in (self._chosen, self._in_force.kind):
            if (best := _Pair(kind, self._served)) in self._planners:
                if best != self._in_force:
                    last = self._before or self._in_force
                    self._before = last if last != best else None
                self._in_force = best
                break
        nominal = _Pair(self._in_force.kind, self._nominal)
        kept = {*self._wanted(), self._in_force, self._before}
        self._unrehearsed = {pair: planner for pair, planner in self._unrehearsed.items() if pair in kept}
        if nominal not in self._planners:
            kept |= {pair for pair in self._planners if pair.model_id == self._nominal}
        self._planners = {pair: planner for pair, planner in self._planners.items() if pair in kept}

    def _failed_lately(self, pair: _Pair, now_s: float) -> bool:
        failure = self._failures.get(pair)
        if failure is None:
            return False
        alone_s = min(self._retry_s * 2.0 ** (failure.times - 1), _LONGEST_RETRY_S)
        return 0 <= now_s - failure.stamp_s < alone_s

    def _make(self, pair: _Pair, generation: int) -> None:
        try:
            with self._lock:
                planner = self._unrehearsed.pop(pair, None)
            if planner is None:
                planner = self._build(self._fetch(pair.model_id), pair.kind, False)
            rehearse = self._rehearsal()
            if rehearse is not None:
                rehearse(planner)
        except Exception as error:
            # Whatever is wrong with it must not end what drives.
            reason = str(error) if isinstance(error, MbrlError) else traceback.format_exc()
            with self._lock:
                first = generation == self._generation and self._failed(pair, reason)
            if first:
                self._tell(pair, reason)
            return
        with self._lock:
            if generation != self._generation:
                return
            if rehearse is None:
                self._unrehearsed[pair] = planner
                return
            self._planners[pair] = planner
            self._take_over()

    def _failed(self, pair: _Pair, reason: str) -> bool:
        """Keep that ``pair`` failed, with the lock held; whether it is the first time since it last planned."""
        times = self._failures[pair].times + 1 if pair in self._failures else 1
        # Left alone from its end on: what takes a minute to fail would otherwise be tried without a pause.
        self._failures[pair] = _Failure(self._now_s, reason, times)
        return times == 1

    def _tell(self, pair: _Pair, reason: str) -> None:
        self._say(f"{pair} not taken over, the present one drives on: {reason}")
