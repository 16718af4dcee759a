"""Which parameters driving usually determines, and where a fit of them begins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import DriveCommand
from mbrl_ros.models.identification.delays import DelayScan
from mbrl_ros.models.identification.options import Options
from mbrl_ros.models.parametric import ParameterSpec, ParametricModel
from mbrl_ros.models.parametric.single_track import GRAVITY

_CHASSIS = {
    "kinematic_bicycle": ("wheelbase", "rear_fraction", "understeer"),
    "single_track": (
        "wheelbase",
        "rear_fraction",
        "yaw_inertia_ratio",
        "stiffness_front",
        "stiffness_rear",
        "friction_front",
        "friction_rear",
    ),
}
_ACTUATORS = ("steering_offset", "steering_delay", "drive_delay")
SENSORS = {"heading_offset": 0.002, "velocity_scale": 0.01}
"""Mounting of sensors, with the least deviation from the default that is worth a parameter."""

_DRIVE: dict[DriveCommand, tuple[str, ...]] = {
    "acceleration": ("acceleration_scale", "acceleration_offset"),
    "speed": ("speed_scale", "speed_gain", "max_acceleration", "max_braking", "speed_limit", "cornering_drag"),
    "duty": ("motor_gain", "motor_damping", "rolling_resistance", "drag"),
}

_JOINED = 1e-6  # of its range: how far from its default an optional parameter starts, to be part of the model
_STIFFNESSES = (12.0, 40.0)  # of the rear axle, where fits of tyres begin: soft and hard ones


def parameters_to_fit(model: ParametricModel, options: Options) -> tuple[str, ...]:
    """Names to fit, in the order of the model's table.

    Raises:
        ConfigError: a name is unknown, a prior out of bounds, or nothing is left to fit.
    """
    usual = (*_CHASSIS[model.kind], *_ACTUATORS, *SENSORS, *_DRIVE[model.config.drive])
    wanted = set(usual) & model.table.keys() if options.only is None else set(options.only)
    wanted |= {*options.free, *options.priors}
    if "wheelbase" in options.priors:
        wanted.add("steering_scale")
    for name in (*wanted, *options.fixed, *options.bounds):
        if name not in model.table:
            raise ConfigError(f"{model.kind} has no parameter '{name}'; it has {', '.join(model.table)}")
    for name, (value, _) in options.priors.items():
        spec = model.table[name]
        if not spec.low <= value <= spec.high:
            raise ConfigError(
                f"prior {name} = {value:g} {spec.unit} is outside of [{spec.low:g}, {spec.high:g}]; check its unit"
            )
    names = tuple(name for name in model.table if name in wanted and name not in options.fixed)
    if not names:
        raise ConfigError("every parameter is fixed; leave at least one to fit")
    return names


def bounds_of(model: ParametricModel, names: Sequence[str], options: Options) -> tuple[np.ndarray, np.ndarray]:
    """[P] lower and upper bounds: the table's, an option's, and the longest delay looked for.

    Raises:
        ConfigError: an option's bounds exceed the table's.
    """
    low, high = [], []
    for name in names:
        spec = model.table[name]
        lowest, highest = options.bounds.get(name, (spec.low, spec.high))
        if lowest < spec.low or highest > spec.high:
            raise ConfigError(f"bounds of {name} exceed [{spec.low:g}, {spec.high:g}] {spec.unit}")
        # An optional parameter that ended at its default would be no part of the model any more.
        low.append(_near_default(spec) if spec.optional and lowest == spec.default else lowest)
        high.append(min(highest, options.max_delay_s) if name.endswith("_delay") else highest)
    return np.array(low), np.array(high)


def with_values(model: ParametricModel, values: dict[str, float], options: Options) -> ParametricModel:
    """``model`` with ``values``, moved inside the bounds where they lie outside."""
    names = list(values)
    low, high = bounds_of(model, names, options)
    clipped = np.clip(list(values.values()), low, high)
    return model.with_parameters(dict(zip(names, clipped.tolist(), strict=True)))


def joined(model: ParametricModel, names: Sequence[str], options: Options) -> ParametricModel:
    """``model`` with those optional parameters among ``names`` brought in that it leaves out."""
    absent = [model.table[name] for name in names if name not in model.values()]
    return with_values(model, {spec.name: _near_default(spec) for spec in absent}, options) if absent else model


def start_from_scans(
    model: ParametricModel,
    names: Sequence[str],
    steering: DelayScan,
    drive: DelayScan,
    options: Options,
) -> ParametricModel:
    """``model`` with what the linear regressions behind the delays say of the parameters in ``names``."""
    fixed = model.values()
    slope, growth, bias = steering.coefficients
    found: dict[str, float] = {}
    if slope > 0:
        scale = fixed["steering_scale"]
        if "wheelbase" in options.priors:
            scale = slope * options.priors["wheelbase"][0]
        elif "wheelbase" not in names:
            scale = slope * fixed["wheelbase"]
        wheelbase = scale / slope
        found |= {"wheelbase": wheelbase, "steering_scale": scale, "steering_offset": bias * wheelbase}
        found["understeer"] = -growth * wheelbase**2 / scale
    found |= _drive_start(model.config.drive, drive)
    found |= {"steering_delay": max(steering.delay_s, 0.0), "drive_delay": max(drive.delay_s, 0.0)}
    found |= {name: value for name, (value, _) in options.priors.items() if name != "steering_scale"}
    return with_values(joined(model, names, options), {n: v for n, v in found.items() if n in names}, options)


def tyre_starts(
    model: ParametricModel, names: Sequence[str], bicycle: ParametricModel, options: Options
) -> list[ParametricModel]:
    """Single-track models to begin with, equal to a fitted kinematic ``bicycle`` at low lateral acceleration.

    ``K = (1 / S_f - 1 / S_r) / g`` relates understeer and the axles' stiffness per load. Several rear stiffnesses
    are offered, since a fit from one may end in a local minimum.
    """
    shared = {name: value for name, value in bicycle.values().items() if name in names}
    base = with_values(joined(model, names, options), shared, options)
    own = model.values()["stiffness_rear"]
    _, (stiffest,) = bounds_of(model, ["stiffness_rear"], options)
    starts = []
    for rear in dict.fromkeys(min(stiffness, stiffest) for stiffness in (own, *_STIFFNESSES)):
        front = 1 / (1 / rear + GRAVITY * bicycle.values()["understeer"])
        tyres = {"stiffness_front": front, "stiffness_rear": rear}
        starts.append(with_values(base, {n: v for n, v in tyres.items() if n in names}, options))
    return starts


def stiffness_limit(model: ParametricModel, speed: float) -> float:
    """Largest stiffness per load [1/rad] that explicit steps follow at ``speed``: the rate is about g S / v."""
    return 2.0 * speed * model.config.substeps / (GRAVITY * model.dt)


def _drive_start(kind: DriveCommand, scan: DelayScan) -> dict[str, float]:
    c = scan.coefficients
    if kind == "acceleration":
        return {"acceleration_scale": c[0], "acceleration_offset": c[1]}
    if kind == "duty":
        return {"motor_gain": c[0], "motor_damping": -c[1], "rolling_resistance": -c[2], "drag": -c[3]}
    limits = {"max_braking": -scan.extremes[0], "max_acceleration": scan.extremes[1]}  # where a fit of them can see
    if math.isfinite(scan.command_limit):
        limits["speed_limit"] = scan.command_limit
    return limits | ({"speed_gain": -c[1], "speed_scale": -c[0] / c[1]} if c[1] < 0 else {})


def _near_default(spec: ParameterSpec) -> float:
    if not math.isfinite(spec.default):
        return spec.high
    step = _JOINED * (spec.high - spec.low)
    return spec.default + step if spec.default + step <= spec.high else spec.default - step
