"""mppi_planner: lifecycle node that plans with the served model in a worker thread and commands at a fixed rate."""

from __future__ import annotations

import math
import sys
import threading
import time
import traceback

import torch
from ackermann_msgs.msg import AckermannDriveStamped
from pydantic import Field
from std_msgs.msg import String

from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.errors import ConfigError, MbrlError
from mbrl_ros.core.tasks.racing import RacingSettings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.msg import ModelTrust, VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.lifecycle import Lifecycle
from mbrl_ros.nodes.shared.messages import drive_message, state_of, to_seconds
from mbrl_ros.nodes.shared.model_client import fetch_model
from mbrl_ros.nodes.shared.plan_publisher import PlanPublisher
from mbrl_ros.nodes.shared.run import run
from mbrl_ros.planning.control_loop import ControlLoop, LoopSettings
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.racing import racing_mppi
from mbrl_ros.planning.served import ServedPlanners


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
    """Subscribes ``/vehicle_state``, ``/drive`` and the model server's heartbeat and trust; publishes ``~/command`` and
    what a `PlanPublisher` tells."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        # The executor thread must get its turn within a fraction of a control period while the solver computes.
        sys.setswitchinterval(0.0005)
        self.node = Lifecycle("mppi_planner", self)
        self.clock = NodeClock(self.node)
        self.settings = parameters.declare(self.node, MppiPlannerSettings)
        self.vehicle = read_settings(self.settings.vehicle, Vehicle)
        self.track = Track.from_csv(self.settings.track)
        self.loop = ControlLoop(self.vehicle.limits, self.settings.loop)
        self.planners = ServedPlanners(self._fetch, self._build, self.node.get_logger().error)
        self.active = False
        self._trust: ModelTrust | None = None
        self._planning_with: MPPI | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._solver: threading.Thread | None = None
        self._solver_failure = ""
        self._heartbeat_s = float("-inf")
        self._last_now_s = 0.0
        self._command = self.node.create_publisher(AckermannDriveStamped, "~/command", quality.COMMAND)
        self._told = PlanPublisher(self.node, self.settings.odom_frame, self.settings.candidates_rate_hz)
        self._diagnostics = diagnostics.Diagnostics(self.node, "planning", self._report)
        self.node.create_subscription(VehicleState, "/vehicle_state", self._on_state, quality.STATE)
        self.node.create_subscription(AckermannDriveStamped, "/drive", self._on_drive, quality.SENT)
        server = self.settings.model_server
        self.node.create_subscription(String, f"{server}/model_id", self._on_heartbeat, quality.COMMAND)
        self.node.create_subscription(ModelTrust, f"{server}/trust", self._on_trust, quality.LATCHED)
        self.node.create_timer(1.0 / self.settings.loop.control_rate_hz, self._on_tick)
        if self.settings.autostart:
            self.node.autostart()

    def close(self) -> None:
        """Stop the car and join the threads."""
        self.deactivate()

    def configure(self) -> None:
        """Fetch the model, build the planner and warm its rollouts; blocks until ready."""
        self.planners.begin()
        self._told.track(self.track, self.clock.now_s())

    def activate(self) -> None:
        """Begin to plan and to command."""
        self._begin_anew()
        self._solver_failure = ""
        self.active = True
        self._solver = threading.Thread(target=self._solve_loop, name="solver", daemon=True)
        self._solver.start()

    def deactivate(self) -> None:
        """Stop planning, tell the car to stop several times, then fall silent."""
        if not self.active:
            return
        self.active = False
        self._wake.set()
        if self._solver is not None:
            self._solver.join()
        for _ in range(self.settings.loop.stop_commands):
            self._command.publish(drive_message(self.loop.stop(), self.clock.now_s()))

    def _begin_anew(self) -> None:
        self.loop.reset()
        self._planning_with = None

    def _fetch(self, model_id: str) -> LoadedModel:
        service = f"{self.settings.model_server}/get_model"
        return fetch_model(self.node, service, self.settings.startup_timeout_s, model_id)

    def _build(self, loaded: LoadedModel) -> MPPI:
        settings = self.settings
        planner = racing_mppi(loaded, self.vehicle, self.track, settings.mppi, settings.task, seed=settings.seed)
        planner.warm_up()
        if planner.rollouts.note:
            logger = self.node.get_logger()
            say = logger.info if planner.backend == settings.mppi.backend else logger.warning
            say(planner.rollouts.note)
        return planner

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

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        drive = message.drive
        with self._lock:
            self.loop.sent(to_seconds(message.header.stamp), drive.steering_angle, drive.acceleration)

    def _on_heartbeat(self, message: String) -> None:
        self._heartbeat_s = self.clock.receipt_s()
        self.planners.serve(message.data, self._heartbeat_s)

    def _on_trust(self, message: ModelTrust) -> None:
        with self._lock:
            self._trust = message
            self.loop.speed_cap_mps = message.speed_cap if message.level > ModelTrust.TRUSTED else math.inf
        self.planners.keep_nominal(message.nominal_id, self.clock.receipt_s())

    def _chosen(self) -> MPPI | None:
        """The planner that trust in the model allows."""
        return self.planners.planner(nominal=self._trust is not None and self._trust.level >= ModelTrust.NOMINAL)

    def _fault(self, receipt_s: float) -> str:
        if receipt_s - self._heartbeat_s > self.settings.server_timeout_s:
            return "the model server is silent"
        if self._trust is not None and self._trust.level >= ModelTrust.STOP:
            return f"the model is not trusted: {self._trust.reason}"
        return "" if self._chosen() is not None else "the nominal model is not there yet"

    def _on_tick(self) -> None:
        if not self.active:
            return
        if self._solver_failure:
            raise MbrlError(f"the solver stopped: {self._solver_failure}")
        now_s, receipt_s = self.clock.now_s(), self.clock.receipt_s()
        with self._lock:
            self.loop.fault = self._fault(receipt_s)
            command = self.loop.command(now_s, receipt_s)
        self._command.publish(drive_message(command, now_s))
        self._wake.set()
        self._diagnostics.publish_on_change()

    def _solve_loop(self) -> None:
        try:
            while self.active:
                self._wake.wait()
                self._wake.clear()
                planner = self._chosen()
                with self._lock:
                    problem = self.loop.problem() if planner is not None else None
                if planner is None or problem is None or not self.active:
                    continue
                try:
                    self._solve(planner, problem)
                except PlanningError as error:
                    with self._lock:
                        self.loop.counters["cycles without a plan"] += 1
                    self.node.get_logger().error(str(error), throttle_duration_sec=1.0)
        except Exception:
            self._solver_failure = traceback.format_exc()

    def _solve(self, planner: MPPI, problem: Problem) -> None:
        if planner is not self._planning_with:
            planner.reset(self.loop.plan)  # goes on from what is being followed
            self._planning_with = planner
        age_s = self.clock.now_s() - problem.stamp_s
        begun = time.perf_counter()
        plan = planner.plan(problem)
        solve_time_s = time.perf_counter() - begun
        with self._lock:
            self.loop.adopt(plan, solve_time_s)
        self._told.plan(plan, planner.candidates)
        self._told.status(plan, planner.kind, planner.backend, self.loop.counters, (solve_time_s, age_s))

    def _report(self) -> diagnostics.Report:
        with self._lock:
            counters, reason = dict(self.loop.counters), self.loop.reason
        if not self.active:
            return diagnostics.STALE, "not active", counters
        if reason:
            return diagnostics.ERROR, reason, counters
        if trouble := self.planners.trouble:
            return diagnostics.WARN, f"planning with {self.planners.in_force}: {trouble}", counters
        planner = self._chosen()
        if planner is not None and planner.backend != self.settings.mppi.backend:
            return diagnostics.WARN, f"planning, but rollouts are {planner.backend}: {planner.rollouts.note}", counters
        if self._trust is not None and self._trust.level > ModelTrust.TRUSTED:
            return diagnostics.WARN, f"planning with little trust in the model: {self._trust.reason}", counters
        return diagnostics.OK, "planning", counters


def main() -> None:
    """Run the node."""
    run("mppi_planner", MppiPlannerNode)


if __name__ == "__main__":
    main()
