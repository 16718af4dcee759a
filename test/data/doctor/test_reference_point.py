"""Which point the poses describe, beside what the recording and the user say about it."""

import pytest
from planted_faults import FAULTS
from simulated_drive import copy_with, serious

from mbrl_ros.data.doctor import examine

REAR_AXLE = {("reference_point", "/odom")}


@pytest.fixture(scope="module")
def rear(clean, tmp_path_factory):
    fault = next(f for f in FAULTS if f.name == "rear_axle")
    return copy_with(clean, tmp_path_factory.mktemp("rear") / "bag", fault, fault.topics)


def finding(path, **how):
    return next(f for f in examine(path, **how).findings if f.check == "reference_point")


def test_the_lever_is_the_true_one_within_its_uncertainty(clean, rear):
    for path, true in ((clean, 1.4227), (rear, 0.0)):
        found = finding(path)
        assert found.std is not None
        assert abs(found.value - true) < 3 * found.std
        assert found.std < 0.2


def test_who_says_that_it_is_the_rear_axle_is_not_warned(rear):
    assert serious(examine(rear)) == REAR_AXLE
    assert serious(examine(rear, reference_point="rear_axle")) == set()


def test_who_says_otherwise_is_contradicted(rear, clean):
    assert "yet --reference-point says cg" in finding(rear, reference_point="cg").evidence
    assert serious(examine(clean, reference_point="rear_axle")) == REAR_AXLE
    assert serious(examine(clean, reference_point="cg")) == set()
