"""The report of a diagnosed recording: findings, topics and pictures in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from mbrl_ros.core.files import write_whole
from mbrl_ros.data.doctor import SEVERITIES, Diagnosis
from mbrl_ros.evaluation import doctor_pictures as pictures
from mbrl_ros.evaluation.picture_style import save_png


def write_doctor_report(diagnosis: Diagnosis, folder: str | Path, changes: Sequence[str] = ()) -> Path:
    """Write ``folder/report.html`` and its pictures as PNG files; the path of the former.

    Args:
        diagnosis: what was found.
        folder: made if need be; what is there is replaced.
        changes: what a repaired copy has that this recording has not.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = {name: save_png(figure, folder / f"{name}.png") for name, figure in _pictures(diagnosis).items()}
    environment = Environment(
        loader=PackageLoader("mbrl_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("doctor_report.html.j2").render(
        name=diagnosis.recording.path.resolve().name,
        diagnosis=diagnosis,
        counts=[(s, sum(f.severity == s for f in diagnosis.findings)) for s in reversed(SEVERITIES)],
        facts=diagnosis.as_json(),
        images=images,
        changes=changes,
    )
    path = folder / "report.html"
    write_whole(path, page)
    return path


def _pictures(diagnosis: Diagnosis) -> dict[str, Figure]:
    drawn = {"topics": pictures.draw_topics(diagnosis)}
    if diagnosis.coverage is not None:
        drawn["coverage"] = pictures.draw_coverage(diagnosis.coverage)
    evidence = diagnosis.evidence
    if evidence is not None:
        drawn["evidence"] = pictures.draw_evidence(evidence)
    return drawn
