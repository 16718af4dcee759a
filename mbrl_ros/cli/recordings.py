"""Options of every command that reads recordings, or makes models of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.layout import DriveCommand, ReferencePoint
from mbrl_ros.data import TopicMapping

Topic = Annotated[
    list[str] | None,
    typer.Option("--topic", help="quantity=/topic, say odom=/pf/odom or command=/teleop; may be repeated"),
]
Topics = Annotated[Path | None, typer.Option("--topics", help="YAML file with the same")]
Rate = Annotated[
    float | None, typer.Option("--rate", min=0.1, help="rows per second; by default the recording's own rate")
]
OnBad = Annotated[
    str, typer.Option("--on-bad", help="what to do with messages that cannot be true: error, or drop and count them")
]
ObeyedDrive = Annotated[
    DriveCommand | None,
    typer.Option("--drive", help="which field of the command the car obeys", show_default="what is set"),
]
DescribedPoint = Annotated[
    ReferencePoint | None,
    typer.Option("--reference-point", help="what pose and velocity describe", show_default="as recorded, else cg"),
]

Force = Annotated[bool, typer.Option("--force", help="replace a model that is in --out already")]


def reading(topic: list[str] | None, topics: Path | None, rate: float | None, on_bad: str) -> dict[str, Any]:
    """What these options mean to `data.read_drive`; single topics win over the file's.

    Raises:
        ConfigError: a topic has no quantity, or the file is wrong.
    """
    if on_bad not in ("error", "drop"):
        raise typer.BadParameter(f"--on-bad {on_bad}: expected error or drop")
    mapping = read_settings(topics, TopicMapping) if topics else TopicMapping()
    mapping = mapping.model_copy(update=TopicMapping.parse(topic or []).model_dump(exclude_unset=True))
    return {"mapping": mapping, "rate_hz": rate, "on_bad": on_bad}
