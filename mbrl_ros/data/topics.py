"""Which topic feeds which quantity: chosen by type and content, or told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from pydantic import Field

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.data.signals import Signals

NONE = "none"
"""Given for a topic: take this quantity from no topic at all."""

_ALIASES = {
    "odom": ("pose", "velocity", "yaw_rate"),
    "imu": ("yaw_rate",),
    "feedback": ("steering", "acceleration"),
    "drive": ("command",),
    "state": ("pose", "velocity", "yaw_rate", "steering", "acceleration"),
}

QUANTITIES = {
    "pose": ("x", "y", "yaw"),
    "velocity": ("vx", "vy"),
    "yaw_rate": ("yaw_rate",),
    "steering": ("steering_angle",),
    "acceleration": ("acceleration",),
    "command": ("steering_angle", "speed", "acceleration"),
}
"""What a drive is made of, and the columns that a topic must have to give it."""

_MEASURED_NAMES = ("feedback", "measured", "actual", "report", "status")
_COMMAND_NAMES = ("/ackermann_cmd", "/drive", "/command/drive", "/cmd", "/ackermann_drive")


class TopicMapping(Settings):
    """Topics by quantity; a quantity left out is chosen by type and content, ``none`` takes it from nowhere."""

    pose: str | None = Field(default=None, description="x, y, yaw: Odometry, PoseStamped, PoseWithCovarianceStamped")
    velocity: str | None = Field(
        default=None, description="body velocity: Odometry (twist in its child frame), TwistStamped"
    )
    yaw_rate: str | None = Field(default=None, description="Imu (gyroscope), Odometry, TwistStamped")
    steering: str | None = Field(default=None, description="measured road wheel angle: AckermannDriveStamped")
    acceleration: str | None = Field(
        default=None, description="measured longitudinal acceleration: AckermannDriveStamped, Imu"
    )
    command: str | None = Field(default=None, description="what was commanded: AckermannDriveStamped")

    @classmethod
    def parse(cls, pairs: Iterable[str]) -> TopicMapping:
        """From ``quantity=/topic`` pairs; ``odom=``, ``imu=``, ``feedback=``, ``drive=``, ``state=`` set several.

        Raises:
            ConfigError: a pair has another form, or names no quantity.
        """
        chosen: dict[str, str] = {}
        for pair in pairs:
            name, _, topic = pair.partition("=")
            quantities = _ALIASES.get(name, (name,))
            if not topic or not set(quantities) <= set(cls.model_fields):
                known = ", ".join([*cls.model_fields, *_ALIASES])
                raise ConfigError(f"--topic {pair}: expected quantity=/topic with a quantity of {known}")
            chosen |= dict.fromkeys(quantities, topic)
        return cls(**chosen)


def choose(signals: Mapping[str, Signals], mapping: TopicMapping, source: str) -> tuple[dict[str, Signals], list[str]]:
    """The topic to read each quantity from, where there is one, and notes on what was passed over.

    By type and content, in this order: everything from a VehicleState where there is one; the pose from
    Odometry in a ``map`` frame (localised, so without drift) before other Odometry before bare poses; the
    velocity from Odometry in another frame (wheels) before Odometry in ``map``; the yaw rate from a gyroscope
    whose gravity lies on +z before Odometry, because wheel odometry may compute it from the steering command;
    steering and acceleration from an AckermannDriveStamped whose name says that it is measured, commands from
    one whose name does not. A field that stays at zero does not count, nor one named ``ground_truth``.

    Raises:
        DataError: a topic that was asked for is absent or lacks the quantity, there is no pose, or several
            topics could be the command.
    """
    chosen, notes = feeds(signals, mapping, source)
    if "pose" not in chosen:
        raise DataError(
            f"{source}: no topic gives a pose (Odometry, PoseStamped, VehicleState); there are: {_listed(signals)}"
        )
    return chosen, notes


def feeds(signals: Mapping[str, Signals], mapping: TopicMapping, source: str) -> tuple[dict[str, Signals], list[str]]:
    """The same as `choose` for a recording that need not have a pose.

    Raises:
        DataError: a topic that was asked for is absent or lacks the quantity, or several topics could be the command.
    """
    notes: list[str] = []
    chosen: dict[str, Signals] = {}
    for quantity in QUANTITIES:
        asked = getattr(mapping, quantity)
        if asked == NONE:
            continue
        if asked is not None:
            found: Signals | None = _asked_for(signals, quantity, asked, source)
        else:
            found = _found(signals, quantity, source, notes)
        if found is not None:
            chosen[quantity] = found
    return chosen, notes


def _asked_for(signals: Mapping[str, Signals], quantity: str, topic: str, source: str) -> Signals:
    if topic not in signals:
        raise DataError(f"{source}: no readable topic '{topic}' for {quantity}; there are: {_listed(signals)}")
    if not signals[topic].has(*QUANTITIES[quantity]):
        raise DataError(f"{source}: topic '{topic}' ({signals[topic].msgtype}) gives no {quantity}")
    return signals[topic]


def _found(signals: Mapping[str, Signals], quantity: str, source: str, notes: list[str]) -> Signals | None:
    columns = QUANTITIES[quantity]
    able = [s for s in signals.values() if s.has(*columns) and "ground_truth" not in s.topic]
    if quantity == "command":
        return _command([s for s in able if not _measured(s)], source)
    own = [s for s in able if s.msgtype == "mbrl_ros/msg/VehicleState"]
    if own:
        return own[0]
    if quantity in ("steering", "acceleration"):
        return next((s for s in able if _measured(s)), None)
    if quantity == "yaw_rate":
        gyros = [s for s in able if s.msgtype == "sensor_msgs/msg/Imu"]
        upright = [s for s in gyros if s.filled("yaw_rate") and _gravity_on_z(s)]
        notes += [
            f"{s.topic} is not used for the yaw rate: it does not read gravity on +z"
            for s in gyros
            if not _gravity_on_z(s)
        ]
        others = sorted((s for s in able if s not in gyros and s.filled("yaw_rate")), key=_in_map)
        return next(iter([*upright, *others]), None)
    if quantity == "velocity":
        moving = sorted((s for s in able if s.filled("vx", "vy")), key=_in_map)
        return next(iter(moving), None) or next(iter(able), None)
    ranked = sorted(able, key=lambda s: (s.msgtype != "nav_msgs/msg/Odometry", not _in_map(s), "Cov" not in s.msgtype))
    return next((s for s in ranked if s.filled("x", "y")), None) or next(iter(ranked), None)


def _command(able: list[Signals], source: str) -> Signals | None:
    if len(able) <= 1:
        return able[0] if able else None
    for name in _COMMAND_NAMES:
        named = [s for s in able if s.topic == name]
        if named:
            return named[0]
    topics = ", ".join(s.topic for s in able)
    raise DataError(f"{source}: any of {topics} could be the command; say which with --topic command=...")


def _measured(signals: Signals) -> bool:
    own = signals.msgtype == "mbrl_ros/msg/VehicleState"
    return own or any(name in signals.topic.lower() for name in _MEASURED_NAMES)


def _in_map(signals: Signals) -> bool:
    return signals.frame_id.strip("/") == "map"


def _gravity_on_z(signals: Signals) -> bool:
    """Whether the median specific force is about +9.8 m/s^2 on z and little elsewhere (REP-145 at rest)."""
    axes = ("gravity_x", "gravity_y", "gravity_z")
    if not signals.has(*axes):
        return False
    some = signals.sample().columns
    signals.let_go()
    x, y, z = (float(np.nanmedian(some[name])) for name in axes)
    return z > 7.0 and abs(x) < 5.0 and abs(y) < 5.0


def _listed(signals: Mapping[str, Signals]) -> str:
    return ", ".join(f"{s.topic} ({s.msgtype})" for s in signals.values()) or "none of a type that can be read"
