"""The launch files as `ros2 launch` runs them: arguments, the graph they bring up, and how it ends."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mbrl_ros.bringup.graph import DriveOptions, ReplayOptions, SimulationOptions, TrainOptions, config_file
from mbrl_ros.core.lap import LapTimer
from mbrl_ros.core.track import Track
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter

pytestmark = [pytest.mark.ros, pytest.mark.distro("launch_ros"), pytest.mark.timeout(400)]

FOLDER = Path(__file__).resolve().parents[2] / "launch"
OPTIONS = {"sim": SimulationOptions, "vehicle": DriveOptions, "replay": ReplayOptions, "train": TrainOptions}
# What `ros2 launch` does with a file and its arguments; its own command comes with ros2cli.
LAUNCH = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

service = LaunchService()
arguments = [argument.split(":=") for argument in sys.argv[2:]]
service.include_launch_description(
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)
)
sys.exit(service.run())
"""


class Launched:
    """A running launch file, in a process group of its own as in a terminal."""

    def __init__(self, name, arguments, folder):
        self.output = folder / "output.txt"
        self.marker = f"MBRL_TEST_LAUNCH={folder}"
        key, value = self.marker.split("=")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(FOLDER / f"{name}.launch.py"), *arguments],
                env={**os.environ, key: value, "ROS_LOG_DIR": str(folder / "log")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def assert_runs(self):
        assert self.process.poll() is None, self.output.read_text()[-3000:]

    def ctrl_c(self):
        """What a terminal does on Ctrl-C: the launch and all of its nodes are interrupted."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=30)


@contextmanager
def launched(name, *arguments, folder):
    subject = Launched(name, arguments, folder)
    try:
        yield subject
    finally:
        if subject.process.poll() is None:
            os.killpg(subject.process.pid, signal.SIGKILL)
            subject.process.wait()


@pytest.fixture
def bench(ros_domain):
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from harness import Bench

    from mbrl_ros.nodes.shared import quality

    rclpy.init(args=[])
    subject = Bench()
    subject.listen("/diagnostics", DiagnosticArray, quality.STATE)
    yield subject
    subject.node.destroy_node()
    rclpy.try_shutdown()


def reporting(bench):
    """Names of the nodes that have been heard of."""
    return {status.name.split(":")[0] for _, m in bench.received["/diagnostics"] for status in m.status}


def test_sim_drives_a_lap_and_ctrl_c_ends_it_cleanly(bench, tmp_path):
    from harness import nodes_left
    from nav_msgs.msg import Odometry

    from mbrl_ros.nodes.shared import quality

    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    timer = LapTimer(track.length_m, 0.31)

    def lap_completed():
        driving.assert_runs()
        for _, m in bench.received["/ground_truth"]:
            place = track.project(np.array([m.pose.pose.position.x, m.pose.pose.position.y]))
            widths = float(place.section.width_left), float(place.section.width_right)
            stamp_s = m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec
            timer.add(stamp_s, float(place.s), float(place.lateral), *widths)
        bench.received["/ground_truth"].clear()
        return len(timer.laps) > 0

    bench.listen("/ground_truth", Odometry, quality.STATE)
    with launched("sim", "use_sim_time:=true", "real_time_factor:=0.3", folder=tmp_path) as driving:
        bench.spin_until(lap_completed, 340.0, "a lap")
        status = driving.ctrl_c()
    assert status == 0, driving.output.read_text()[-3000:]
    assert "ERROR" not in driving.output.read_text()
    assert nodes_left(driving.marker) == []


@pytest.mark.parametrize(
    ("name", "arguments", "nodes"),
    [
        ("vehicle", [], {"command_gate", "state_estimator", "dynamics_server", "planner"}),
        (
            "vehicle",
            ["shadow:=mppi"],
            {"command_gate", "state_estimator", "dynamics_server", "planner", "shadow_planner"},
        ),
        ("replay", ["estimate:=true"], {"dynamics_server", "state_estimator"}),
        ("replay", [], {"dynamics_server"}),
        ("train", ["niceness:=5"], {"trainer"}),
    ],
)
def test_what_each_brings_up(bench, tmp_path, name, arguments, nodes):
    from harness import nodes_left

    with launched(name, *arguments, folder=tmp_path) as subject:

        def all_report():
            subject.assert_runs()
            return reporting(bench) >= nodes

        bench.spin_until(all_report, 60.0, f"{nodes} report")
        assert reporting(bench) == nodes
        assert subject.ctrl_c() == 0, subject.output.read_text()[-3000:]
    assert nodes_left(subject.marker) == []


def test_the_end_of_a_node_ends_the_others_with_an_error(ros_domain, tmp_path):
    from harness import nodes_left

    with launched("vehicle", "model:=/nowhere", folder=tmp_path) as subject:
        assert subject.process.wait(timeout=60) == 1
    output = subject.output.read_text()
    assert "/nowhere/model.yaml: cannot be read" in output
    assert "ended with status 2: stopping the others" in output
    assert nodes_left(subject.marker) == []


def test_a_replay_ends_well_when_its_recording_does(ros_domain, tmp_path):
    from harness import nodes_left

    with BagWriter(tmp_path / "bag") as writer:
        for k in range(50):
            stamp = 1_700_000_000_000_000_000 + k * 20_000_000
            command = messages.ackermann(stamp, 0.0)
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
            writer.write(
                "/vehicle_state", "mbrl_ros/msg/VehicleState", messages.vehicle_state(stamp, np.ones(8)), stamp
            )
    with launched("replay", f"bag:={tmp_path / 'bag'}", folder=tmp_path) as subject:
        assert subject.process.wait(timeout=60) == 0, subject.output.read_text()[-3000:]
    assert nodes_left(subject.marker) == []


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("track:=nowhere", "no file 'nowhere', and config/tracks has no 'nowhere.csv'; it has demo"),
        ("seed:=some", "launch argument 'seed': expected a whole number, got 'some'"),
        ("use_sim_time:=maybe", "launch argument 'use_sim_time': expected true or false, got 'maybe'"),
    ],
)
def test_a_wrong_argument_is_one_clear_line_and_an_error(ros_domain, tmp_path, argument, words):
    with launched("sim", argument, folder=tmp_path) as subject:
        assert subject.process.wait(timeout=60) == 1
    output = subject.output.read_text()
    assert words in output
    assert "process started" not in output


@pytest.mark.parametrize("name", OPTIONS)
def test_show_args_tells_every_option_its_meaning_and_its_default(name):
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(FOLDER / f"{name}.launch.py"))
    shown = {
        argument.name: (argument.description, "".join(part.text for part in argument.default_value))
        for argument in description.get_launch_arguments()
    }
    expected = {option.name: (option.metadata["help"], str(option.default)) for option in fields(OPTIONS[name])}
    assert set(shown) == set(expected)
    assert all(text for text, _ in shown.values())
    assert {key: (text, default.lower()) for key, (text, default) in expected.items()} == shown
