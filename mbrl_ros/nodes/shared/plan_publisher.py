"""Everything that a planner node tells about its plans."""

from __future__ import annotations

from collections.abc import Mapping

from nav_msgs.msg import Path
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.layout import X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.msg import PlannedTrajectory, PlannerStatus
from mbrl_ros.nodes.shared import quality
from mbrl_ros.nodes.shared.messages import (
    candidates_message,
    closed_line_message,
    path_message,
    to_stamp,
    trajectory_message,
)
from mbrl_ros.planning.planner import Planner

CANDIDATES = 64
"""Candidate trajectories shown."""

_COMMON = ("total_cost", "iterations")
"""Figures of a plan that have a place of their own in ~/status."""


class PlanPublisher:
    """Publishes ``~/plan``, ``~/optimal_path``, ``~/candidate_trajectories``, ``~/track`` and ``~/status``.

    Args:
        node: publishes.
        frame_id: of states and plans.
        candidates_rate_hz: how often candidates are shown.
    """

    def __init__(self, node: Node, frame_id: str, candidates_rate_hz: float) -> None:
        self._frame_id, self._candidates_rate_hz = frame_id, candidates_rate_hz
        self._shown_s = float("-inf")
        self._plan = node.create_publisher(PlannedTrajectory, "~/plan", quality.STATE)
        self._path = node.create_publisher(Path, "~/optimal_path", quality.STATE)
        self._candidates = node.create_publisher(MarkerArray, "~/candidate_trajectories", quality.COMMAND)
        self._track = node.create_publisher(MarkerArray, "~/track", quality.LATCHED)
        self._status = node.create_publisher(PlannerStatus, "~/status", quality.STATE)

    def track(self, track: Track, stamp_s: float) -> None:
        """The edges of what is driven on."""
        markers = MarkerArray()
        for index, edge in enumerate(track.edges()):
            markers.markers.append(closed_line_message(edge, stamp_s, self._frame_id, "track", index))
        self._track.publish(markers)

    def plan(self, plan: ControlSequence, planner: Planner) -> None:
        """A plan; pictures of it only for those who look."""
        self._plan.publish(trajectory_message(plan, self._frame_id))
        if self._path.get_subscription_count():
            self._path.publish(path_message(plan, self._frame_id))
        due = abs(plan.stamp_s - self._shown_s) >= 1.0 / self._candidates_rate_hz
        if due and self._candidates.get_subscription_count():
            self._shown_s = plan.stamp_s
            states, costs = planner.candidates(CANDIDATES)
            message = candidates_message(states[..., [X, Y]], costs, plan.stamp_s, self._frame_id)
            self._candidates.publish(message)

    def status(
        self,
        plan: ControlSequence,
        planner: Planner,
        counters: Mapping[str, int],
        times_s: tuple[float, float],
    ) -> None:
        """What a plan cost; ``times_s`` are those of the solve and the state's age before it."""
        figures = plan.diagnostics
        terms = {name[5:]: value for name, value in figures.items() if name.startswith("cost.")}
        own = {name: value for name, value in figures.items() if not name.startswith("cost.") and name not in _COMMON}
        message = PlannerStatus(
            planner=planner.kind,
            backend=planner.backend,
            model_id=plan.model_id,
            cost_names=list(terms),
            costs=list(terms.values()),
            total_cost=figures["total_cost"],
            figure_names=list(own),
            figures=list(own.values()),
            iterations=int(figures["iterations"]),
            solve_time=times_s[0],
            state_age=times_s[1],
            cycles=counters["plans"],
            missed_deadlines=counters["missed deadlines"],
        )
        message.header.stamp = to_stamp(plan.stamp_s)
        self._status.publish(message)
