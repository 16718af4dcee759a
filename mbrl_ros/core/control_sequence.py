"""A plan: a sequence of actions from a stamp on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import YAW, Layout


@dataclass(frozen=True)
class ControlSequence:
    """Piecewise-constant actions; action k holds over ``[stamp_s + k dt, stamp_s + (k + 1) dt)``.

    Every planner and policy answers with one of these, whatever it is inside.

    Args:
        stamp_s: instant at which the first action begins [s].
        dt: duration of each action [s].
        actions: [H, A] float64.
        layout: names and units of the A entries.
        states: [H + 1, S] predicted states (core.layout.STATE), or None where the planner predicts none.
        model_id: id of the model planned with, empty for none.
        diagnostics: figures of this plan (costs by term, effective sample size, ...), by name.
        gains: [H, A, S] how an action shall change per deviation of the state from the predicted one at the action's
            own instant, or None where the planner knows no feedback.

    Raises:
        LayoutError: a shape does not fit, or an action is not finite.
    """

    stamp_s: float
    dt: float
    actions: np.ndarray
    layout: Layout
    states: np.ndarray | None = None
    model_id: str = ""
    diagnostics: dict[str, float] = field(default_factory=dict)
    gains: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[1] != len(self.layout) or not len(self.actions):
            raise LayoutError(f"actions have shape {self.actions.shape}, expected [H >= 1, {len(self.layout)}]")
        if not np.isfinite(self.actions).all():
            raise LayoutError("a control sequence holds a non-finite action")
        if self.states is not None and len(self.states) != len(self.actions) + 1:
            raise LayoutError(f"{len(self.states)} states for {len(self.actions)} actions, expected one more")
        if self.gains is None:
            return
        if self.states is None or self.gains.shape != (*self.actions.shape, self.states.shape[1]):
            raise LayoutError(f"gains of shape {self.gains.shape} fit neither actions nor predicted states")
        if not np.isfinite(self.gains).all():
            raise LayoutError("a control sequence holds a gain that is not finite")

    @property
    def end_s(self) -> float:
        """Instant at which the last action ends [s]."""
        return self.stamp_s + self.dt * len(self.actions)

    def at(self, stamp_s: float | np.ndarray) -> np.ndarray:
        """[..., A] action at ``stamp_s`` [...], interpolated linearly between the middles of the intervals.

        Middles, because a held action is right on average there; the first and last actions are held outside.
        """
        middles = self.stamp_s + self.dt * (np.arange(len(self.actions)) + 0.5)
        return np.stack([np.interp(stamp_s, middles, column) for column in self.actions.T], axis=-1)

    def correction(self, stamp_s: float, state: np.ndarray) -> np.ndarray:
        """[A] what the gains add to actions for a car that was in ``state`` [S] at ``stamp_s``; zero without gains.

        Headings that differ by whole turns are the same. Limits of actions are the caller's affair.
        """
        if self.gains is None or self.states is None:
            return np.zeros(len(self.layout))
        last = len(self.actions) - 1
        place = min(max((stamp_s - self.stamp_s) / self.dt, 0.0), float(last))
        before = int(place)
        share = place - before
        deviation = state - (1 - share) * self.states[before] - share * self.states[before + 1]
        deviation[YAW] = wrap_angle(deviation[YAW])
        gains = (1 - share) * self.gains[before] + share * self.gains[min(before + 1, last)]
        return np.asarray(gains @ deviation)

    def shifted(self, stamp_s: float) -> ControlSequence:
        """The same plan read from ``stamp_s`` on, by the elapsed time, its last action held to fill the horizon."""
        middles = stamp_s + self.dt * (np.arange(len(self.actions)) + 0.5)
        return ControlSequence(stamp_s, self.dt, self.at(middles), self.layout, model_id=self.model_id)
