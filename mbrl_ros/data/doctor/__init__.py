"""The bag doctor: what is wrong with a recording before anyone trains on it."""

from mbrl_ros.data.doctor.examine import Diagnosis, examine
from mbrl_ros.data.doctor.findings import SEVERITIES, Finding, Severity

__all__ = ["SEVERITIES", "Diagnosis", "Finding", "Severity", "examine"]
