"""Planners on served models: the model in force's, the nominal model's, and newcomers that are built beside them."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner

P = TypeVar("P", bound=Planner)


class ServedPlanners(Generic[P]):
    """Keeps a warm planner for the model in force and one for the nominal model, so that either can plan at once.

    A model that is new is fetched and its planner built in a thread, while the present one drives on; a swap is the
    exchange of a name between two cycles. What fails is told, kept as ``trouble``, and tried again after a while.

    Args:
        fetch: id to the model that is served under it, the one in force for an empty id; blocks.
        build: a model to its planner, warmed up; blocks.
        say: told of every failure.
        retry_s: how long a model that failed is left alone [s].
    """

    def __init__(
        self,
        fetch: Callable[[str], LoadedModel],
        build: Callable[[LoadedModel], P],
        say: Callable[[str], None],
        retry_s: float = 5.0,
    ) -> None:
        self._fetch, self._build, self._say, self._retry_s = fetch, build, say, retry_s
        self._lock = threading.Lock()
        self._generation = 0
        self._planners: dict[str, P] = {}
        self._failures: dict[str, tuple[float, str]] = {}
        self._worker: threading.Thread | None = None
        self._in_force = self._served = self._nominal = ""

    def begin(self) -> None:
        """Forget everything, and build the planner for the model in force; blocks.

        Raises:
            MbrlError: there is no model, or none that can be planned with.
        """
        with self._lock:
            self._generation += 1  # what is still being built comes too late
            self._planners, self._failures, self._in_force = {}, {}, ""
            generation = self._generation
        loaded = self._fetch("")
        planner = self._build(loaded)
        with self._lock:
            if generation == self._generation:
                self._planners[loaded.id] = planner
                self._in_force = self._served = loaded.id

    def serve(self, model_id: str, now_s: float) -> None:
        """The server says that ``model_id`` is in force."""
        self._served = model_id
        self._catch_up(now_s)

    def keep_nominal(self, model_id: str, now_s: float) -> None:
        """The server says that ``model_id`` is to be planned with where the one in force is not trusted."""
        self._nominal = model_id
        self._catch_up(now_s)

    def planner(self, *, nominal: bool = False) -> P | None:
        """The planner to plan with now; None where it is not there (yet)."""
        with self._lock:
            return self._planners.get(self._nominal if nominal else self._in_force)

    @property
    def in_force(self) -> str:
        """Id of the model that is planned with."""
        return self._in_force

    @property
    def trouble(self) -> str:
        """Why the served or the nominal model is not there, or an empty string."""
        with self._lock:
            failed = [(i, self._failures[i][1]) for i in (self._served, self._nominal) if i in self._failures]
        return "; ".join(f"model {model_id} not taken over: {reason}" for model_id, reason in failed)

    def _catch_up(self, now_s: float) -> None:
        with self._lock:
            if not self._in_force:
                return  # not begun
            wanted = [model_id for model_id in (self._served, self._nominal) if model_id]
            if self._served in self._planners:
                self._in_force = self._served
            self._planners = {i: p for i, p in self._planners.items() if i in (*wanted, self._in_force)}
            self._failures = {i: f for i, f in self._failures.items() if i in wanted and i not in self._planners}
            missing = [i for i in wanted if i not in self._planners and not self._failed_lately(i, now_s)]
            if not missing or (self._worker is not None and self._worker.is_alive()):
                return
            arguments = (missing[0], self._generation, now_s)
            self._worker = threading.Thread(target=self._make, args=arguments, name="build planner", daemon=True)
            self._worker.start()

    def _failed_lately(self, model_id: str, now_s: float) -> bool:
        return model_id in self._failures and 0 <= now_s - self._failures[model_id][0] < self._retry_s

    def _make(self, model_id: str, generation: int, now_s: float) -> None:
        try:
            planner = self._build(self._fetch(model_id))
        except Exception as error:
            # Whatever is wrong with it must not end the planner, which has a model to drive with.
            reason = str(error) if isinstance(error, MbrlError) else traceback.format_exc()
            with self._lock:
                told = self._failures.get(model_id, (0.0, ""))[1]
                self._failures[model_id] = (now_s, reason)
            if reason != told:
                self._say(f"model {model_id} not taken over, the present one drives on: {reason}")
            return
        with self._lock:
            if generation != self._generation:
                return
            self._planners[model_id] = planner
            if model_id == self._served:
                self._in_force = model_id
