"""The planner, a lifecycle node that plans with the served model in a worker thread and commands at a fixed rate."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import torch
from ackermann_msgs.msg import AckermannDriveStamped
from pydantic import Field

from mbrl_ros.core.command_gate import Command
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.core.worker import Worker
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.msg import VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.lifecycle import Lifecycle
from mbrl_ros.nodes.shared.messages import drive_message, state_of, to_seconds
from mbrl_ros.nodes.shared.obstacle_listener import ObstacleListener
from mbrl_ros.nodes.shared.plan_publisher import PlanPublisher
from mbrl_ros.nodes.shared.planner_source import PlannerSource
from mbrl_ros.nodes.shared.shadow import Shadow
from mbrl_ros.planning.control_loop import ControlLoop
from mbrl_ros.planning.planner import Planner, PlanningError, Problem, makeshift
from mbrl_ros.planning.racing import SERVES_EAGERLY, racing_planner
from mbrl_ros.planning.rehearsal import rehearsal, require_followable
from mbrl_ros.planning.settings import RacingPlannerSettings, by_planner


class PlannerSettings(RacingPlannerSettings):
    """Parameters of the planner node: those of a racing planner (``planner`` may change), and where it plans."""

    vehicle: str = Field(description="path of the vehicle's YAML")
    track: str = Field(description="path of the track's CSV")
    others: str = Field(
        "", description="files of other planners, separated by colons: who is named in one plans with its settings"
    )
    seed: int = Field(0, ge=0, description="seed of the sampling")
    shadow: bool = Field(False, description="plan beside whoever drives, and never command")
    shadow_window_s: float = Field(10.0, gt=0.0, le=120.0, description="driving that ~/agreement is taken over [s]")
    autostart: bool = Field(False, description="configure and activate without a lifecycle manager")
    model_server: str = Field("/dynamics_server", description="node that serves the model")
    startup_timeout_s: float = Field(60.0, gt=0.0, description="longest wait for the model when configuring [s]")
    server_timeout_s: float = Field(0.1, gt=0.05, description="longest silence of the model server [s]")
    eager_speed_mps: float = Field(
        2.0, gt=0.0, le=100.0, description="top speed while plans are found in plain torch, until all is compiled"
    )
    candidates_rate_hz: float = Field(5.0, gt=0.0, le=50.0, description="rate of ~/candidate_trajectories")
    odom_frame: str = Field("odom", description="frame of states and plans")


class PlannerNode:
    """Subscribes ``/vehicle_state``, ``/drive``, ``~/obstacles`` and the model server's heartbeat and trust; publishes
    ``~/command``, or ``~/agreement`` in shadow mode, and what a `PlanPublisher` tells."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        # The executor thread must get its turn within a fraction of a control period while the solver computes.
        sys.setswitchinterval(0.0005)
        self.node = Lifecycle("planner", self)
        self.clock = NodeClock(self.node)
        self.settings = settings = parameters.declare(self.node, PlannerSettings, dynamic=("planner",))
        self._settings_of = by_planner(settings, [path for path in settings.others.split(os.pathsep) if path])
        self.vehicle = read_settings(settings.vehicle, Vehicle)
        self.track = Track.from_csv(settings.track)
        self.loop = ControlLoop(self.vehicle.limits, settings.loop, settings.task.obstacles)
        server = settings.model_server, settings.startup_timeout_s, settings.server_timeout_s
        self.source = PlannerSource(
            self.node, self.clock, *server, self._make, self._rehearsal, settings.planner, settings.eager_speed_mps
        )
        self.active = False
        self._planning_with: Planner | None = None
        self._problem: Problem | None = None
        self._wants_state = False
        self._lock = threading.Lock()
        self._solver = Worker("solver", self._solve)
        self._last_now_s = 0.0
        self._shadow = Shadow(self.node, settings.shadow_window_s) if settings.shadow else None
        self._command = (
            None if settings.shadow else self.node.create_publisher(AckermannDriveStamped, "~/command", quality.COMMAND)
        )
        self._told = PlanPublisher(self.node, settings.odom_frame, settings.candidates_rate_hz)
        self._diagnostics = diagnostics.Diagnostics(self.node, "planning", self._report)
        self.node.create_subscription(VehicleState, "/vehicle_state", self._on_state, quality.STATE)
        self.node.create_subscription(AckermannDriveStamped, "/drive", self._on_drive, quality.SENT)
        self._obstacles = ObstacleListener(self.node, self.clock, settings.odom_frame, self.loop, self._lock)
        self.node.create_timer(1.0 / settings.loop.control_rate_hz, self._on_tick)
        parameters.on_change(self.node, PlannerSettings, lambda changed: self.source.choose(changed.planner))
        if settings.autostart:
            self.node.autostart()

    def close(self) -> None:
        """Stop the car and join the threads."""
        self.deactivate()

    def configure(self) -> None:
        """Fetch the model and build the planner; blocks until that can serve."""
        self.source.begin()
        self._told.track(self.track, self.clock.now_s())

    def activate(self) -> None:
        """Begin to plan and to command, and to count."""
        self.loop.counters.clear()
        self._begin_anew()
        self.active = True
        self._solver.start()

    def deactivate(self) -> None:
        """Stop planning, tell the car to stop several times, then fall silent."""
        if not self.active:
            return
        self.active = False
        # First the car, then the thread: a solve that is under way may take long.
        for _ in range(self.settings.loop.stop_commands):
            self._send(self.loop.stop(), self.clock.now_s())
        self._solver.stop()

    def _send(self, command: Command, now_s: float) -> None:
        if self._command is not None:
            self._command.publish(drive_message(command, now_s))

    def _begin_anew(self) -> None:
        self.loop.reset()
        self._planning_with = self._problem = None
        self._wants_state = False

    def _make(self, loaded: LoadedModel, kind: str, at_once: bool) -> Planner:
        planner = racing_planner(self._settings_of[kind], loaded, self.vehicle, self.track, self.settings.seed)
        if at_once:
            self.node.get_logger().info(f"planner {kind} is made ready; what torch compiles takes long at first")
        planner.warm_up(beside=True, wait=not (at_once and kind in SERVES_EAGERLY))
        return planner

    def _rehearsal(self) -> Callable[[Planner], None] | None:
        with self._lock:
            problem, plan = self._problem, self.loop.plan
        return rehearsal(problem, plan, self.settings.loop.plan_timeout_s, self.clock.now_s)

    def _on_state(self, message: VehicleState) -> None:
        if not self.active:
            return
        if message.reference_point != "cg":
            raise ConfigError(f"/vehicle_state describes the {message.reference_point}, planners drive the cg")
        now_s = self.clock.now_s()
        with self._lock:
            if now_s < self._last_now_s - 1.0:  # simulated time was set back
                self._begin_anew()
            self._last_now_s = now_s
            if message.header.frame_id == self.settings.odom_frame:
                self.loop.observe(state_of(message), to_seconds(message.header.stamp), now_s, self.clock.receipt_s())
            else:
                self.loop.counters[f"state in frame '{message.header.frame_id}'"] += 1
        if self._wants_state:
            self._solver.wake()

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        stamp_s, sent = to_seconds(message.header.stamp), [message.drive.steering_angle, message.drive.acceleration]
        with self._lock:
            refusal = self.loop.sent(stamp_s, *sent)
            plan, planner = self.loop.followed, self._planning_with
        if self._shadow is not None and not refusal and plan is not None and planner is not None:
            self._shadow.compare(stamp_s, np.array(sent), plan, planner.kind)

    def _on_tick(self) -> None:
        if not self.active:
            return
        self._solver.check()
        now_s, receipt_s = self.clock.now_s(), self.clock.receipt_s()
        with self._lock:
            self.loop.fault, self.loop.speed_cap_mps = self.source.fault(receipt_s), self.source.speed_cap_mps
            command = self.loop.command(now_s, receipt_s)
        self._send(command, now_s)
        self._solver.wake()
        self._diagnostics.publish_on_change()

    def _solve(self) -> None:
        with self._lock:
            problem = self.loop.problem()
            self._problem = problem or self._problem
            # A late state is not left to the next tick, which may itself be waiting for a plan.
            self._wants_state = problem is None and self._problem is not None
        # There may be none yet: what was built before the first state is rehearsed from it now.
        planner = self.source.planner()
        if planner is None or problem is None:
            return
        try:
            self._plan(planner, problem)
        except PlanningError as error:
            self.source.fall_back(planner, str(error))
            with self._lock:
                self.loop.counters["cycles without a plan"] += 1
            self.node.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _plan(self, planner: Planner, problem: Problem) -> None:
        if planner is not self._planning_with:
            planner.reset(self.loop.plan)  # goes on from what is being followed
            self._planning_with = planner
        begun, begun_s = time.perf_counter(), self.clock.now_s()
        age_s = begun_s - problem.stamp_s
        plan = planner.plan(problem)
        solve_time_s = time.perf_counter() - begun
        if makeshift(planner) and self.loop.followed is None:
            require_followable(planner, self.clock.now_s() - begun_s, self.settings.loop.plan_timeout_s)
        with self._lock:
            refusal = self.loop.adopt(plan, solve_time_s)
        if refusal:
            self._planning_with = None  # nor does it go on from there itself
            raise PlanningError(f"planner {planner.kind}: a plan {refusal} is not followed")
        self.source.planned(planner)
        self._told.plan(plan, planner)
        self._told.status(plan, planner, self.loop.counters, (solve_time_s, age_s))

    def _report(self) -> diagnostics.Report:
        with self._lock:
            counters, reason = {"in force": self.source.in_force, **self.loop.counters}, self.loop.reason
            unseen = self.loop.seen.doubt
        if not self.active:
            return diagnostics.STALE, "not active", counters
        if reason:
            return diagnostics.ERROR, reason, counters
        doubt = "; ".join(filter(None, (self.source.doubt(), unseen)))
        return (diagnostics.WARN if doubt else diagnostics.OK), doubt or "planning", counters
