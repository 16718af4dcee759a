"""The bag doctor: what is wrong with a recording before anyone trains on it."""

from mbrl_ros.data.doctor.coverage import Coverage
from mbrl_ros.data.doctor.evidence import Evidence
from mbrl_ros.data.doctor.examine import Diagnosis, examine
from mbrl_ros.data.doctor.findings import SEVERITIES, Finding, Severity
from mbrl_ros.data.doctor.repair import repairs_of, write_repaired

__all__ = [
    "SEVERITIES",
    "Coverage",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Severity",
    "examine",
    "repairs_of",
    "write_repaired",
]
