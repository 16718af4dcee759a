"""The fastest lap that a car could drive, computed offline: what planners' lap times are measured against.

    MBRL_PEERS_PYTHON=/tmp/peers/bin/python tools/run.sh python benchmarks/minimum_time.py --plant multi_body \
        --json runs/minimum.json --pictures runs/minimum [--vehicle bmw_320i] [--track demo] [--intervals 250]
        [--model FOLDER]

Needs CasADi, which is no part of the project: make an environment of its own (python3 -m venv /tmp/peers, then
/tmp/peers/bin/pip install casadi numpy) and name its Python in MBRL_PEERS_PYTHON; without it this benchmark says so
and ends. A flying lap, periodic, by direct collocation over the arc length (peers/minimum_time_solver.py), between the
edges less half the car's width, as exits are counted.

The car is the single-track model with its tyres and the vehicle file's limits of steering angle and rate, speed,
acceleration, braking and jerk; --model takes the parameters of a fitted one. To its equations comes what they lack of
the simulated car's wheels (`wheels_of`): engine and brakes act on the axles as there, equally on both wheels of one,
bends move load from the inner to the outer wheel (with suspension: by each axle's share of the roll stiffness), and no
wheel may slide, that is use more than its circle of grip along and across, nor lift. What that leaves out: transport
delays and actuators' lags, which an offline plan can anticipate, and everything that rolls, pitches or spins: wheels of
the multi-body car may spin, and then it gets less from its engine (traction.py). So it is the optimum of this model,
neither a bound for the simulated car nor one that can be driven.

A car of another size than the 1:10 one drives the same tracks, as many times larger as its wheelbase is longer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mbrl_ros.cli.figures import write_figures
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.speed_profile import speed_profile
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.drive_pictures import SLOW_TO_FAST, draw_track
from mbrl_ros.evaluation.picture_style import INK, TITLE, plain, save_png
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.parametric.single_track import GRAVITY
from mbrl_ros.simulation.parameter_sets import parameter_set

CONFIG = Path(__file__).resolve().parents[1] / "config"
SOLVER = Path(__file__).parent / "peers" / "minimum_time_solver.py"
TRACKS = ("demo", "fast", "technical")
TRACKS_ARE_FOR = "f1tenth"
_VX = 2  # of the solver's states


def vehicle_named(name: str) -> Vehicle:
    return read_settings(CONFIG / "vehicles" / f"{name}.yaml", Vehicle)


def track_for(vehicle: Vehicle, name: str) -> Track:
    """A shipped track, as many times larger as the vehicle's wheelbase is longer than that of the 1:10 car."""
    track = Track.from_csv(CONFIG / "tracks" / f"{name}.csv")
    scale = vehicle.parameters["wheelbase"] / vehicle_named(TRACKS_ARE_FOR).parameters["wheelbase"]
    return Track(scale * track.points, scale * track.widths_left, scale * track.widths_right, name=name)


def parameters_of(vehicle: Vehicle, model: Path | None) -> dict[str, float]:
    """Of the single-track model, nominal or fitted."""
    single_track = passport.load(model).model if model else build_for(vehicle, "single_track", dt=0.02)
    if single_track.kind != "single_track":
        raise SystemExit(f"{model}: is a {single_track.kind}; fit a single_track (mbrl fit --model single_track)")
    return {name: float(value) for name, value in single_track.values().items()}


def wheels_of(vehicle: Vehicle) -> dict[str, float]:
    """How engine, brakes and bends load the simulated car's wheels: shares of the front axle, and what the outer wheel
    of each axle gains per lateral acceleration, per mass of the car [1]; nothing where an axle is one wheel.

    The axles share the moment of the car, and that of the body which leans out, by their roll stiffness (Milliken and
    Milliken 1995, ch. 18). That tyres give sideways, which moves some more of it, is left out.
    """
    car = parameter_set(vehicle.plant.parameters)
    wheels = {"drive_front": car.T_se, "brake_front": car.T_sb, "transfer_front": 0.0, "transfer_rear": 0.0}
    if vehicle.plant.model == "multi_body":
        stiffness = {"front": car.K_sf * car.T_f**2 / 2 - car.K_tsf, "rear": car.K_sr * car.T_r**2 / 2 - car.K_tsr}
        total, weight = sum(stiffness.values()), GRAVITY * car.m_s * car.h_s
        lever = car.h_cg + car.m_s / car.m * car.h_s * weight / (total - weight)
        for axle, width in (("front", car.T_f), ("rear", car.T_r)):
            wheels[f"transfer_{axle}"] = stiffness[axle] / total * lever / width
    return wheels


def minimum_time(
    vehicle: Vehicle, track: Track, parameters: dict[str, float], intervals: int, python: str
) -> dict[str, Any]:
    """The solver's answer, with the line's positions [N, 2] beside it."""
    step = track.length_m / intervals
    taus = np.array(asked(python, "taus"))
    s = step * (np.arange(intervals)[:, None] + taus)
    across = track.at(s)
    half = vehicle.width_m / 2
    limits = vehicle.limits
    grip = GRAVITY * min(parameters["friction_front"], parameters["friction_rear"])
    profile = speed_profile(
        track,
        lateral_limit=0.5 * grip,
        acceleration_limit=0.5 * limits.acceleration_mps2,
        braking_limit=0.5 * limits.braking_mps2,
        top_speed=limits.speed_mps,
    )
    found: dict[str, Any] = asked(
        python,
        {
            "parameters": parameters,
            "wheels": wheels_of(vehicle),
            "limits": limits.model_dump(),
            "intervals": intervals,
            "length_m": track.length_m,
            "curvature": across.curvature.tolist(),
            "lowest_m": (half - across.width_right).tolist(),
            "highest_m": (across.width_left - half).tolist(),
            "speed_mps": profile.at(s).tolist(),
        },
    )
    states = np.array(found["states"])
    found["line"] = track.to_xy(s[:, -1], states[:, 0]).tolist()
    found["s_m"] = s[:, -1].tolist()
    return found


def asked(python: str, question: Any) -> Any:
    """What the solver's process answers."""
    answer = subprocess.run([python, str(SOLVER)], input=json.dumps(question), capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"{SOLVER.name} with {python}: {answer.stderr.strip()}")
    return json.loads(answer.stdout[answer.stdout.index("{" if isinstance(question, dict) else "[") :])


def picture(track: Track, found: dict[str, Any], title: str) -> Figure:
    """The line, coloured by speed, and the speed along the track."""
    figure = Figure(figsize=(12.5, 6.2), dpi=130, layout="constrained")
    across, along = figure.subplots(1, 2, width_ratios=(1.3, 1))
    draw_track(across, track)
    line, speed = np.array(found["line"]), np.array(found["states"])[:, _VX]
    closed = np.vstack([line, line[:1]])
    lines = LineCollection(
        list(np.stack([closed[:-1], closed[1:]], axis=1)), cmap=SLOW_TO_FAST, linewidths=2.6, zorder=3
    )
    lines.set_array(speed)
    across.add_collection(lines)
    bar = figure.colorbar(lines, ax=across, shrink=0.7, pad=0.01, aspect=30)
    bar.set_label("speed [m/s]", color=INK)
    bar.outline.set_visible(False)
    across.set_title(title, **TITLE)
    along.plot(found["s_m"], speed, color=INK, linewidth=1.8)
    along.set(xlabel="distance along the track [m]", ylabel="speed [m/s]", xlim=(0.0, track.length_m))
    plain(along)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vehicle", default="bmw_320i", help="name in config/vehicles")
    parser.add_argument("--plant", default="", help="single_track_drift or multi_body; by default as the vehicle says")
    parser.add_argument("--track", action="append", choices=TRACKS, help="by default all three")
    parser.add_argument("--intervals", type=int, default=250, help="of the collocation")
    parser.add_argument("--model", type=Path, help="folder of a fitted single track; by default nominal parameters")
    parser.add_argument("--json", type=Path, help="write times and lines here")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each lap")
    options = parser.parse_args()
    python = os.environ.get("MBRL_PEERS_PYTHON")
    if not python:
        print("MBRL_PEERS_PYTHON names no Python that has casadi: nothing is computed")
        return
    vehicle = vehicle_named(options.vehicle).with_plant(options.plant, "--plant")
    parameters = parameters_of(vehicle, options.model)
    laps = []
    for name in options.track or TRACKS:
        track = track_for(vehicle, name)
        found = minimum_time(vehicle, track, parameters, options.intervals, python)
        if not found["solved"]:
            sys.exit(f"{name}: IPOPT found no optimum ({found['status']}); try other --intervals")
        where = f"{options.vehicle} on {name}, {track.length_m:.0f} m"
        print(f"{where}: {found['lap_s']:.3f} s, {found['iterations']} iterations", flush=True)
        laps.append(
            {
                "vehicle": options.vehicle,
                "plant": vehicle.plant.model,
                "track": name,
                "length_m": track.length_m,
                **found,
            }
        )
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            title = f"{options.vehicle} on {name}: {found['lap_s']:.2f} s"
            save_png(picture(track, found, title), options.pictures / f"{options.vehicle}-{name}.png")
    write_figures(options.json, laps)


if __name__ == "__main__":
    main()
