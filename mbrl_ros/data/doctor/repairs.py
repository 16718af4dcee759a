"""What can be put right in a recording, each as a value that says what it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Drop:
    """Leave messages of one topic out.

    Args:
        topic: whose.
        rows: [K] their places among the topic's messages, from 0.
        why: what is wrong with them.
    """

    topic: str
    rows: np.ndarray
    why: str

    def __str__(self) -> str:
        return f"{self.topic}: {len(self.rows)} messages left out, {self.why}"


@dataclass(frozen=True)
class StampByReceipt:
    """Give the messages of one topic the times at which they were received."""

    topic: str

    def __str__(self) -> str:
        return f"{self.topic}: stamped with the time of receipt"


@dataclass(frozen=True)
class Shift:
    """Add ``by_ns`` to every stamp of one topic."""

    topic: str
    by_ns: int

    def __str__(self) -> str:
        return f"{self.topic}: every stamp moved by {self.by_ns * 1e-9:+.3f} s"


@dataclass(frozen=True)
class Scale:
    """Multiply fields of every message of one topic.

    Args:
        topic: whose.
        factors: by dotted path in the message, say ``drive.steering_angle``.
        why: what was wrong with them.
    """

    topic: str
    factors: tuple[tuple[str, float], ...]
    why: str

    def __str__(self) -> str:
        fields = ", ".join(f"{path} times {factor:.6g}" for path, factor in self.factors)
        return f"{self.topic}: {fields}, {self.why}"


@dataclass(frozen=True)
class Add:
    """Add a constant to one field, by its dotted path, of every message of one topic."""

    topic: str
    path: str
    amount: float
    why: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.path} {self.amount:+.6g}, {self.why}"


@dataclass(frozen=True, eq=False)
class TurnTwist:
    """Turn the linear velocity of every message of one topic from another frame into the car's.

    Args:
        topic: whose.
        angle_rad: [N] by which it is turned to the left, one for each message.
        mirrored: whether its y axis points to the other side, which is put right before turning.
        frame: the frame it was in, in words.
    """

    topic: str
    angle_rad: np.ndarray
    mirrored: bool
    frame: str

    def __str__(self) -> str:
        return f"{self.topic}: linear velocity turned from {self.frame} into the car's"


Repair = Drop | StampByReceipt | Shift | Scale | Add | TurnTwist
