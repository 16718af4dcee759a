"""Quality of service by the role of a topic. No deadline is requested anywhere: it would break matching."""

from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

SENSOR = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
"""Sensors: a late reading is worth less than the next one."""

STATE = QoSProfile(depth=10)
"""States and plans: reliable, a short queue."""

SENT = QoSProfile(depth=100)
"""Commands as they were sent, for those who must know them all: reliable, and kept for two seconds of stalling."""

COMMAND = QoSProfile(depth=1)
"""Commands: reliable, only the newest counts."""

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
"""Models, tracks: whoever joins late still gets the last one."""
