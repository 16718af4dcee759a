"""Real nodes in processes of their own, and a node in the test's process that watches and disturbs them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mbrl_ros.bringup.graph import Graph
from mbrl_ros.bringup.processes import Processes

BRAKING_WITHIN_S = 0.25
STANDING_S = 0.6


class Bench:
    """The test's own node, spun only while something is waited for, with every message kept by topic."""

    def __init__(self) -> None:
        self.node = Node("bench")
        self.received: dict[str, list[tuple[float, Any]]] = {}
        self.driving: tuple[Any, ...] = ()
        self._clients: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def listen(self, topic: str, kind: Any, profile: Any) -> None:
        """Keep every message of ``topic`` with its time of receipt (monotonic)."""
        kept = self.received.setdefault(topic, [])
        self.node.create_subscription(kind, topic, lambda message: kept.append((time.monotonic(), message)), profile)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Spin until ``condition`` holds; fails the test, naming ``what``, after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
            self._executor.spin_once(timeout_sec=0.02)

    def spin_for(self, duration_s: float) -> None:
        """Spin for some time."""
        deadline = time.monotonic() + duration_s
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=max(deadline - time.monotonic(), 0.0))

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = 60.0) -> Any:
        """Call a service and wait for its answer.

        A busy server may not have discovered the client's reader yet, and answer into the void: it is asked once more.
        """
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        self.spin_until(client.service_is_ready, timeout_s, f"service {name} ready")
        futures = [client.call_async(request)]
        again_s = time.monotonic() + timeout_s / 2

        def answered() -> bool:
            if len(futures) == 1 and time.monotonic() > again_s:
                futures.append(client.call_async(request))
            return any(future.done() for future in futures)

        self.spin_until(answered, timeout_s, f"answer of {name}")
        return next(future.result() for future in futures if future.done())

    @contextmanager
    def saying(self, publisher: Any, message: Any, every_s: float) -> Iterator[None]:
        """Publish now and again: the first is lost where a listener is known here, but does not know of it yet."""
        publisher.publish(message)
        timer = self.node.create_timer(every_s, lambda: publisher.publish(message))
        yield
        self.node.destroy_timer(timer)

    def latest(self, topic: str) -> Any:
        """The newest message of ``topic``."""
        return self.received[topic][-1][1]

    def count(self, topic: str) -> int:
        """Messages received on ``topic``."""
        return len(self.received[topic])


class Car:
    """A simulated car that drives, and how it brakes when something fails."""

    def __init__(self, processes: Processes, bench: Bench) -> None:
        self.processes, self.bench = processes, bench

    def truth(self) -> np.ndarray:
        """[N, 2] stamps and forward speeds."""
        return np.array([_moment(message) for _, message in self.bench.received["/ground_truth"]])

    def wait_for_speed(self, speed: float, timeout_s: float = 60.0) -> None:
        """Wait until the car is faster than ``speed`` [m/s]; fails when a node has ended."""

        def fast() -> bool:
            ended = self.processes.ended()
            if ended is not None:
                raise ChildProcessError(f"{ended.node} ended: {ended.log.read_text(errors='replace')[-2000:]}")
            return (
                self.bench.count("/ground_truth") > 0
                and self.bench.latest("/ground_truth").twist.twist.linear.x > speed
            )

        try:
            self.bench.spin_until(fast, timeout_s, f"{speed} m/s")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None

    def report(self) -> str:
        """Where the car is, what every node says of itself, where each of its threads is, and the ends of the logs."""
        from diagnostic_msgs.msg import DiagnosticArray

        if "/diagnostics" not in self.bench.received:
            self.bench.listen("/diagnostics", DiagnosticArray, 10)
        nodes = [spec.node for spec in self.processes._graph.nodes]
        for node in nodes:
            self.processes._processes[node].send_signal(signal.SIGUSR1)
        self.bench.spin_for(3.0)
        said = {status.name: status for _, array in self.bench.received["/diagnostics"] for status in array.status}
        lines = [f"{name}: {one.message} {[(v.key, v.value) for v in one.values]}" for name, one in said.items()]
        logs = [f"== {node}\n{self.processes.log(node).read_text(errors='replace')[-4000:]}" for node in nodes]
        return "\n".join(
            [*(str(truth.pose.pose) for _, truth in self.bench.received["/ground_truth"][-1:]), *lines, *logs]
        )

    def signal(self, executable: str, number: int) -> None:
        """Send a signal to a node."""
        os.kill(self.processes.pid(executable), number)

    def start_again(self, node: str) -> None:
        """Start a node that was killed once more, as whoever watches over a car's nodes does."""
        self.processes._processes[node].wait()
        spec = next(spec for spec in self.processes._graph.nodes if spec.node == node)
        self.processes._processes[node] = self.processes._start(spec)

    def drive_for(self, duration_s: float, timeout_s: float = 60.0) -> None:
        """Let ``duration_s`` of the car's own time pass, which a busy machine stretches."""
        end = self.truth()[-1, 0] + duration_s
        self.bench.spin_until(lambda: _newest(self.bench)[0] >= end, timeout_s, f"{duration_s} s of the car's time")

    def assert_brakes(self, action: Callable[[], Any]) -> None:
        """From a quarter of a second after ``action`` on, the car only ever slows down, to a standstill that lasts."""
        self.bench.spin_for(0.05)
        start = self.truth()[-1, 0]
        action()
        self.bench.spin_until(
            lambda: _newest(self.bench)[0] >= start + BRAKING_WITHIN_S and _newest(self.bench)[1] < 0.1, 60.0, "a stop"
        )
        self.drive_for(STANDING_S)
        truth = self.truth()
        after = truth[truth[:, 0] >= start + BRAKING_WITHIN_S]
        assert len(after) > 20
        assert (np.diff(after[:, 1]) < 0.02).all(), "speeded up again"
        assert after[-1, 1] < 0.1, "did not stop"
        moving = after[after[:, 1] > 0.5]
        if len(moving) > 5:
            assert np.polyfit(moving[:, 0], moving[:, 1], 1)[0] < -2.0, "slowed down too gently for braking"


def _moment(truth: Any) -> tuple[float, float]:
    """Stamp and forward speed."""
    return truth.header.stamp.sec + 1e-9 * truth.header.stamp.nanosec, truth.twist.twist.linear.x


def _newest(bench: Bench) -> tuple[float, float]:
    return _moment(bench.latest("/ground_truth"))


def drive(bench: Bench, scripted: Any, seconds: float, speed: float) -> None:
    """Drive `serving_toys.ScriptedDrive` on, telling the model server as estimator and gate do."""
    from ackermann_msgs.msg import AckermannDriveStamped
    from mbrl_ros.msg import VehicleState

    from mbrl_ros.core.command_gate import Command
    from mbrl_ros.nodes.dynamics_server import DynamicsServerSettings
    from mbrl_ros.nodes.shared import quality
    from mbrl_ros.nodes.shared.messages import drive_message, vehicle_state_message

    if not bench.driving:
        bench.driving = (
            bench.node.create_publisher(VehicleState, "/vehicle_state", quality.STATE),
            bench.node.create_publisher(AckermannDriveStamped, "/drive", quality.STATE),
        )
        for publisher in bench.driving:
            bench.spin_until(lambda p=publisher: p.get_subscription_count() > 0, 60.0, "the server listens")
    states, sent = bench.driving
    for _ in range(round(seconds / scripted.period_s)):
        scripted.drive(scripted.period_s, speed)
        now_s, truth = scripted.simulator.now_s, scripted.simulator.truth()
        state = vehicle_state_message(now_s, np.append(truth, 0.0), np.eye(9), "odom", "base_link", "cg")
        for _ in range(DynamicsServerSettings.model_fields["states_per_kept"].default):
            states.publish(state)
        steering, acceleration, wanted = scripted.sent.tolist()
        sent.publish(drive_message(Command(steering, 3.2, wanted, acceleration, 100.0), now_s))
        bench.spin_for(0.002)


@contextmanager
def running(graph: Graph, logs: Path) -> Iterator[tuple[Processes, Bench]]:
    """The graph's nodes and a bench beside them, in the ROS domain of the test; all are gone afterwards."""
    rclpy.init(args=[])
    bench = Bench()
    try:
        with Processes(graph, logs) as processes:
            yield processes, bench
    finally:
        bench.node.destroy_node()
        rclpy.try_shutdown()


def nodes_left(marker: str) -> list[str]:
    """Command lines of running nodes whose environment holds ``marker``."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if "mbrl_ros.nodes" in line]
