"""A plan: a sequence of actions from a stamp on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import Layout


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

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[1] != len(self.layout) or not len(self.actions):
            raise LayoutError(f"actions have shape {self.actions.shape}, expected [H >= 1, {len(self.layout)}]")
        if not np.isfinite(self.actions).all():
            raise LayoutError("a control sequence holds a non-finite action")
        if self.states is not None and len(self.states) != len(self.actions) + 1:
            raise LayoutError(f"{len(self.states)} states for {len(self.actions)} actions, expected one more")

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

    def shifted(self, stamp_s: float) -> ControlSequence:
        """The same plan read from ``stamp_s`` on, by the elapsed time, its last action held to fill the horizon."""
        middles = stamp_s + self.dt * (np.arange(len(self.actions)) + 0.5)
        return ControlSequence(stamp_s, self.dt, self.at(middles), self.layout, model_id=self.model_id)
