"""What counts as the action of a recording: what was commanded, or what the actuators report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS, DriveCommand, Layout
from mbrl_ros.data import resampling
from mbrl_ros.data.signals import Signals


@dataclass(frozen=True)
class Controls:
    """Where the entries of the action come from.

    Args:
        entries: name of the topic, and column, of each entry.
        layout: names and units of the entries.
        commanded: commands, held until the next; otherwise measurements, interpolated.
        note: the same in a sentence.
    """

    entries: tuple[tuple[str, str], ...]
    layout: Layout
    commanded: bool
    note: str

    def sample(
        self,
        topics: Mapping[str, Signals],
        clock: Mapping[str, np.ndarray],
        grid_s: np.ndarray,
        mean_over_s: float | None,
    ) -> np.ndarray:
        """[G, A] actions at the grid times.

        Args:
            topics: what was said about then.
            clock: each topic's message times on the grid's clock.
            grid_s: [G].
            mean_over_s: commands are averaged over this time from each grid time on; None for the command there.
        """

        def bring(time_s: np.ndarray, values: np.ndarray) -> np.ndarray:
            if not self.commanded:
                return resampling.interpolate(time_s, values, grid_s)
            if mean_over_s is None:
                return resampling.hold(time_s, values, grid_s)
            return resampling.held_mean(time_s, values, grid_s, mean_over_s)

        return np.concatenate(
            [bring(clock[topic], topics[topic].columns[name][:, None]) for topic, name in self.entries], axis=1
        )


def choose_controls(sources: Mapping[str, Signals], drive: DriveCommand | None, source: str) -> Controls | None:
    """Commands where the recording has them, otherwise what the actuators report, otherwise None.

    Args:
        sources: topics by quantity.
        drive: what the longitudinal entry is; None for the commanded acceleration where that is ever set,
            otherwise the commanded speed, and for the acceleration where it is measured.
        source: the recording, for errors.

    Raises:
        DataError: no topic has what ``drive`` asks for.
    """
    command, steering = sources.get("command"), sources.get("steering")
    if command is not None:
        wanted = drive or ("acceleration" if command.filled("acceleration") else "speed")
        if not command.has(wanted):
            raise DataError(f"{source}: topic '{command.topic}' ({command.msgtype}) commands no {wanted}")
        return Controls(
            ((command.topic, "steering_angle"), (command.topic, wanted)),
            ACTIONS[wanted],
            True,
            f"actions: steering angle and {wanted} commanded on {command.topic}",
        )
    wanted = drive or "acceleration"
    longitudinal = sources.get("acceleration") if wanted == "acceleration" else steering
    if steering is None or longitudinal is None:
        return None
    if not longitudinal.has(wanted):
        raise DataError(f"{source}: topic '{longitudinal.topic}' ({longitudinal.msgtype}) measures no {wanted}")
    return Controls(
        ((steering.topic, "steering_angle"), (longitudinal.topic, wanted)),
        ACTIONS[wanted],
        False,
        f"actions: no commands recorded; steering angle measured by {steering.topic} and {wanted} by "
        f"{longitudinal.topic} stand in",
    )
