"""The report is one file that stands alone, with pictures of the right moments."""

import base64
import io
import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from mbrl_ros.core.layout import X, Y
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.evaluation.coverage import Coverage
from mbrl_ros.evaluation.moment_pictures import draw_moments
from mbrl_ros.evaluation.open_loop import position_errors, scores
from mbrl_ros.evaluation.regime_pictures import draw_calibration, draw_regimes
from mbrl_ros.evaluation.regimes import regime_scores
from mbrl_ros.evaluation.report import write_report
from mbrl_ros.evaluation.report_pictures import draw_errors, draw_map, draw_states, lead, worst_moments
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import load, save

BAG = "<b>weaving</b>"  # must not be taken for markup, nor for a folder


@pytest.fixture(scope="module")
def comparison(weaving, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bicycle"
    save(build("kinematic_bicycle", {"wheelbase": 3.0}, dt=0.02), folder)
    return compare({"bicycle": load(folder)}, [weaving], split="time:0.4", horizons_s=(0.5, 1.0))[0]


@pytest.fixture(scope="module")
def report(comparison, tmp_path_factory):
    return write_report({BAG: comparison}, {"bicycle": 0.0123}, tmp_path_factory.mktemp("reports") / "report")


def test_report_stands_alone_and_shows_every_predictor(report):
    page = report.read_text()
    for name in ("bicycle", "persistence", "ctrv", "linear", "floor"):
        assert f"<td>{name}</td>" in page
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    kinds = ("errors", "map", "moments", "regimes", "states")
    assert len(pictures) == len(kinds)
    for picture, kind in zip(pictures, kinds, strict=True):
        content = base64.b64decode(picture)
        assert content == (report.parent / f"_b_weaving_b_-{kind}.png").read_bytes()
        pixels = matplotlib.image.imread(io.BytesIO(content))
        assert min(pixels.shape[:2]) > 400
        assert np.ptp(pixels) > 0.5


def test_report_holds_the_figures_and_escapes_names(report, comparison):
    page = report.read_text()
    for score in comparison.scores:
        assert f"{score.ade_m:.3f} / {score.fde_m:.3f}" in page
    assert "<td>bicycle</td><td>12.3 ms</td>" in page
    assert comparison.drive.source_hash[:16] in page
    assert BAG not in page
    assert "&lt;b&gt;weaving" in page


def test_pictures_are_about_the_model_or_else_a_baseline(comparison, weaving):
    assert lead(comparison) == "bicycle"
    assert lead(compare({}, [weaving])[0]) == "linear"


def test_worst_moments_are_the_worst_and_apart(comparison):
    predicted = comparison.windows.driven.clone()
    for row, metres in ((10, 5.0), (11, 6.0), (40, 4.0), (25, 3.0)):
        predicted[row, -1, X] += metres
    moments = worst_moments(replace(comparison, predicted={"bicycle": predicted}), count=3)
    assert [(m.row, m.error_m) for m in moments] == [(11, 6.0), (40, 4.0), (25, 3.0)]


def test_the_worst_five_of_real_predictions_are_the_worst(comparison):
    errors = position_errors(comparison.predicted["bicycle"], comparison.windows)[:, -1]
    moments = worst_moments(comparison)
    assert len(moments) == 5
    assert moments[0].error_m == np.nanmax(errors)
    assert [m.error_m for m in moments] == sorted((m.error_m for m in moments), reverse=True)
    # Whatever is worse than the fifth lies within a horizon of one that is shown.
    times = comparison.windows.time_s
    shown = times[[m.row for m in moments]]
    for row in np.flatnonzero(errors > moments[-1].error_m):
        assert np.abs(shown - times[row]).min() <= 1.0


def test_calibration_curve_shows_what_intervals_hold(comparison):
    held = Coverage("bicycle", 1.0, "all", 40, {0.5: 0.4, 0.9: 0.7}, 0.1)
    (axes,) = draw_calibration(replace(comparison, coverage=(held,))).axes
    assert [tuple(point) for point in axes.lines[0].get_xydata()] == [(0, 0), (0.5, 0.4), (0.9, 0.7), (1, 1)]


def test_a_model_that_always_diverges_is_drawn_too(comparison):
    predicted = dict(comparison.predicted)
    predicted["bicycle"] = comparison.windows.driven.clone()
    predicted["bicycle"][:, 5:, [X, Y]] = torch.nan
    windows = comparison.windows
    lost = scores("bicycle", predicted["bicycle"], windows, (0.5, 1.0))
    others = tuple(score for score in comparison.scores if score.model != "bicycle")
    by_regime = regime_scores("bicycle", predicted["bicycle"], windows, comparison.regimes, (0.5, 1.0))
    spoilt = replace(comparison, predicted=predicted, scores=(*lost, *others), regime_scores=tuple(by_regime))
    for draw in (draw_errors, draw_map, draw_moments, draw_regimes, draw_states):
        draw(spoilt).draw_without_rendering()
