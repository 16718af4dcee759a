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
from mbrl_ros.evaluation.open_loop import scores
from mbrl_ros.evaluation.report import write_report
from mbrl_ros.evaluation.report_pictures import draw_errors, draw_map, draw_moments, lead, worst_moments
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
    return write_report({BAG: comparison}, tmp_path_factory.mktemp("reports") / "report")


def test_report_stands_alone_and_shows_every_predictor(report):
    page = report.read_text()
    for name in ("bicycle", "persistence", "ctrv", "linear", "floor"):
        assert f"<td>{name}</td>" in page
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 3
    for picture, kind in zip(pictures, ("errors", "map", "moments"), strict=True):
        content = base64.b64decode(picture)
        assert content == (report.parent / f"_b_weaving_b_-{kind}.png").read_bytes()
        pixels = matplotlib.image.imread(io.BytesIO(content))
        assert min(pixels.shape[:2]) > 400
        assert np.ptp(pixels) > 0.5


def test_report_holds_the_figures_and_escapes_names(report, comparison):
    page = report.read_text()
    for score in comparison.scores:
        assert f"{score.ade_m:.3f} / {score.fde_m:.3f}" in page
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


def test_a_model_that_always_diverges_is_drawn_too(comparison):
    predicted = dict(comparison.predicted)
    predicted["bicycle"] = comparison.windows.driven.clone()
    predicted["bicycle"][:, 5:, [X, Y]] = torch.nan
    windows = comparison.windows
    lost = scores("bicycle", predicted["bicycle"], windows, (0.5, 1.0))
    others = tuple(score for score in comparison.scores if score.model != "bicycle")
    spoilt = replace(comparison, predicted=predicted, scores=(*lost, *others))
    for draw in (draw_errors, draw_map, draw_moments):
        draw(spoilt).draw_without_rendering()
