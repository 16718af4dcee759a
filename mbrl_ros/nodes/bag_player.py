"""bag_player: plays a recording with /clock to the nodes of a replay, and ends when it is over."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from typing import Any

from pydantic import Field
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage

from mbrl_ros.core.config import Settings
from mbrl_ros.data.playback import COMMAND_TOPIC, SENSOR_TOPICS, STATE_TOPIC, Message, playback
from mbrl_ros.data.topics import TopicMapping
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.messages import to_stamp
from mbrl_ros.nodes.shared.run import run

LARGEST_BACKLOG_S = 0.1
"""How far the recording may fall behind its pace [s, wall time] before it slips instead of catching up."""

_CLOCK_NS = 10_000_000  # between two messages on /clock, in the recording's time
_TURN_S = 0.005


class BagPlayerSettings(Settings):
    """Parameters of the bag_player node."""

    bag: str = Field(description="recording to play")
    topics: str = Field(
        "", description="quantity=/topic pairs with commas between, for a recording without /vehicle_state"
    )
    estimate: bool = Field(False, description="leave recorded estimates out, for a state estimator that runs beside")
    real_time_factor: float = Field(1.0, gt=0.0, le=20.0, description="seconds of the recording per second")
    linger_s: float = Field(3.0, ge=0.0, le=60.0, description="how long /clock goes on after the last message [s]")


class BagPlayerNode:
    """Publishes ``/clock`` and what `data.playback` makes of a recording, in one order whatever the pace.

    It begins when those topics have subscribers that the replay is about, and interrupts itself at the end.
    """

    def __init__(self) -> None:
        self.node = Node("bag_player")
        self.settings = parameters.declare(self.node, BagPlayerSettings)
        pairs = [pair.strip() for pair in self.settings.topics.split(",") if pair.strip()]
        self._playback = playback(self.settings.bag, TopicMapping.parse(pairs), estimate=self.settings.estimate)
        for note in self._playback.notes:
            self.node.get_logger().info(note)
        self._clock = self.node.create_publisher(ClockMessage, "/clock", quality.STATE)
        self._publishers: dict[str, Any] = {}
        for topic, name in self._playback.types.items():
            self._publish_also(topic, name)
        heard = SENSOR_TOPICS if self.settings.estimate else (STATE_TOPIC, COMMAND_TOPIC)
        self._awaited = [self._publishers[topic] for topic in heard]
        self._messages: Iterator[Message] = self._playback.messages()
        self._next = next(self._messages, None)
        self._now_ns = self._clock_ns = self._playback.start_ns
        self._played = 0
        self._slipped_s = 0.0
        self._started = False
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._last_wall_s = 0.0
        self._diagnostics = diagnostics.Diagnostics(self.node, "playback", self._report)
        self.node.create_timer(_TURN_S, self._on_timer, clock=self._steady)

    def close(self) -> None:
        """Nothing to send."""

    def _publish_also(self, topic: str, name: str) -> None:
        """Reliable, which all subscriptions match; latched where it was recorded so; not where ROS lacks the type."""
        package, _, kind = name.partition("/msg/")
        try:
            message = getattr(importlib.import_module(f"{package}.msg"), kind)
        except (ImportError, AttributeError):
            self.node.get_logger().warning(f"{topic} is not played: {name} is not installed")
            return
        profile = quality.LATCHED if topic in self._playback.latched else quality.SENT
        self._publishers[topic] = self.node.create_publisher(message, topic, profile)

    def _on_timer(self) -> None:
        now_s = self._steady.now().nanoseconds * 1e-9
        if not self._started:
            self._started = all(publisher.get_subscription_count() for publisher in self._awaited)
            self._last_wall_s = now_s
            # The nodes' clocks begin: without one they would wait for it, and never be heard.
            self._clock.publish(ClockMessage(clock=to_stamp(self._now_ns * 1e-9)))
            return
        elapsed_s = now_s - self._last_wall_s
        self._slipped_s += max(elapsed_s - LARGEST_BACKLOG_S, 0.0)
        self._last_wall_s = now_s
        self._now_ns += round(min(elapsed_s, LARGEST_BACKLOG_S) * self.settings.real_time_factor * 1e9)
        self._play()
        if self._now_ns > self._playback.end_ns + self.settings.linger_s * 1e9:
            self.node.get_logger().info(f"the recording is over: {self._played} messages played")
            signal.raise_signal(signal.SIGINT)

    def _play(self) -> None:
        """Everything up to now: ticks of /clock, and between them the messages."""
        while self._clock_ns <= self._now_ns:
            while self._next is not None and self._next.time_ns <= self._clock_ns:
                if self._next.topic in self._publishers:
                    self._publishers[self._next.topic].publish(self._next.data)
                    self._played += 1
                self._next = next(self._messages, None)
            self._clock.publish(ClockMessage(clock=to_stamp(self._clock_ns * 1e-9)))
            self._clock_ns += _CLOCK_NS

    def _report(self) -> diagnostics.Report:
        whole_s = (self._playback.end_ns - self._playback.start_ns) * 1e-9
        played_s = min((self._now_ns - self._playback.start_ns) * 1e-9, whole_s)
        values = {"messages": self._played, "played [s]": f"{played_s:.1f}", "slipped [s]": f"{self._slipped_s:.1f}"}
        if not self._started:
            return diagnostics.WARN, "waiting for subscribers", values
        return diagnostics.OK, f"{played_s:.0f} of {whole_s:.0f} s", values


def main() -> None:
    """Run the node."""
    run("bag_player", BagPlayerNode)


if __name__ == "__main__":
    main()
