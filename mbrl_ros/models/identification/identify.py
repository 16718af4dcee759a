"""Fitting a parametric model to recorded driving."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from mbrl_ros.core.errors import DataError, LayoutError
from mbrl_ros.core.layout import VX, YAW_RATE
from mbrl_ros.core.recording import Drive, Segment, thinned
from mbrl_ros.models.identification import statements
from mbrl_ros.models.identification.agreement import Agreement, compare_with_pose
from mbrl_ros.models.identification.delays import DelayScan, scan_drive, scan_steering
from mbrl_ros.models.identification.fit import Fit, Fitting, Knowledge
from mbrl_ros.models.identification.objective import ERRORS
from mbrl_ros.models.identification.options import Options
from mbrl_ros.models.identification.parameters import (
    SENSORS,
    bounds_of,
    joined,
    parameters_to_fit,
    start_from_scans,
    stiffness_limit,
    tyre_starts,
    with_values,
)
from mbrl_ros.models.identification.result import Estimate, Identification
from mbrl_ros.models.identification.uncertainty import correlation, covariance, weak_directions, without_prior
from mbrl_ros.models.parametric import ParameterSpec, ParametricModel, build
from mbrl_ros.models.starting import SETTLE_S
from mbrl_ros.models.windows import Windows, cut_windows, require_alike

Progress = Callable[[str, float], None]
"""Told (what is being done, share of the whole that is done)."""

RELATIVE_TOLERANCE = 0.2
"""A parameter known to this share of its value is determined."""

TOLERANCES = {"rad": 0.01, "s": 0.02, "m/s^2": 0.2, "1/m": 0.001}
"""The same for values near zero, by unit."""

_LEAST_DRIVING_S = 5.0
_COARSE_WINDOWS = 120
_BLOCKS = 30
_UNDERSTEER_STD = 0.02  # K = (1 / S_f - 1 / S_r) / g, and tyres have a stiffness per load of 4 / rad at least
_FRICTION = ("friction_front", "friction_rear")
_LOAD_TRANSFER = "cg_height_ratio"
_USUAL_HEIGHT = 0.2  # of the centre of gravity, per wheelbase, where a fit of it begins
_SIGNIFICANT_GAIN = 4.5  # of the log-likelihood: three standard deviations of one parameter
_STIFFEST = 40.0  # per load [1/rad], of racing tyres
_SLOW = 0.2  # share of a car's higher speeds below which it hardly matters how tyres slip
_LONGEST_SUBSTEP_S = 0.02
_NEIGHBOURS = (-2, -1, 0, 1, 2)  # samples around a scanned delay that are tried by score


@dataclass(frozen=True)
class _Evidence:
    """The recording, and what it says before any prediction.

    Args:
        segments: the driving.
        min_speed: starts of predictions are where vx is above this [m/s].
        fastest: speed that the car exceeds one twentieth of the time [m/s].
        agreement: of recorded velocities with the pose.
        steering, drive: by how much responses trail their commands.
        coarse: few and short windows, for finding the right neighbourhood.
        full: windows over the whole horizon.
    """

    segments: tuple[Segment, ...]
    min_speed: float
    fastest: float
    agreement: Agreement
    steering: DelayScan
    drive: DelayScan
    coarse: Fitting
    full: Fitting


def identify(
    drives: Sequence[Drive], model: ParametricModel, options: Options | None = None, progress: Progress | None = None
) -> Identification:
    """Fit parameters of ``model`` to recorded driving.

    First the delays, where commands explain their responses best; then, starting from linear regressions, the
    kinematic bicycle on multi-step predictions, with its delay by score; then, for the single-track model, the
    tyres from several starts. Each is fitted over half the horizon first, and then over the whole. The height of the
    centre of gravity, where the model that is begun with has none, and the friction are fitted only where that makes
    predictions significantly better and the driving determines them: tyres far from their limit show neither.

    Args:
        drives: recordings, all at one rate and with the model's actions; of much driving pieces are looked at.
        model: where to begin; its dt becomes the drives'. Parameters that are not fitted keep their values.
        options: what to fit and what is known beforehand.
        progress: told how far it is.

    Raises:
        DataError: too little driving, a standing car, non-finite rows, drives that differ.
        LayoutError: actions or reference point are not the model's.
        ConfigError: an option names an unknown parameter or makes no sense.
    """
    options = options or Options()
    tell = progress or (lambda what, share: None)
    _require_match(drives, model)
    drives = thinned(drives)
    names = parameters_to_fit(model, options)
    dt = drives[0].dt
    substeps = max(model.config.substeps, math.ceil(dt / _LONGEST_SUBSTEP_S - 1e-9))
    model = model.with_dt(dt, substeps).with_parameters(options.fixed)
    tell("delays", 0.0)
    evidence = _evidence(drives, model, options)
    model, names = _with_late_measurements(model, names, options, evidence)
    if math.isinf(evidence.drive.command_limit) and "speed_limit" not in options.asked:
        names = tuple(name for name in names if name != "speed_limit")
    if model.kind == "kinematic_bicycle":
        fit, knowledge = _fit_bicycle(model, names, options, evidence, _within(tell, "kinematic fit", 0.02, 1.0))
    else:
        fit, knowledge = _fit_single_track(model, names, options, evidence, tell)
    tell("done", 1.0)
    return _result(model, fit, knowledge, options, evidence)


# -- stages ----------------------------------------------------------------------------------------------------


def _require_match(drives: Sequence[Drive], model: ParametricModel) -> None:
    model.action_layout.require(require_alike(drives), f"actions of {drives[0].source}")
    if model.reference_point != drives[0].reference_point:
        raise LayoutError(
            f"the model describes the {model.reference_point}, {drives[0].source} the {drives[0].reference_point}"
        )


def _evidence(drives: Sequence[Drive], model: ParametricModel, options: Options) -> _Evidence:
    segments = tuple(segment for drive in drives for segment in drive.segments)
    dt = drives[0].dt
    vx = np.concatenate([segment.state[:, VX] for segment in segments])
    fastest = float(np.nanpercentile(vx, 95))
    usual = float(np.clip(0.2 * fastest, 0.1, 3.0))
    min_speed = usual if options.min_speed is None else options.min_speed
    moving_s = float(np.sum(vx > min_speed)) * dt
    agreement = compare_with_pose(drives, min_speed)

    def windows(horizon_s: float, limit: int) -> Windows:
        return cut_windows(
            drives,
            horizon_s=horizon_s,
            past_s=options.max_delay_s + SETTLE_S + dt,
            every_s=options.start_every_s,
            min_speed=min_speed,
            block_s=max(options.horizon_s, len(vx) * dt / _BLOCKS),
            limit=limit,
            trusted=agreement.trusted,
            seed=options.seed,
        )

    full = windows(options.horizon_s, options.max_windows)
    coarse = windows(options.horizon_s / 2, min(_COARSE_WINDOWS, options.max_windows))
    if moving_s < _LEAST_DRIVING_S:
        raise DataError(
            f"{', '.join(drive.source for drive in drives)}: only {moving_s:.1f} s of driving above {min_speed:.2g} "
            f"m/s; identification needs {_LEAST_DRIVING_S:g} s at least, better a minute with turns both ways"
        )
    steering = scan_steering(
        segments,
        dt,
        by_yaw_rate=bool(agreement.trusted[YAW_RATE] and full.observed[:, YAW_RATE].all()),
        max_s=options.max_delay_s,
        min_speed=min_speed,
    )
    drive = scan_drive(segments, dt, model.config.drive, max_s=options.max_delay_s, min_speed=min_speed)
    return _Evidence(segments, min_speed, fastest, agreement, steering, drive, Fitting(coarse), Fitting(full))


def _with_late_measurements(
    model: ParametricModel, names: tuple[str, ...], options: Options, evidence: _Evidence
) -> tuple[ParametricModel, tuple[str, ...]]:
    """Where a late measurement stands in for a command: no delay, and an acceleration that is d vx / dt already."""
    held: dict[str, float] = {}
    if evidence.steering.precedes:
        held["steering_delay"] = 0.0
    if evidence.drive.precedes:
        held |= {"drive_delay": 0.0, "cornering_drag": 0.0}
    held = {name: value for name, value in held.items() if name in model.table and name not in options.asked}
    return model.with_parameters(held), tuple(name for name in names if name not in held)


def _fit_bicycle(
    model: ParametricModel, names: tuple[str, ...], options: Options, evidence: _Evidence, step: Callable[[], None]
) -> tuple[Fit, Knowledge]:
    start = start_from_scans(model, names, evidence.steering, evidence.drive, options)
    knowledge = _knowledge(model, names, options)
    start = _best_delay(start, knowledge, options, evidence)
    found = evidence.coarse.run(start, knowledge, iterations=12, progress=step)
    found = evidence.full.run(found.model, knowledge, rounds=1, progress=step)
    model, knowledge = _without_idle_sensors(found, knowledge, options)
    return evidence.full.run(model, knowledge, progress=step), knowledge


def _without_idle_sensors(fit: Fit, knowledge: Knowledge, options: Options) -> tuple[ParametricModel, Knowledge]:
    """The fitted model with its sensors mounted as they should be where the fit says nothing else; and the rest."""
    idle = {name for name in SENSORS if name in knowledge.names and not _significant(name, fit, knowledge)}
    idle -= options.asked
    defaults = {name: fit.model.table[name].default for name in idle}
    return fit.model.with_parameters(defaults), knowledge.without(idle)


def _significant(name: str, fit: Fit, knowledge: Knowledge) -> bool:
    """Whether a sensor's mounting deviates by three standard deviations, and by as much as matters."""
    k = knowledge.names.index(name)
    std = math.sqrt(covariance(fit.known, knowledge.precision)[k, k])
    return abs(fit.theta[k] - fit.model.table[name].default) > max(SENSORS[name], 3 * std)


def _best_delay(start: ParametricModel, knowledge: Knowledge, options: Options, evidence: _Evidence) -> ParametricModel:
    """``start`` with the steering delay, of some around its own, with which predictions come out best."""
    name = "steering_delay"
    if name not in knowledge.names:
        return start
    rest = knowledge.without([name])
    dt, delay = start.dt, start.values()[name]
    tried = dict.fromkeys(max(0.0, delay + steps * dt) for steps in _NEIGHBOURS)
    candidates = [with_values(start, {name: value}, options) for value in tried]
    scale = evidence.coarse.scale(evidence.coarse.errors(start))
    if not rest.names:
        return min(candidates, key=lambda model: evidence.coarse.cost(model, scale))
    fits = [evidence.coarse.run(model, rest, rounds=1, iterations=3, scale=scale) for model in candidates]
    return min(fits, key=lambda fit: fit.cost).model


def _fit_single_track(
    model: ParametricModel, names: tuple[str, ...], options: Options, evidence: _Evidence, tell: Progress
) -> tuple[Fit, Knowledge]:
    bicycle = _bicycle_like(model)
    shared = tuple(name for name in bicycle.table if name in names or name == "understeer")
    fit, known = _fit_bicycle(bicycle, shared, options, evidence, _within(tell, "kinematic fit", 0.02, 0.2))
    names = tuple(name for name in names if name not in SENSORS or name in known.names)
    model, options = _followed_by_steps(model, options, evidence)
    held = tuple(name for name in names if name not in _FRICTION or name in options.asked)
    knowledge = _knowledge(model, held, options)
    step = _within(tell, "tyres", 0.2, 0.4)
    starts = tyre_starts(model, held, fit.model, options)
    scale = evidence.coarse.scale(evidence.coarse.errors(fit.model))
    found = [
        evidence.coarse.run(start, knowledge, rounds=1, iterations=10, scale=scale, progress=step) for start in starts
    ]
    best = min(found, key=lambda fit: fit.cost)
    if _LOAD_TRANSFER not in (*names, *model.values(), *options.fixed) and options.only is None:
        lifted = _with_load_transfer(best, held, options, evidence, step)
        if lifted is not None:
            best, knowledge = lifted
            names = tuple(name for name in model.table if name in names or name == _LOAD_TRANSFER)
    step = _within(tell, "single-track fit", 0.4, 0.8)
    fit = evidence.full.run(best.model, knowledge, progress=step)
    well, fewer = _without_idle_sensors(fit, knowledge, options)  # what looked turned may have been slip
    if fewer.names != knowledge.names:
        names = tuple(name for name in names if name in fewer.names or name not in SENSORS)
        fit, knowledge = evidence.full.run(well, fewer, rounds=1, scale=fit.scale, progress=step), fewer
    if len(knowledge.names) == len(names):
        return fit, knowledge
    more = _knowledge(model, names, options)
    step = _within(tell, "friction", 0.8, 1.0)
    limited = evidence.full.run(fit.model, more, rounds=1, scale=fit.scale, progress=step)
    gain = (fit.cost - limited.cost) / limited.known.dilution
    seen = gain > _SIGNIFICANT_GAIN and _friction_determined(limited, more, evidence)
    return (limited, more) if seen else (fit, knowledge)


def _with_load_transfer(
    fit: Fit, names: tuple[str, ...], options: Options, evidence: _Evidence, step: Callable[[], None]
) -> tuple[Fit, Knowledge] | None:
    """``fit`` with the height of the centre of gravity as well; None where the driving does not determine it.

    A car that brakes and accelerates hard in its turns grips by the load on its axles. A model without load transfer
    makes up for it with what it has: a wheelbase a quarter too short, an inertia three times too large.
    """
    more = _knowledge(fit.model, (*names, _LOAD_TRANSFER), options)
    start = with_values(fit.model, {_LOAD_TRANSFER: _USUAL_HEIGHT}, options)
    lifted = evidence.coarse.run(start, more, rounds=1, iterations=10, scale=fit.scale, progress=step)
    gain = (fit.cost - lifted.cost) / lifted.known.dilution
    k = more.names.index(_LOAD_TRANSFER)
    std = math.sqrt(covariance(lifted.known, more.precision)[k, k])
    told = gain > _SIGNIFICANT_GAIN and std <= RELATIVE_TOLERANCE * lifted.theta[k]
    return (lifted, more) if told else None


def _friction_determined(fit: Fit, knowledge: Knowledge, evidence: _Evidence) -> bool:
    """Whether both axles' friction is known well enough to be driven by: what was guessed too low spins the car."""
    std = np.sqrt(np.diag(covariance(fit.known, knowledge.precision)))
    return all(
        std[k] <= _tolerance(fit.model.table[name], float(fit.theta[k]), fit, evidence.fastest)
        for k, name in enumerate(knowledge.names)
        if name in _FRICTION
    )


def _bicycle_like(model: ParametricModel) -> ParametricModel:
    """The kinematic bicycle with what ``model`` shares with it."""
    config = asdict(model.config)
    table = build("kinematic_bicycle", **config).table
    return build("kinematic_bicycle", {name: v for name, v in model.values().items() if name in table}, **config)


def _followed_by_steps(
    model: ParametricModel, options: Options, evidence: _Evidence
) -> tuple[ParametricModel, Options]:
    """Tyres that explicit steps of the model can follow, from the speed on at which they take over.

    That speed is raised for the stiffest tyres, but not into the driving; then their stiffness is bounded.
    """
    values, spec = model.values(), model.table["blend_start"]
    half = values["blend_width"] / 2
    if spec.name not in options.asked:
        wanted = _STIFFEST / stiffness_limit(model, 1.0) - half
        start = max(values[spec.name], min(wanted, _SLOW * evidence.fastest, spec.high))
        model = model.with_parameters({spec.name: start})
    highest = stiffness_limit(model, model.values()[spec.name] + half)
    bounds = {
        name: (model.table[name].low, min(model.table[name].high, highest))
        for name in ("stiffness_front", "stiffness_rear")
    }
    return model, replace(options, bounds=bounds | dict(options.bounds))


# -- knowledge and result --------------------------------------------------------------------------------------


def _knowledge(model: ParametricModel, names: tuple[str, ...], options: Options) -> Knowledge:
    """Bounds and priors; where nothing is known, the model's value give or take a quarter of the range."""
    low, high = bounds_of(model, names, options)
    values = joined(model, names, options).values()
    spread = dict(zip(names, (high - low) / 4, strict=True)) | {"understeer": _UNDERSTEER_STD}
    centre, std = np.array([options.priors.get(name, (values[name], spread[name])) for name in names]).T
    return Knowledge(names, low, high, centre, std)


def _result(
    model: ParametricModel, fit: Fit, knowledge: Knowledge, options: Options, evidence: _Evidence
) -> Identification:
    cov = covariance(fit.known, knowledge.precision)
    specs = [fit.model.table[name] for name in knowledge.names]
    tolerance = np.array([_tolerance(spec, v, fit, evidence.fastest) for spec, v in zip(specs, fit.theta, strict=True)])
    estimates = {}
    for k, spec in enumerate(specs):
        low, high, std = float(knowledge.low[k]), float(knowledge.high[k]), math.sqrt(cov[k, k])
        value = float(fit.theta[k])
        determined = std <= tolerance[k] and not _stuck(spec, value, low, high)
        estimates[spec.name] = Estimate(value, std, spec.unit, determined, low, high)
    for name in [n for n in parameters_to_fit(model, options) if n in _FRICTION and n not in estimates]:
        spec = model.table[name]  # no better known than before
        estimates[name] = Estimate(
            model.values()[name], (spec.high - spec.low) / 4, spec.unit, False, spec.low, spec.high
        )
    combinations = [[knowledge.names[k] for k in members] for members in weak_directions(cov, tolerance)]
    before, after = evidence.full.errors(model), evidence.full.errors(fit.model)
    return Identification(
        fit.model,
        estimates,
        correlation(cov),
        _at_horizon(evidence.full.scale(before)),
        _at_horizon(evidence.full.scale(after)),
        len(evidence.full.windows),
        options.horizon_s,
        (
            *evidence.agreement.sentences,
            *statements.about_delays(evidence.steering, evidence.drive),
            *statements.about_heading(estimates),
            *statements.about_wheelbase(fit.model, estimates, options.priors),
            *_about_priors(fit, knowledge, options),
            *statements.about_undetermined(estimates, combinations, evidence.segments),
            *statements.about_outliers(fit.outlying),
        ),
        fit.converged,
    )


def _tolerance(spec: ParameterSpec, value: float, fit: Fit, speed: float) -> float:
    if spec.name == "understeer":  # as an effective wheelbase at speed
        wheelbase = fit.model.values()["wheelbase"]
        return RELATIVE_TOLERANCE * (wheelbase + value * speed**2) / speed**2
    return max(RELATIVE_TOLERANCE * abs(value), TOLERANCES.get(spec.unit, 0.0))


def _stuck(spec: ParameterSpec, value: float, low: float, high: float) -> bool:
    """Whether the fit ended at a bound that is not a natural one, like a delay of zero."""
    edge = 1e-6 * (high - low)
    natural = spec.low == 0.0 and low <= 2 * edge
    return (value <= low + edge and not natural) or (value >= high - edge and spec.name != "cornering_drag")


def _about_priors(fit: Fit, knowledge: Knowledge, options: Options) -> list[str]:
    found: list[str] = []
    for name, prior in options.priors.items():
        k = knowledge.names.index(name)
        alone = without_prior(fit.theta, fit.known, knowledge.precision, prior[0], k)
        found += statements.about_prior(name, fit.model.table[name].unit, prior, alone)
    return found


def _at_horizon(scale: np.ndarray) -> dict[str, float]:
    return {name: float(size) for name, size in zip(ERRORS, scale[-1], strict=True) if math.isfinite(size)}


def _within(tell: Progress, what: str, low: float, high: float) -> Callable[[], None]:
    """Something to call after each Jacobian of a stage whose number of them is not known."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        tell(what, low + (high - low) * (1 - math.exp(-count / 12)))

    return step
