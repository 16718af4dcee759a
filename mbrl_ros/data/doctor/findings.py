"""What the doctor found: one statement with its evidence, what it would do to a model, and the fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mbrl_ros.data.doctor.repairs import Repair

Severity = Literal["info", "warning", "error"]
"""``info``: good to know. ``warning``: a model fitted to this suffers. ``error``: a model fitted to this is wrong."""

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One thing that is true of a recording.

    Args:
        check: name of what was found, the same in every recording: ``steering_sign``.
        severity: how bad it is.
        topic: where, empty for the recording as a whole.
        evidence: a sentence with the number in it.
        consequence: what it would do to a model.
        fix: what to do about it.
        value: the number, in ``unit``.
        unit: of the value and of its standard deviation.
        std: standard deviation of the value, None where it is counted rather than estimated.
        repair: what ``--repair`` does about it, None for nothing.
    """

    check: str
    severity: Severity
    topic: str
    evidence: str
    consequence: str
    fix: str
    value: float
    unit: str = "1"
    std: float | None = None
    repair: Repair | None = None

    @property
    def repairable(self) -> bool:
        """Whether ``--repair`` does something about it."""
        return self.repair is not None

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        fields = ("check", "severity", "topic", "evidence", "value", "unit", "std", "consequence", "fix", "repairable")
        return {name: getattr(self, name) for name in fields}


def worst(findings: list[Finding]) -> Severity | None:
    """The highest severity among ``findings``, None where there is none."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=None)
