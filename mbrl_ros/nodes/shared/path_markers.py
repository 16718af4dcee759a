"""Markers of predicted beside driven paths."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from mbrl_ros.evaluation.driven_paths import DrivenPaths
from mbrl_ros.nodes.shared.messages import to_stamp

PREDICTED, DRIVEN = "predicted", "driven"
"""Namespaces of the markers; predictions that belong to a driven path have its id."""

_WIDTH_M = 0.04
_WHITE = ColorRGBA(r=0.9, g=0.9, b=0.9, a=0.8)


def paths_message(paths: DrivenPaths, frame_id: str) -> MarkerArray:
    """Line strips: driven paths white, predicted ones green for the least error of all, red for the largest."""
    array = MarkerArray(markers=[Marker(action=Marker.DELETEALL)])
    share = paths.error_m / max(float(paths.error_m.max()), 1e-9)
    for k, (predicted, driven) in enumerate(zip(paths.predicted, paths.driven, strict=True)):
        colour = ColorRGBA(r=float(share[k]), g=1.0 - float(share[k]), b=0.1, a=1.0)
        array.markers += [
            _line(DRIVEN, k, driven, _WHITE, 2 * _WIDTH_M),
            _line(PREDICTED, k, predicted, colour, _WIDTH_M),
        ]
    for marker in array.markers:
        marker.header.stamp = to_stamp(paths.stamp_s)
        marker.header.frame_id = frame_id
    return array


def _line(name: str, index: int, points: np.ndarray, colour: ColorRGBA, width_m: float) -> Marker:
    marker = Marker(ns=name, id=index, type=Marker.LINE_STRIP, action=Marker.ADD, color=colour)
    marker.pose.orientation.w = 1.0
    marker.scale.x = width_m
    marker.points = [Point(x=x, y=y, z=0.0) for x, y in points.tolist()]
    return marker
