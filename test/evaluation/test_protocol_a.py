"""The published baseline figures of real logs, reproduced.

Last fifth of the time, starts every 0.2 s where vx > 3 m/s, explicit Euler at the recording's own rate. The
published figures have three digits; they come out of the recording resampled to its nominal rate, with the
lateral velocity taken into account.
"""

import pytest

from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import compare

PUBLISHED = {  # (ADE, FDE) of CTRV, then of the floor, at 1 s and 2 s
    "genesis_fast_lap": {1.0: ((0.134, 0.391), (0.011, 0.021)), 2.0: ((0.542, 1.635), (0.029, 0.083))},
    "genesis_medium_laps": {1.0: ((0.091, 0.266), (0.012, 0.020)), 2.0: ((0.353, 1.081), (0.023, 0.059))},
    "indy_putnam": {1.0: ((0.253, 0.637), (0.138, 0.257)), 2.0: ((0.875, 2.510), (0.298, 0.655))},
}
STARTS = {"genesis_fast_lap": (230, 230), "genesis_medium_laps": (300, 295), "indy_putnam": (471, 466)}


@pytest.mark.parametrize("bag", PUBLISHED)
def test_published_baselines_come_out(shared_data, bag):
    drive = read_drive(shared_data / "bags" / bag)
    (comparison,) = compare({}, [drive], split="time:0.8", horizons_s=(1.0, 2.0), min_speed=3.0)
    found = {(s.model, s.horizon_s): s for s in comparison.scores}
    for horizon_s, (ctrv, floor) in PUBLISHED[bag].items():
        for name, published in (("ctrv", ctrv), ("floor", floor)):
            score = found[name, horizon_s]
            assert (score.ade_m, score.fde_m) == pytest.approx(published, abs=0.0012)
    assert tuple(found["ctrv", h].starts for h in (1.0, 2.0)) == STARTS[bag]
