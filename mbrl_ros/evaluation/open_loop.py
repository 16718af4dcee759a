"""Open-loop scores: predict from many starts with the recorded controls, compare with what was driven.

Position errors follow the usual definitions: over all starts that have the whole horizon, ADE is the mean
distance between predicted and driven position over the horizon's steps (the start itself not counted), FDE the
mean distance at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import STATE, VX, YAW, Layout, ReferencePoint, X, Y
from mbrl_ros.core.recording import Drive, thinned
from mbrl_ros.evaluation.bootstrap import block_of, mean_interval
from mbrl_ros.evaluation.splits import Interval
from mbrl_ros.models.identification.agreement import compare_with_pose
from mbrl_ros.models.windows import measured_entries

HORIZONS_S = (0.1, 0.5, 1.0, 2.0)
START_EVERY_S = 0.2
_MOST_STARTS = 10_000
"""Of one recording; a longer one has them further apart, because all are predicted at once."""

EVERYWHERE: tuple[Interval, ...] = ((-math.inf, math.inf),)


@dataclass(frozen=True)
class Windows:
    """N starts in one recording, P steps of history before each and H steps of driving after it.

    Args:
        states: [N, P + H + 1, 8] recorded states, the start in row P; NaN where nothing is recorded and
            beyond the end of the held-out part.
        commands: [N, P + H, A] commands as they were sent; beyond the end the last one is held.
        measured: [N, 8] which entries the recording measures; copies of a command do not count, nor do velocities
            that the pose denies.
        time_s: [N] stamps of the starts [s].
        past: P.
        dt: sample time [s].
        every_s: time from one start to the next, where the car moves [s].
        action_layout: names and units of the A entries.
        reference_point: what position and velocity describe.
        source: the recording.
    """

    states: torch.Tensor
    commands: torch.Tensor
    measured: torch.Tensor
    time_s: np.ndarray
    past: int
    dt: float
    every_s: float
    action_layout: Layout
    reference_point: ReferencePoint
    source: str

    def __len__(self) -> int:
        return len(self.states)

    @property
    def start(self) -> torch.Tensor:
        """[N, 8] states at the starts."""
        return self.states[:, self.past]

    @property
    def driven(self) -> torch.Tensor:
        """[N, H + 1, 8] what happened, the start included."""
        return self.states[:, self.past :]


@dataclass(frozen=True)
class Predictor:
    """Something that predicts driving.

    Args:
        name: in tables and files.
        predict: windows to [N, H + 1, 8] predicted states, the start included; NaN in entries it says nothing of.
        past_s: history it needs before a start [s].
    """

    name: str
    predict: Callable[[Windows], torch.Tensor]
    past_s: float = 0.0


@dataclass(frozen=True)
class Score:
    """How well one predictor does over one horizon.

    Args:
        model: the predictor's name.
        horizon_s: [s].
        ade_m: mean position error over the horizon's steps [m]; infinite where a prediction was not finite.
        fde_m: mean position error at the horizon's end [m]; likewise.
        starts: number of predictions.
        diverged: number of predictions that were not finite.
        ade_interval_m: 95 % confidence interval of ``ade_m``, by a bootstrap over blocks of starts.
        fde_interval_m: of ``fde_m``.
        rmse: root mean square error at the horizon's end by state entry, in its unit; angles wrapped, entries
            left out that are not recorded or not predicted.
    """

    model: str
    horizon_s: float
    ade_m: float
    fde_m: float
    starts: int
    diverged: int
    ade_interval_m: tuple[float, float]
    fde_interval_m: tuple[float, float]
    rmse: dict[str, float]


def cut_windows(
    drive: Drive,
    held_out: Sequence[Interval] = EVERYWHERE,
    *,
    horizons_s: Sequence[float] = HORIZONS_S,
    start_every_s: float = START_EVERY_S,
    min_speed: float = 0.0,
    past_s: float = 0.0,
) -> Windows:
    """Starts every ``start_every_s`` from the beginning of each held-out part, where vx > ``min_speed``.

    A start has at least the shortest horizon ahead of it inside its part and without a gap; longer ones are
    scored where they fit. History may lie before the part (it is input, not target) but not across a gap. Where that
    were more than 10,000 starts they are further apart, see `Windows.every_s`.

    Raises:
        DataError: there is no such start.
    """
    steps = [_steps(horizon_s, drive.dt) for horizon_s in horizons_s]
    shortest, longest = min(steps), max(steps)
    past = math.ceil(past_s / drive.dt - 1e-9)
    rows_held_out = sum(len(segment.between(*part)) for segment in drive.segments for part in held_out)
    every = max(1, round(start_every_s / drive.dt), math.ceil(rows_held_out / _MOST_STARTS))
    trusted = compare_with_pose([drive], default_min_speed(drive)).trusted
    states, commands, measured, times = [], [], [], []
    fastest = -math.inf
    for segment in drive.segments:
        recorded = measured_entries(segment) & trusted
        for start_s, end_s in held_out:
            first, end = (int(row) for row in np.searchsorted(segment.time_s, (start_s, end_s)))
            if first == end:
                continue
            fastest = max(fastest, float(np.nanmax(segment.state[first:end, VX], initial=-math.inf)))
            rows = np.arange(first, end - shortest, every)
            rows = rows[(rows >= past) & (segment.state[rows, VX] > min_speed)]
            around = rows[:, None] + np.arange(-past, longest + 1)
            state = segment.state[np.minimum(around, end - 1)].copy()
            state[around >= end] = np.nan
            states.append(state)
            commands.append(segment.action[np.minimum(around[:, :-1], end - 1)])
            measured.append(np.tile(recorded, (len(rows), 1)))
            times.append(segment.time_s[rows])
            segment.let_go()
    if not sum(map(len, times)):
        doubts = "".join(f"; {note}" for note in drive.notes if "contradicts" in note)
        raise DataError(
            f"{drive.source}: no start with vx > {min_speed:g} m/s and {shortest * drive.dt:g} s of driving after it "
            f"in the part to score (fastest there: {fastest:.2f} m/s); lower --min-speed or the horizon{doubts}"
        )
    return Windows(
        torch.from_numpy(np.concatenate(states)),
        torch.from_numpy(np.concatenate(commands)),
        torch.from_numpy(np.concatenate(measured)),
        np.concatenate(times),
        past,
        drive.dt,
        every * drive.dt,
        drive.segments[0].action_layout,
        drive.reference_point,
        drive.source,
    )


def position_errors(predicted: torch.Tensor, windows: Windows) -> np.ndarray:
    """[N, K + 1] distance [m] between predicted and driven position.

    Infinite from the first step on where a prediction is not finite; NaN beyond the end of the driving.
    """
    driven = windows.driven[:, : predicted.shape[1], [X, Y]]
    error = torch.linalg.vector_norm(predicted[..., [X, Y]] - driven, dim=-1)
    lost = torch.cummax((~torch.isfinite(predicted[..., [X, Y]]).all(-1)).to(torch.int8), dim=1).values.bool()
    error = torch.where(lost, math.inf, error)
    return torch.where(torch.isnan(driven).any(-1), math.nan, error).numpy()


def scores(
    name: str,
    predicted: torch.Tensor,
    windows: Windows,
    horizons_s: Sequence[float] = HORIZONS_S,
    *,
    seed: int = 0,
) -> list[Score]:
    """Scores of one predictor's ``predicted`` states [N, H + 1, 8] by horizon; the seed is the bootstrap's."""
    rmse = state_errors(predicted, windows)
    result = []
    for horizon_s in horizons_s:
        average, final = errors_over(horizon_s, predicted, windows)
        whole = ~np.isnan(final)
        if not whole.any():
            raise DataError(f"{windows.source}: no start has {horizon_s:g} s of driving after it; shorten the horizon")
        block = block_of(horizon_s, windows.every_s)
        at_end = rmse[_steps(horizon_s, windows.dt)]
        result.append(
            Score(
                name,
                horizon_s,
                float(average[whole].mean()),
                float(final[whole].mean()),
                int(whole.sum()),
                int(np.isinf(final).sum()),
                mean_interval(average, block, seed, whole),
                mean_interval(final, block, seed, whole),
                {n: float(value) for n, value in zip(STATE.names, at_end, strict=True) if not np.isnan(value)},
            )
        )
    return result


def errors_over(horizon_s: float, predicted: torch.Tensor, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """[N] mean position error over the horizon and [N] that at its end [m]; NaN where the driving ends before."""
    end = _steps(horizon_s, windows.dt)
    errors = position_errors(predicted[:, : end + 1], windows)
    return np.where(np.isnan(errors[:, end]), math.nan, errors[:, 1:].mean(axis=1)), errors[:, end]


def state_errors(predicted: torch.Tensor, windows: Windows) -> np.ndarray:
    """[H + 1, 8] root mean square error of each entry after each step, over the starts that have it ahead of them.

    Angles are wrapped; infinite where a prediction was not finite, NaN where nothing is recorded or predicted.
    """
    difference = (predicted - windows.driven).clone()
    difference[..., YAW] = wrap_angle(difference[..., YAW])
    said = torch.isfinite(predicted).any(dim=0).any(dim=0)
    recorded = torch.isfinite(windows.driven)
    squares = torch.where(torch.isfinite(difference), difference**2, math.inf)
    squares = torch.where(recorded & said, squares, math.nan)
    return torch.nanmean(squares, dim=0).sqrt().numpy()


def default_min_speed(drive: Drive) -> float:
    """3 m/s, or for a small car a fifth of the speed that it exceeds one twentieth of the time, at least 0.1 [m/s].

    Raises:
        DataError: the recording holds no speed.
    """
    vx = np.concatenate([segment.state[:, VX] for part in thinned([drive]) for segment in part.segments])
    if np.isnan(vx).any():
        raise DataError(f"{drive.source}: records no speed; name a topic that has it with --topic velocity=...")
    return float(np.clip(0.2 * np.percentile(vx, 95), 0.1, 3.0))


def _steps(horizon_s: float, dt: float) -> int:
    return max(1, round(horizon_s / dt))
