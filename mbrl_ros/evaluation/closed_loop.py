"""Plant, estimator, planner and gate in one process: simulated time, deterministic, as fast as the machine allows.

The same parts as the nodes', called in the order in which their messages would arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.command_gate import Command, CommandGate, GateSettings
from mbrl_ros.core.lap import Lap
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation.measurement import Measurement
from mbrl_ros.estimation.state_estimator import StateEstimator
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.evaluation.drive_recorder import DriveRecorder
from mbrl_ros.evaluation.watch import Watch
from mbrl_ros.planning.control_loop import ControlLoop, LoopSettings
from mbrl_ros.planning.planner import Planner, PlanningError
from mbrl_ros.simulation.sensors import Reading
from mbrl_ros.simulation.simulator import Simulator

ESTIMATES_PER_CYCLE = 2
"""The estimator node answers at 100 Hz, the planner node plans and commands at 50 Hz."""


@dataclass
class ClosedLoop:
    """A car driven in simulated time.

    Args:
        vehicle: the car.
        track: what it drives on; it starts at the track's beginning, at rest.
        simulator: the plant.
        estimator: what the planner knows the state from.
        planner: any planner.
        settings: of the control loop.
        recorder: told everything that a recording of the graph would hold; None records nothing.
        watch: says how far the planner's model may be trusted, which is obeyed as planner and gate do in the graph;
            None trusts it without reserve.
    """

    vehicle: Vehicle
    track: Track
    simulator: Simulator
    estimator: StateEstimator
    planner: Planner
    settings: LoopSettings
    recorder: DriveRecorder | None = None
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.loop = ControlLoop(self.vehicle.limits, self.settings)
        self.gate = CommandGate(self.vehicle.limits, GateSettings(require_engage=False))
        self.log = DriveLog(self.track, self.vehicle.width_m)
        self.commands: list[tuple[float, Command]] = []
        self._planning_with = self.planner
        start = self.track.at(0.0)
        self.simulator.set_pose(float(start.position[0]), float(start.position[1]), float(start.heading))

    def run(self, laps: int, timeout_s: float, on_lap: Callable[[Lap], None] | None = None) -> DriveLog:
        """Drive on until ``laps`` are completed in all or ``timeout_s`` more of simulated time have passed."""
        period_s = 1.0 / self.settings.control_rate_hz
        start_s, cycles = self.simulator.now_s, 0
        while len(self.log.laps) < laps and cycles * period_s < timeout_s:
            lap = self._cycle(start_s + cycles * period_s, period_s)
            cycles += 1
            if lap is not None and on_lap is not None:
                on_lap(lap)
        if self.log.solve_times_s:
            # Simulated time waits for the planner; this says whether the machine would have kept the rate.
            self.log.control_rate_kept = float(np.mean(np.array(self.log.solve_times_s) <= period_s))
        if self.watch is not None:
            self.log.distrusted = self.watch.distrusted
        return self.log

    def _cycle(self, now_s: float, period_s: float) -> Lap | None:
        """One control period: command, then let time pass and take in what arrives."""
        if self.watch is not None:
            self._obey(self.watch, now_s)
        command = self.loop.command(now_s, now_s)
        self.gate.receive(command, now_s, now_s, now_s)
        sent = self.gate.tick(now_s, now_s)
        if sent is not None:
            self._send(sent, now_s)
        self._solve()
        for part in range(1, ESTIMATES_PER_CYCLE + 1):
            self._estimate(now_s + period_s * part / ESTIMATES_PER_CYCLE)
        truth = self.simulator.truth()
        if self.recorder is not None:
            self.recorder.truth(self.simulator.now_s, truth)
        return self.log.add_truth(self.simulator.now_s, truth)

    def _obey(self, watch: Watch, now_s: float) -> None:
        """What distrust leaves to the car, for planner and gate; a planner that takes over goes on from the plan."""
        self.loop.fault, self.loop.speed_cap_mps = watch.fault, watch.standing.speed_cap_mps
        self.gate.heed_trust(watch.standing.speed_cap_mps, watch.fault, now_s)
        planner = watch.choose(self.planner)
        if planner is not self._planning_with:
            planner.reset(self.loop.plan)
            self._planning_with = planner

    def _send(self, command: Command, now_s: float) -> None:
        self.commands.append((now_s, command))
        if self.recorder is not None:
            self.recorder.command(now_s, command)
        if self.watch is not None:
            self.watch.sent(now_s, command)
        steering, acceleration = command.steering_angle_rad, command.acceleration_mps2
        self.simulator.command(now_s, steering, speed=command.speed_mps, acceleration=acceleration)
        self.estimator.add_command(now_s, np.array([steering, acceleration]))
        self.loop.sent(now_s, steering, acceleration)

    def _solve(self) -> None:
        problem = self.loop.problem()
        if problem is None:
            return
        begun = time.perf_counter()
        try:
            plan = self._planning_with.plan(problem)
        except PlanningError:
            self.loop.counters["cycles without a plan"] += 1
            return
        solve_time_s = time.perf_counter() - begun
        self.log.solve_times_s.append(solve_time_s)
        # On simulated time a solve takes none: how long it took on the wall must not change the drive.
        self.loop.adopt(plan, solve_time_s=0.0)

    def _estimate(self, now_s: float) -> None:
        for reading in self.simulator.advance(now_s):
            if self.recorder is not None:
                self.recorder.reading(reading)
            for measurement in measurements(reading):
                self.estimator.add(measurement)
        estimate = self.estimator.predict(now_s)
        if estimate is not None:
            state = estimate.mean[:-1]
            self.log.add_estimate(now_s, state)
            if self.recorder is not None:
                self.recorder.estimate(now_s, state)
            if self.watch is not None:
                self.watch.observe(now_s, state)
            self.loop.observe(state, now_s, now_s, now_s)


def measurements(reading: Reading) -> list[Measurement]:
    """What the estimator makes of a simulated reading."""
    variances, values = np.diag(reading.variances), reading.values
    stamp_s, arrival_s = reading.stamp_s, reading.arrival_s
    if reading.sensor == "imu":
        return [
            Measurement("gyro", stamp_s, arrival_s, values[:1], variances[:1, :1]),
            Measurement("accelerometer", stamp_s, arrival_s, values[1:3], variances[1:3, 1:3]),
        ]
    if reading.sensor == "steering":  # its message carries no variance
        return [Measurement("steering", stamp_s, arrival_s, values)]
    return [Measurement(reading.sensor, stamp_s, arrival_s, values, variances)]
