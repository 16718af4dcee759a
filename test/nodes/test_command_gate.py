"""The gate as a process: what it lets through, and how fast it brakes, over real topics."""

import math
import time
from pathlib import Path

import pytest

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file

pytestmark = pytest.mark.ros

BRAKING_WITHIN_S = 0.25


def test_on_a_clock_that_stands_it_still_stops_several_times_with_stamps_of_their_own(ros_domain, tmp_path):
    from ackermann_msgs.msg import AckermannDriveStamped
    from harness import running
    from rosgraph_msgs.msg import Clock

    from mbrl_ros.nodes.shared import quality
    from mbrl_ros.nodes.shared.messages import to_seconds, to_stamp

    vehicle = config_file("vehicles", "f1tenth", ".yaml")
    parameters = {"vehicle": vehicle, "gate.require_engage": False, "use_sim_time": True}
    with running(Graph((NodeSpec("command_gate", parameters),)), tmp_path) as (processes, bench):
        heard = []
        bench.node.create_subscription(AckermannDriveStamped, "/drive", heard.append, quality.SENT)
        clock = bench.node.create_publisher(Clock, "/clock", quality.STATE)
        now_s = 5.0

        def braking():
            nonlocal now_s
            now_s += 0.01  # what the gate says once for each stamp is lost until the two have found each other
            clock.publish(Clock(clock=to_stamp(now_s)))
            return len(heard) > 0

        bench.spin_until(braking, 60.0, "the gate brakes before any command")
        before = len(heard)
        processes.stop()
        bench.spin_until(lambda: len(heard) >= before + 5, 60.0, "several stops")
    stamps = [to_seconds(message.header.stamp) for message in heard]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == pytest.approx(now_s, abs=0.001)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"vehicel": "x"}, "did you mean 'vehicle'"),
        ({"vehicle": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
        ({"gate.command_timeout_s": -1.0}, "gate.command_timeout_s"),
        ({"control_rate_hz": "fast"}, "control_rate_hz"),
        ({"control_rate_hz": 1000.0}, "control_rate_hz"),
    ],
)
def test_a_wrong_parameter_ends_in_a_clear_line_and_a_non_zero_status(ros_domain, tmp_path: Path, parameters, words):
    from mbrl_ros.bringup.processes import Processes

    vehicle = config_file("vehicles", "f1tenth", ".yaml")
    graph = Graph((NodeSpec("command_gate", {"vehicle": vehicle, **parameters}),))
    with Processes(graph, tmp_path) as processes:
        deadline = time.monotonic() + 100.0
        while (ended := processes.ended()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert ended.status == 2
    assert words in ended.log.read_text()


@pytest.fixture(scope="module")
def gate(ros_domain_of_module, tmp_path_factory):
    """The gate of the tests below; each leaves it ready to let commands through, but for the last, which ends it."""
    from ackermann_msgs.msg import AckermannDriveStamped
    from diagnostic_msgs.msg import DiagnosticArray
    from harness import running

    from mbrl_ros.nodes.shared import quality

    vehicle = config_file("vehicles", "f1tenth", ".yaml")
    graph = Graph((NodeSpec("command_gate", {"vehicle": vehicle, "gate.require_engage": False}),))
    with running(graph, tmp_path_factory.mktemp("gate")) as (processes, bench):
        bench.listen("/drive", AckermannDriveStamped, quality.COMMAND)
        bench.listen("/diagnostics", DiagnosticArray, quality.STATE)
        bench.commands = bench.node.create_publisher(AckermannDriveStamped, "/command", quality.COMMAND)
        bench.spin_until(lambda: bench.count("/drive") > 0, 60.0, "the gate brakes before any command")
        yield Driver(processes, bench)


class Driver:
    """Publishes commands at 50 Hz, as a planner would."""

    def __init__(self, processes, bench):
        self.processes, self.bench = processes, bench

    def publish(self, acceleration=1.0, speed=3.0, steering=0.1, age_s=0.0):
        from mbrl_ros.core.command_gate import Command
        from mbrl_ros.nodes.shared.messages import drive_message

        now_s = self.bench.node.get_clock().now().nanoseconds * 1e-9
        self.bench.commands.publish(drive_message(Command(steering, 3.2, speed, acceleration, 100.0), now_s - age_s))

    def drive(self, duration_s, **command):
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self.publish(**command)
            self.bench.spin_for(0.02)

    def braking_begins_after(self, started, action, again=lambda: None, **command):
        """Seconds from ``started`` until /drive first brakes, while ``again`` and ``command`` go on being sent."""
        seen = self.bench.count("/drive")
        action()
        deadline = started + 2.0
        while time.monotonic() < deadline:
            for received, message in self.bench.received["/drive"][seen:]:
                if message.drive.speed == 0.0 and message.drive.acceleration < 0.0:
                    return received - started
            again()
            if command:
                self.publish(**command)
            self.bench.spin_for(0.02)
        return math.inf

    def said(self):
        """What the gate said last."""
        said = [status for _, array in self.bench.received["/diagnostics"] for status in array.status]
        return said[-1] if said else "nothing"

    def get_driving(self):
        """Send commands until they are let through."""
        deadline = time.monotonic() + 60.0
        while self.bench.latest("/drive").drive.acceleration != pytest.approx(1.0):
            assert time.monotonic() < deadline, f"the gate lets no command through: {self.said()}"
            self.publish()
            self.bench.spin_for(0.02)


def test_silence_stale_and_non_finite_commands_brake_and_good_ones_recover(gate):
    gate.get_driving()
    silence = gate.braking_begins_after(time.monotonic(), lambda: None)
    gate.get_driving()
    nan = gate.braking_begins_after(time.monotonic(), lambda: None, acceleration=math.nan)
    gate.get_driving()
    stale = gate.braking_begins_after(time.monotonic(), lambda: None, age_s=0.5)
    assert max(silence, nan, stale) < BRAKING_WITHIN_S
    assert all(math.isfinite(message.drive.acceleration) for _, message in gate.bench.received["/drive"])


@pytest.mark.parametrize("way", ["topic", "best-effort topic", "service"])
def test_estop_brakes_within_a_cycle_and_is_latched(gate, way):
    from std_msgs.msg import Bool
    from std_srvs.srv import Trigger

    from mbrl_ros.nodes.shared import quality

    profile = quality.SENSOR if way == "best-effort topic" else quality.STATE
    publisher = gate.bench.node.create_publisher(Bool, "/estop", profile)
    client = gate.bench.node.create_client(Trigger, "/command_gate/estop")
    gate.bench.spin_until(lambda: publisher.get_subscription_count() > 0, 60.0, "the gate hears /estop")
    gate.bench.spin_until(client.service_is_ready, 60.0, "e-stop service")
    gate.get_driving()
    if way != "service":
        press = lambda: publisher.publish(Bool(data=True))  # noqa: E731
    else:
        press = lambda: client.call_async(Trigger.Request())  # noqa: E731
    # A single best-effort message may be lost, the first one also to a gate that has yet to discover its publisher.
    again = press if way == "best-effort topic" else lambda: None
    assert gate.braking_begins_after(time.monotonic(), press, again, acceleration=1.0) < BRAKING_WITHIN_S
    publisher.publish(Bool(data=False))
    gate.drive(0.3)
    assert gate.bench.latest("/drive").drive.acceleration < 0.0
    assert gate.bench.call(Trigger, "/command_gate/reset_estop", Trigger.Request()).success
    gate.get_driving()
    gate.bench.node.destroy_publisher(publisher)


def test_a_second_publisher_of_commands_brakes(gate):
    from ackermann_msgs.msg import AckermannDriveStamped

    gate.get_driving()
    intruder = gate.bench.node.create_publisher(AckermannDriveStamped, "/command", 1)
    assert gate.braking_begins_after(time.monotonic(), lambda: None, acceleration=1.0) < 1.0
    gate.bench.node.destroy_publisher(intruder)


def test_stops_several_times_before_it_goes_and_says_nothing_after(gate):
    gate.get_driving()
    seen = gate.bench.count("/drive")
    statuses = gate.processes.stop()
    gate.bench.spin_for(0.5)
    last = [message.drive for _, message in gate.bench.received["/drive"][seen:]]
    assert statuses == {"command_gate": 0}
    assert len(last) >= 1 and last[-1].acceleration < 0.0
