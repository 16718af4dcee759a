"""Rosbags in and out, synchronised and resampled into drives."""

from mbrl_ros.data.drives import read_drive
from mbrl_ros.data.topics import TopicMapping

__all__ = ["TopicMapping", "read_drive"]
