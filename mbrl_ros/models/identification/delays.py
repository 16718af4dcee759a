"""Transport delays read off the recording itself: by how much a response trails its command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mbrl_ros.core.layout import DRIVE_COMMAND, STEERING_COMMAND, VX, YAW_RATE, DriveCommand
from mbrl_ros.core.recording import Segment
from mbrl_ros.models.identification.agreement import heading_rate

_RESPONSE_SPAN_S = 0.2  # over which rates are differenced, symmetrically, so that they do not lag
_PRECEDES_S = 0.1
_EXPLAINED = 0.3  # share of a response that its command must explain before a lag between them means anything
_BEYOND, _OFTEN = 1.2, 0.2  # so far above the highest speed, in this share of driving, commands meet a limit
_BLOCKS = 20  # of driving, for the jackknife

Regressors = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(command [N], vx [N]) -> [N, F] what the response is a linear combination of."""

_DRIVE_REGRESSORS: dict[DriveCommand, Regressors] = {
    "acceleration": lambda u, v: np.stack([u, np.ones_like(v), v * v], axis=1),
    "speed": lambda u, v: np.stack([u, v, np.ones_like(v)], axis=1),
    "duty": lambda u, v: np.stack([u, u * v, np.ones_like(v), v * v], axis=1),
}


@dataclass(frozen=True)
class DelayScan:
    """How well a command explains its response, by the lag between them.

    Args:
        lags_s: [D] lags tried; negative where the response precedes the command.
        explained: [D] share of the response's variance explained (R squared).
        delay_s: lag that explains most, between samples by a parabola.
        std_s: its standard deviation, by a jackknife over blocks of driving.
        coefficients: [F] of the regressors at the best lag.
        extremes: what the response falls below, and exceeds, in one row of a hundred.
        command_limit: commands beyond it do what a command of it does; infinite where none is seen.
    """

    lags_s: np.ndarray
    explained: np.ndarray
    delay_s: float
    std_s: float
    coefficients: np.ndarray
    extremes: tuple[float, float]
    command_limit: float = np.inf

    @property
    def best(self) -> float:
        """Share of the variance explained at the best lag."""
        return float(self.explained.max())

    @property
    def precedes(self) -> bool:
        """The response clearly comes before the command, so what stands in for the command is none."""
        return self.best > _EXPLAINED and self.delay_s + 3 * self.std_s < -_PRECEDES_S


def scan_steering(
    segments: Sequence[Segment], dt: float, *, by_yaw_rate: bool, max_s: float, min_speed: float
) -> DelayScan:
    """Yaw rate against the steering command.

    ``r = c1 v u + c2 v^3 u + c3 v``: the understeer bicycle to first order in the understeer, with an offset.

    Args:
        segments: the driving.
        dt: sample time [s].
        by_yaw_rate: the recorded yaw rate is the response, otherwise the heading's own rate.
        max_s: longest lag either way [s].
        min_speed: rows with vx above this count [m/s].
    """

    def regressors(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.stack([v * u, v**3 * u, v], axis=1)

    responses = [
        segment.state[:, YAW_RATE] if by_yaw_rate else heading_rate(segment, dt, _RESPONSE_SPAN_S)
        for segment in segments
    ]
    commands = [np.tan(segment.action[:, STEERING_COMMAND]) for segment in segments]
    return _scan(segments, responses, commands, regressors, dt, max_s, min_speed)


def scan_drive(
    segments: Sequence[Segment], dt: float, drive: DriveCommand, *, max_s: float, min_speed: float
) -> DelayScan:
    """Rate of vx against the drive command, linear in command, speed (or its square) and a constant."""
    half = max(1, round(_RESPONSE_SPAN_S / 2 / dt))
    responses = []
    for segment in segments:
        vx, row = segment.state[:, VX], np.arange(len(segment))
        first, last = np.maximum(row - half, 0), np.minimum(row + half, len(row) - 1)
        responses.append((vx[last] - vx[first]) / ((last - first) * dt))
    limit = _reached_speed(segments, min_speed) if drive == "speed" else np.inf
    commands = [np.minimum(segment.action[:, DRIVE_COMMAND], limit) for segment in segments]
    scan = _scan(segments, responses, commands, _DRIVE_REGRESSORS[drive], dt, max_s, min_speed)
    return replace(scan, command_limit=limit)


def _reached_speed(segments: Sequence[Segment], min_speed: float) -> float:
    """The highest speed driven [m/s], where commands often ask for more than a car gives them; else infinity."""
    speed, asked = (
        np.concatenate([values(segment)[segment.state[:, VX] > min_speed] for segment in segments])
        for values in (lambda s: s.state[:, VX], lambda s: s.action[:, DRIVE_COMMAND])
    )
    reached = float(np.percentile(speed, 99))
    return reached if np.mean(asked > _BEYOND * reached) > _OFTEN else np.inf


def _scan(
    segments: Sequence[Segment],
    responses: Sequence[np.ndarray],
    commands: Sequence[np.ndarray],
    regressors: Regressors,
    dt: float,
    max_s: float,
    min_speed: float,
) -> DelayScan:
    """Least squares at every lag, from sums over blocks of driving."""
    reach = min(round(max_s / dt), max(0, (max(map(len, segments)) - 10) // 2))
    lags = np.arange(-reach, reach + 1)
    sums: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in lags]
    total = sum(len(segment) for segment in segments)
    for segment, response, command in zip(segments, responses, commands, strict=True):
        rows = np.arange(reach, len(segment) - reach)
        rows = rows[segment.state[rows, VX] > min_speed]
        for block in np.array_split(rows, max(1, round(_BLOCKS * len(segment) / total))):
            y, v = response[block], segment.state[block, VX]
            for i, lag in enumerate(lags):
                x = regressors(command[block - lag], v)
                sums[i].append((x.T @ x, x.T @ y, np.array([y @ y, y.sum(), len(y)])))
    gram, moment, energy = (np.stack([np.stack([block[k] for block in lag]) for lag in sums]) for k in range(3))
    residue, coefficients = _fit(gram.sum(1), moment.sum(1), energy.sum(1))
    whole = energy[0].sum(0)
    variance = max(whole[0] - whole[1] ** 2 / max(whole[2], 1.0), 1e-12)
    best = vertex(residue)
    without = [
        vertex(_fit(gram.sum(1) - gram[:, b], moment.sum(1) - moment[:, b], energy.sum(1) - energy[:, b])[0])
        for b in range(gram.shape[1])
    ]
    moving = [r[segment.state[:, VX] > min_speed] for segment, r in zip(segments, responses, strict=True)]
    lowest, highest = np.percentile(np.concatenate(moving), [1, 99])
    spread = np.sqrt((len(without) - 1) * np.var(without)) if len(without) > 1 else np.inf
    return DelayScan(
        lags * dt,
        1 - residue / variance,
        (best - reach) * dt,
        float(max(spread, 0.02)) * dt,
        coefficients[int(residue.argmin())],
        (float(lowest), float(highest)),
    )


def _fit(gram: np.ndarray, moment: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[D] residual sums of squares and [D, F] coefficients of least squares from its sums."""
    size = np.sqrt(np.einsum("dff->df", gram)) + 1e-12
    scaled = gram / size[:, :, None] / size[:, None, :]
    inverse = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True)
    coefficients = np.einsum("dfg,dg->df", inverse, moment / size) / size
    return energy[:, 0] - np.einsum("df,df->d", coefficients, moment), coefficients


def vertex(values: np.ndarray) -> float:
    """Place of the least of ``values`` [D], between samples by the parabola through its neighbours."""
    i = int(values.argmin())
    if i in (0, len(values) - 1):
        return float(i)
    before, here, after = values[i - 1 : i + 2]
    curvature = before - 2 * here + after
    return i + (0.5 * (before - after) / curvature if curvature > 0 else 0.0)
