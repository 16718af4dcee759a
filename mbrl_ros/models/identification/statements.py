"""What the data say and what they cannot, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mbrl_ros.core.layout import VX, YAW_RATE
from mbrl_ros.core.recording import Segment
from mbrl_ros.models.identification.delays import DelayScan
from mbrl_ros.models.identification.result import Estimate
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.parametric.single_track import GRAVITY

_SIGNIFICANT = 3.0  # standard deviations
_DOUBTFUL = 2.0  # from where on a recorded angle is not called that of the road wheels
_OUTLYING = 0.01  # share of predictions worth a sentence
_TYRES = ("friction", "shape", "curvature")


def about_delays(steering: DelayScan, drive: DelayScan) -> list[str]:
    """Responses that come before their command: then what stands in for the command is itself a late measurement."""
    found = []
    for what, response, scan in (
        ("steering angle", "the yaw rate", steering),
        ("drive command", "the car's own acceleration", drive),
    ):
        if scan.precedes:
            at_least = "at least " if scan.delay_s <= scan.lags_s[0] + 1e-9 else ""
            found.append(
                f"{response} comes {at_least}{-scan.delay_s:.2f} s before the recorded {what}: that is a filtered "
                "measurement and no command, so its delay is held at zero and predictions that use it react late"
            )
    return found


def about_heading(estimates: Mapping[str, Estimate]) -> list[str]:
    """A heading that does not point where the car drives straight."""
    offset = estimates.get("heading_offset")
    if offset is None:
        return []
    degrees = math.degrees(offset.value)
    return [
        f"the recorded heading is turned by {degrees:+.2f} ± {math.degrees(offset.std):.2f} degrees against the "
        "direction in which the car drives straight: how its sensor is mounted"
    ]


def about_wheelbase(
    model: ParametricModel, estimates: Mapping[str, Estimate], priors: Mapping[str, tuple[float, float]]
) -> list[str]:
    """Steering scale and wheelbase, of which driving determines only the ratio."""
    values = model.values()
    wheelbase, scale = estimates.get("wheelbase"), estimates.get("steering_scale")
    if wheelbase is not None and scale is not None and "wheelbase" in priors:
        known, std = priors["wheelbase"]
        text = f"with wheelbase {known:.3f} ± {std:.3f} m the steering scale is {scale.value:.3f} ± {scale.std:.3f}"
        if abs(scale.value - 1.0) > _DOUBTFUL * scale.std:
            return [
                f"{text}, which contradicts a recorded road wheel angle: either the recorded angle times "
                f"{scale.value:.3f} is the angle of the road wheels, or the wheelbase that acts is "
                f"{wheelbase.value / scale.value:.3f} m"
            ]
        return [f"{text}: the recorded angle is that of the road wheels"]
    if wheelbase is not None and scale is None:
        return [
            f"driving determines wheelbase and steering scale only as a ratio: the wheelbase is "
            f"{wheelbase.value:.3f} m for the steering scale of {values['steering_scale']:g} that was assumed; give a "
            "prior on the wheelbase to fit the scale"
        ]
    return []


def about_prior(name: str, unit: str, prior: tuple[float, float], alone: tuple[float, float]) -> list[str]:
    """A prior that the driving by itself denies."""
    distance = abs(alone[0] - prior[0]) / math.hypot(alone[1], prior[1])
    if distance <= _SIGNIFICANT:
        return []
    unit = "" if unit == "1" else f" {unit}"
    return [
        f"the prior {name} = {prior[0]:g} ± {prior[1]:g}{unit} contradicts the driving, which by itself says "
        f"{alone[0]:.4g} ± {alone[1]:.2g}{unit} ({distance:.1f} standard deviations apart)"
    ]


def about_outliers(share: float) -> list[str]:
    """Predictions that the fit practically left out."""
    if share < _OUTLYING:
        return []
    return [
        f"{100 * share:.1f} % of the predictions miss by several times the usual error and hardly count: jumps in the "
        "recording, or driving that this model cannot follow"
    ]


def about_undetermined(
    estimates: Mapping[str, Estimate], combinations: Sequence[Sequence[str]], segments: Sequence[Segment]
) -> list[str]:
    """What stays unknown, and what kind of driving would tell."""
    found = []
    unknown = [name for name, estimate in estimates.items() if not estimate.identifiable]
    limit = [name for name in unknown if name.startswith(_TYRES)]
    if limit:
        lateral = highest_lateral_acceleration(segments)
        found.append(
            f"{_listed(limit, estimates)} not determined: the lateral acceleration stayed below {lateral:.1f} m/s^2 "
            f"({lateral / GRAVITY:.2f} g), where only the cornering stiffness (the product B C D) shows; drive nearer "
            "to the limit, or keep out of it when planning"
        )
    at_bounds = [name for name in unknown if name not in limit and _at_bound(estimates[name])]
    found += [
        f"{name} ended at its bound of {estimates[name].value:g}: the model wants to make up for something else with it"
        for name in at_bounds
    ]
    rest = [name for name in unknown if name not in limit and name not in at_bounds]
    if rest:
        found.append(f"{_listed(rest, estimates)} not determined by this driving; fix it, or give a prior")
    for names in combinations:
        if len(names) > 1 and not set(names) <= set(limit):
            found.append(f"of {', '.join(names)} only a combination is determined")
    return found


def highest_lateral_acceleration(segments: Sequence[Segment]) -> float:
    """What |vx yaw_rate| exceeds in one row of a hundred [m/s^2]; zero where no yaw rate is recorded."""
    lateral = np.concatenate([np.abs(segment.state[:, VX] * segment.state[:, YAW_RATE]) for segment in segments])
    return float(np.percentile(np.nan_to_num(lateral), 99))


def _at_bound(estimate: Estimate) -> bool:
    edge = 1e-6 * (estimate.high - estimate.low)
    return estimate.value <= estimate.low + edge or estimate.value >= estimate.high - edge


def _listed(names: Sequence[str], estimates: Mapping[str, Estimate]) -> str:
    parts = [f"{name} ({estimates[name].value:.3g} ± {estimates[name].std:.2g})" for name in names]
    return ", ".join(parts) + (" is" if len(parts) == 1 else " are")
