"""What a simulated car makes of its engine in bends: change of speed by what is asked for, and how hard it turns.

    tools/run.sh python benchmarks/traction.py --json runs/traction.json [--vehicle bmw_320i] [--plant multi_body]
        [--speed 14] [--lateral 0 --lateral 8] [--asked 1 --asked 3]

A driver who sees the true state holds a speed in a bend until it is as hard as wanted, and then asks the engine for so
much. Printed is how fast the speed along the car then changes, over 0.8 s after the engine has answered and with what
the bend itself costs, and vx times the yaw rate as really driven: a car that spins its inner wheel turns in. "lost" is
a car that no longer drives where it looks.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from minimum_time import vehicle_named

from mbrl_ros.cli.figures import write_figures
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import VX, VY, YAW_RATE
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.simulation.simulator import Simulator

STEP_S = 0.02
TURN_IN_S, ASKED_S, MEASURED_S, END_S = 1.5, 2.2, 2.9, 3.7
"""When the bend is as hard as wanted, when the engine is asked, and between which instants is measured [s]."""

RESPONSE, INTEGRAL = 0.15, 0.01
"""Steering per error of the yaw rate [s], and of its sum over steps."""

LOST_RAD = 0.35
"""Slip angle of the body beyond which the car is lost."""


@dataclass(frozen=True)
class Answer:
    """Slope of vx, and mean vx times the yaw rate [m/s^2]; nan where the car was lost."""

    speeding_mps2: float
    lateral_mps2: float

    def shown(self) -> str:
        return "lost" if math.isnan(self.speeding_mps2) else f"{self.speeding_mps2:.2f} ({self.lateral_mps2:.1f})"


def answer(car: Vehicle, speed_mps: float, lateral_mps2: float, asked_mps2: float) -> Answer:
    """What became of ``asked_mps2`` in a bend of ``lateral_mps2``."""
    simulator, limits, wheelbase = Simulator(car), car.limits, car.parameters["wheelbase"]
    simulator.set_pose(0.0, 0.0, 0.0, speed_mps)
    summed, seen = 0.0, []
    for step in range(round(END_S / STEP_S)):
        state, now_s = simulator.truth(), step * STEP_S
        vx = max(float(state[VX]), 1.0)
        wanted = lateral_mps2 * min(1.0, now_s / TURN_IN_S)
        error = wanted / vx - float(state[YAW_RATE])
        summed += error
        steering = wheelbase * wanted / vx**2 + RESPONSE * error + INTEGRAL * summed
        holding = float(np.clip(speed_mps - vx, -limits.braking_mps2, limits.acceleration_mps2))
        simulator.command(
            simulator.now_s,
            float(np.clip(steering, -limits.steering_angle_rad, limits.steering_angle_rad)),
            acceleration=asked_mps2 if now_s >= ASKED_S else holding,
        )
        try:
            simulator.advance(now_s + STEP_S)
        except ModelError:  # the plant's own equations end in a spin
            return Answer(math.nan, math.nan)
        if now_s >= MEASURED_S:
            seen.append(simulator.truth())
    driven = np.stack(seen)
    if np.abs(np.arctan2(driven[:, VY], driven[:, VX])).max() > LOST_RAD:
        return Answer(math.nan, math.nan)
    times = STEP_S * np.arange(len(driven))
    return Answer(float(np.polyfit(times, driven[:, VX], 1)[0]), float(np.mean(driven[:, VX] * driven[:, YAW_RATE])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vehicle", default="bmw_320i", help="name in config/vehicles")
    parser.add_argument("--plant", default="multi_body", help="single_track_drift or multi_body")
    parser.add_argument("--speed", type=float, default=14.0, help="in the bend [m/s]")
    parser.add_argument("--lateral", type=float, action="append", help="how hard the bend is [m/s^2]; may be repeated")
    parser.add_argument("--asked", type=float, action="append", help="of the engine [m/s^2]; may be repeated")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    car = vehicle_named(options.vehicle).with_plant(options.plant, "--plant")
    asked = options.asked or [0.0, 1.0, 2.0, 3.0]
    print("change of speed (vx times yaw rate), m/s^2, by what the engine is asked for")
    print("bend    " + "".join(f"{value:>16.1f}" for value in asked))
    rows = []
    for lateral in options.lateral or [0.0, 4.0, 6.0, 7.0, 8.0, 9.0]:
        found = [answer(car, options.speed, lateral, value) for value in asked]
        print(f"{lateral:<8.1f}" + "".join(f"{one.shown():>16}" for one in found), flush=True)
        rows += [
            {"bend_mps2": lateral, "asked_mps2": value, **vars(one)} for value, one in zip(asked, found, strict=True)
        ]
    write_figures(options.json, rows)


if __name__ == "__main__":
    main()
