"""A clean recording is healthy; each fault planted into it gives exactly its finding."""

from __future__ import annotations

import math

import pytest
from planted_faults import FAULTS, Fault
from simulated_drive import serious

from mbrl_ros.data.doctor import examine


def test_clean_recording_is_healthy(clean):
    diagnosis = examine(clean)
    assert serious(diagnosis) == set()
    assert diagnosis.worst == "info"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_planted_fault_is_found_and_nothing_else(fault: Fault, planted):
    path = planted(fault, *fault.topics)
    diagnosis = examine(path, **fault.how)
    assert serious(diagnosis) == {(fault.finding, topic) for topic in fault.where}
    for finding in diagnosis.findings:
        assert math.isfinite(finding.value)
        assert finding.evidence and finding.consequence and finding.fix
        assert any(character.isdigit() for character in finding.evidence)
        if finding.check == fault.finding:
            assert finding.repairable == fault.mends
