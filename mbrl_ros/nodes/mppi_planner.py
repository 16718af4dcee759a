"""mppi_planner: lifecycle node that plans with the served model in a worker thread and commands at a fixed rate."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from ackermann_msgs.msg import AckermannDriveStamped
from nav_msgs.msg import Path
from pydantic import Field
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.errors import ConfigError, MbrlError
from mbrl_ros.core.layout import X, Y
from mbrl_ros.core.tasks.racing import RacingSettings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.msg import PlannedTrajectory, PlannerStatus, VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.messages import (
    candidates_message,
    closed_line_message,
    drive_message,
    path_message,
    state_of,
    to_seconds,
    to_stamp,
    trajectory_message,
)
from mbrl_ros.nodes.shared.model_client import fetch_model
from mbrl_ros.nodes.shared.run import run
from mbrl_ros.planning.control_loop import ControlLoop, LoopSettings
from mbrl_ros.planning.mppi import MPPI, MPPISettings
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.racing import racing_mppi

CANDIDATES = 64
"""Candidate trajectories shown."""


class MppiPlannerSettings(Settings):
    """Parameters of the mppi_planner node."""

    vehicle: str = Field(description="path of the vehicle's YAML")
    track: str = Field(description="path of the track's CSV")
    seed: int = Field(0, ge=0, description="seed of the sampling")
    autostart: bool = Field(False, description="configure and activate without a lifecycle manager")
    model_server: str = Field("/dynamics_server", description="node that serves the model")
    startup_timeout_s: float = Field(60.0, gt=0.0, description="longest wait for the model when configuring [s]")
    server_timeout_s: float = Field(0.1, gt=0.05, description="longest silence of the model server [s]")
    candidates_rate_hz: float = Field(5.0, gt=0.0, le=50.0, description="rate of ~/candidate_trajectories")
    odom_frame: str = Field("odom", description="frame of states and plans")
    loop: LoopSettings = Field(default_factory=LoopSettings, description="which states and plans are fresh enough")
    mppi: MPPISettings = Field(default_factory=MPPISettings, description="the optimiser")
    task: RacingSettings = Field(description="weights and soft limits of racing")


class MppiPlannerNode:
    """Subscribes ``/vehicle_state``, ``/drive`` and the model server's heartbeat; publishes ``~/command``,
    ``~/plan``, ``~/optimal_path``, ``~/candidate_trajectories``, ``~/track`` and ``~/status``."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        # The executor thread must get its turn within a fraction of a control period while the solver computes.
        sys.setswitchinterval(0.0005)
        self.node = _Lifecycle(self)
        self.settings = parameters.declare(self.node, MppiPlannerSettings)
        self.vehicle = read_settings(self.settings.vehicle, Vehicle)
        self.track = Track.from_csv(self.settings.track)
        self.loop = ControlLoop(self.vehicle.limits, self.settings.loop)
        self.active = False
        self._planner: MPPI | None = None
        self._next_planner: MPPI | None = None
        self._swapping: threading.Thread | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._solver: threading.Thread | None = None
        self._solver_failure = ""
        self._heartbeat_s = float("-inf")
        self._served_id = self._refused_id = ""
        self._shown_s = float("-inf")
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._last_now_s = 0.0
        self._command = self.node.create_publisher(AckermannDriveStamped, "~/command", quality.COMMAND)
        self._plan = self.node.create_publisher(PlannedTrajectory, "~/plan", quality.STATE)
        self._path = self.node.create_publisher(Path, "~/optimal_path", quality.STATE)
        self._candidates = self.node.create_publisher(MarkerArray, "~/candidate_trajectories", quality.COMMAND)
        self._track = self.node.create_publisher(MarkerArray, "~/track", quality.LATCHED)
        self._status = self.node.create_publisher(PlannerStatus, "~/status", quality.STATE)
        self._diagnostics = diagnostics.Diagnostics(self.node, "planning", self._report)
        self.node.create_subscription(VehicleState, "/vehicle_state", self._on_state, quality.STATE)
        self.node.create_subscription(AckermannDriveStamped, "/drive", self._on_drive, quality.SENT)
        heartbeat = f"{self.settings.model_server}/model_id"
        self.node.create_subscription(String, heartbeat, self._on_heartbeat, quality.COMMAND)
        self.node.create_timer(1.0 / self.settings.loop.control_rate_hz, self._on_tick)
        if self.settings.autostart:
            self._autostart()

    def close(self) -> None:
        """Stop the car and join the threads."""
        self.deactivate()

    def configure(self) -> None:
        """Fetch the model, build the planner and warm its rollouts; blocks until ready."""
        loaded = fetch_model(self.node, f"{self.settings.model_server}/get_model", self.settings.startup_timeout_s)
        self._planner = self._build(loaded)
        self._served_id, self._refused_id = loaded.id, ""
        stamp_s = self._now_s()
        markers = MarkerArray()
        for index, edge in enumerate(self.track.edges()):
            markers.markers.append(closed_line_message(edge, stamp_s, self.settings.odom_frame, "track", index))
        self._track.publish(markers)

    def activate(self) -> None:
        """Begin to plan and to command."""
        self.loop.reset()
        if self._planner is not None:
            self._planner.reset()
        self._stopping, self._solver_failure = False, ""
        self._solver = threading.Thread(target=self._solve_loop, name="solver", daemon=True)
        self._solver.start()
        self.active = True

    def deactivate(self) -> None:
        """Stop planning, tell the car to stop several times, then fall silent."""
        if not self.active:
            return
        self.active = False
        self._stopping = True
        self._wake.set()
        if self._solver is not None:
            self._solver.join()
        for _ in range(self.settings.loop.stop_commands):
            self._command.publish(drive_message(self.loop.stop(), self._now_s()))

    def _build(self, loaded: LoadedModel) -> MPPI:
        planner = racing_mppi(
            loaded, self.vehicle, self.track, self.settings.mppi, self.settings.task, seed=self.settings.seed
        )
        planner.warm_up()
        if planner.rollouts.note:
            logger = self.node.get_logger()
            say = logger.info if planner.backend == self.settings.mppi.backend else logger.warning
            say(planner.rollouts.note)
        return planner

    def _now_s(self) -> float:
        return self.node.get_clock().now().nanoseconds * 1e-9

    def _receipt_s(self) -> float:
        # Simulated time may run at any pace, so there silence too is measured by it.
        if self.node.get_parameter("use_sim_time").value:
            return self._now_s()
        return self._steady.now().nanoseconds * 1e-9

    def _autostart(self) -> None:
        for transition in (self.node.trigger_configure, self.node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise MbrlError(f"autostart failed: {self.node.failure}")

    def _on_state(self, message: VehicleState) -> None:
        if not self.active or self._planner is None:
            return
        if message.reference_point != self._planner.model.reference_point:
            raise ConfigError(
                f"/vehicle_state describes {message.reference_point}, the model {self._planner.model.reference_point}"
            )
        now_s = self._now_s()
        with self._lock:
            if now_s < self._last_now_s - 1.0:
                self.loop.reset()
            self._last_now_s = now_s
            self.loop.observe(state_of(message), to_seconds(message.header.stamp), now_s, self._receipt_s())

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        drive = message.drive
        with self._lock:
            self.loop.sent(to_seconds(message.header.stamp), drive.steering_angle, drive.acceleration)

    def _on_heartbeat(self, message: String) -> None:
        self._heartbeat_s = self._receipt_s()
        if message.data == self._served_id:
            self._refused_id = ""
        if self._planner is None or message.data in (self._served_id, self._refused_id):
            return
        if self._swapping is None or not self._swapping.is_alive():
            self._swapping = threading.Thread(target=self._swap, args=(message.data,), name="swap", daemon=True)
            self._swapping.start()

    def _swap(self, model_id: str) -> None:
        """Build and warm the newly served model's planner beside the present one, which drives on meanwhile."""
        try:
            loaded = fetch_model(self.node, f"{self.settings.model_server}/get_model", self.settings.startup_timeout_s)
            self._next_planner = self._build(loaded)
            self._served_id, self._refused_id = model_id, ""
        except Exception as error:
            # Whatever is wrong with it must not end the planner, which has a model to drive with.
            self._refused_id = model_id
            reason = str(error) if isinstance(error, MbrlError) else traceback.format_exc()
            self.node.get_logger().error(f"model {model_id} not taken over, the present one drives on: {reason}")

    def _on_tick(self) -> None:
        if not self.active:
            return
        if self._solver_failure:
            raise MbrlError(f"the solver stopped: {self._solver_failure}")
        now_s, receipt_s = self._now_s(), self._receipt_s()
        with self._lock:
            silent = receipt_s - self._heartbeat_s > self.settings.server_timeout_s
            self.loop.fault = "the model server is silent" if silent else ""
            command = self.loop.command(now_s, receipt_s)
        self._command.publish(drive_message(command, now_s))
        self._wake.set()
        self._diagnostics.publish_on_change()

    def _solve_loop(self) -> None:
        try:
            while not self._stopping:
                self._wake.wait()
                self._wake.clear()
                if self._next_planner is not None:
                    self._planner, self._next_planner = self._next_planner, None
                with self._lock:
                    problem = self.loop.problem()
                if problem is not None and not self._stopping:
                    try:
                        self._solve(problem)
                    except PlanningError as error:
                        with self._lock:
                            self.loop.counters["cycles without a plan"] += 1
                        self.node.get_logger().error(str(error), throttle_duration_sec=1.0)
        except Exception:
            self._solver_failure = traceback.format_exc()

    def _solve(self, problem: Problem) -> None:
        assert self._planner is not None  # noqa: S101  # configured before activated
        age_s = self._now_s() - problem.stamp_s
        begun = time.perf_counter()
        plan = self._planner.plan(problem)
        solve_time_s = time.perf_counter() - begun
        with self._lock:
            self.loop.adopt(plan, solve_time_s)
        self._plan.publish(trajectory_message(plan, self.settings.odom_frame))
        if self._path.get_subscription_count():
            self._path.publish(path_message(plan, self.settings.odom_frame))
        self._status.publish(self._status_message(plan, solve_time_s, age_s))
        self._show_candidates(plan)

    def _show_candidates(self, plan: ControlSequence) -> None:
        due = plan.stamp_s - self._shown_s >= 1.0 / self.settings.candidates_rate_hz
        if not due or not self._candidates.get_subscription_count() or self._planner is None:
            return
        self._shown_s = plan.stamp_s
        states, costs = self._planner.candidates(CANDIDATES)
        self._candidates.publish(candidates_message(states[..., [X, Y]], costs, plan.stamp_s, self.settings.odom_frame))

    def _status_message(self, plan: ControlSequence, solve_time_s: float, age_s: float) -> PlannerStatus:
        assert self._planner is not None  # noqa: S101
        figures = plan.diagnostics
        terms = {name[5:]: value for name, value in figures.items() if name.startswith("cost.")}
        counters = self.loop.counters
        message = PlannerStatus(
            planner="mppi",
            model_id=plan.model_id,
            cost_names=list(terms),
            costs=list(terms.values()),
            total_cost=figures["total_cost"],
            effective_sample_size=figures["effective_sample_size"],
            temperature=figures["temperature"],
            saturation_share=figures["saturation_share"],
            non_finite_share=figures["non_finite_share"],
            iterations=int(figures["iterations"]),
            solve_time=solve_time_s,
            state_age=age_s,
            cycles=counters["plans"],
            missed_deadlines=counters["missed deadlines"],
            backend=self._planner.backend,
        )
        message.header.stamp = to_stamp(plan.stamp_s)
        return message

    def _report(self) -> diagnostics.Report:
        with self._lock:
            counters, reason = dict(self.loop.counters), self.loop.reason
        if not self.active:
            return diagnostics.STALE, "not active", counters
        if reason:
            return diagnostics.ERROR, reason, counters
        if self._refused_id:
            return (
                diagnostics.WARN,
                f"planning with {self._served_id}: served model {self._refused_id} refused",
                counters,
            )
        return diagnostics.OK, "planning", counters


class _Lifecycle(LifecycleNode):
    """Transitions with their failures logged: rclpy swallows exceptions in them without a line."""

    def __init__(self, adapter: MppiPlannerNode) -> None:
        super().__init__("mppi_planner")
        self._adapter = adapter
        self.failure = ""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded(self._adapter.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded(self._adapter.activate, super().on_activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded(self._adapter.deactivate, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded(self._adapter.deactivate)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        # Back to unconfigured, stopped; a manager may configure again.
        return self._guarded(self._adapter.deactivate)

    def _guarded(
        self, action: Callable[[], None], then: Callable[..., Any] | None = None, state: LifecycleState | None = None
    ) -> TransitionCallbackReturn:
        try:
            action()
        except MbrlError as error:
            self.failure = str(error)
        except Exception:
            self.failure = traceback.format_exc()
        else:
            return then(state) if then is not None else TransitionCallbackReturn.SUCCESS
        self.get_logger().error(self.failure)
        return TransitionCallbackReturn.ERROR


def main() -> None:
    """Run the node."""
    run("mppi_planner", MppiPlannerNode)


if __name__ == "__main__":
    main()
