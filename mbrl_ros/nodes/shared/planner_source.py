"""Where a planner node has its planner from: the model server's models, and how far they may be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import String

from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.msg import ModelTrust
from mbrl_ros.nodes.shared import quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.model_client import fetch_model
from mbrl_ros.planning.planner import Planner, makeshift
from mbrl_ros.planning.served import ServedPlanners


class PlannerSource:
    """Hears the model server's heartbeat and trust, and keeps planners for its models warm.

    Args:
        node: subscribes.
        clock: the node's.
        server: name of the server's node.
        patience_s: longest wait for a model [s].
        silence_s: longest silence of the server [s].
        make: as `ServedPlanners` has ``build``; what it raises keeps the planner out.
        rehearsal: as `ServedPlanners` has it.
        kind: name of the planner that begins.
        eager_speed_mps: no faster than this while the planner serves eagerly though it shall be compiled [m/s].
    """

    def __init__(
        self,
        node: Node,
        clock: NodeClock,
        server: str,
        patience_s: float,
        silence_s: float,
        make: Callable[[LoadedModel, str, bool], Planner],
        rehearsal: Callable[[], Callable[[Planner], None] | None],
        kind: str,
        eager_speed_mps: float,
    ) -> None:
        self._node, self._clock, self._server = node, clock, server
        self._patience_s, self._silence_s, self._make = patience_s, silence_s, make
        self._planners: ServedPlanners[Planner] = ServedPlanners(
            self._fetch, self._build, rehearsal, node.get_logger().error, kind
        )
        self.planned, self.fall_back = self._planners.planned, self._planners.fall_back
        self._eager_speed_mps = eager_speed_mps
        self._heartbeat_s = -math.inf
        self._trust = ModelTrust(level=ModelTrust.TRUSTED)
        node.create_subscription(String, f"{server}/model_id", self._on_heartbeat, quality.COMMAND)
        node.create_subscription(ModelTrust, f"{server}/trust", self._on_trust, quality.LATCHED)

    def begin(self) -> None:
        """Fetch the model in force and build its planner; blocks until that can serve."""
        self._planners.begin()

    def choose(self, kind: str) -> None:
        """Plan with the planner of this name once it is warm; the present one goes on until then."""
        self._planners.choose(kind, self._clock.receipt_s())

    @property
    def in_force(self) -> str:
        """What is planned with while the model is trusted, in words."""
        return self._planners.in_force

    def planner(self) -> Planner | None:
        """The planner that trust in the model allows; None where it is not there (yet)."""
        return self._planners.planner(nominal=self._trust.level >= ModelTrust.NOMINAL)

    @property
    def speed_cap_mps(self) -> float:
        """No faster than this, infinite where the model is trusted and its planner serves as it shall."""
        trusted_mps = self._trust.speed_cap if self._trust.level > ModelTrust.TRUSTED else math.inf
        planner = self.planner()
        return min(trusted_mps, self._eager_speed_mps) if planner is not None and makeshift(planner) else trusted_mps

    def fault(self, receipt_s: float) -> str:
        """Why the car must not be driven now [s], or an empty string."""
        if not 0.0 <= receipt_s - self._heartbeat_s <= self._silence_s:  # less: time was set back
            return "the model server is silent"
        if self._trust.level >= ModelTrust.STOP:
            return f"the model is not trusted: {self._trust.reason}"
        return "" if self.planner() is not None else "the nominal model is not there yet"

    def doubt(self) -> str:
        """What is not as it should be although the car may be driven, or an empty string."""
        if trouble := self._planners.trouble:
            return f"planning with {self.in_force}: {trouble}"
        planner = self.planner()
        if planner is not None and planner.hindered:
            slowly = f", no faster than {self._eager_speed_mps:g} m/s" if makeshift(planner) else ""
            return f"planning, but {planner.backend}{slowly}: {planner.note}"
        if self._trust.level > ModelTrust.TRUSTED:
            return f"planning with little trust in the model: {self._trust.reason}"
        return ""

    def _fetch(self, model_id: str) -> LoadedModel:
        return fetch_model(self._node, f"{self._server}/get_model", self._patience_s, model_id)

    def _build(self, loaded: LoadedModel, kind: str, at_once: bool) -> Planner:
        planner = self._make(loaded, kind, at_once)
        if planner.hindered:
            self._node.get_logger().warning(planner.note)
        elif planner.note:
            self._node.get_logger().info(planner.note)
        return planner

    def _on_heartbeat(self, message: String) -> None:
        self._heartbeat_s = self._clock.receipt_s()
        self._planners.serve(message.data, self._heartbeat_s)

    def _on_trust(self, message: ModelTrust) -> None:
        self._trust = message
        self._planners.distrust(message.model_id, holds=message.level >= ModelTrust.NOMINAL)
        self._planners.keep_nominal(message.nominal_id, self._clock.receipt_s())
