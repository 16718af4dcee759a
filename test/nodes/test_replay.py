"""A recording played to the model server: real nodes, the recording's own time."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mbrl_ros.bringup.graph import Graph, NodeSpec
from mbrl_ros.cli.main import app
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import save

pytestmark = pytest.mark.ros

START_NS = 1_700_000_000_000_000_000
STEP_NS = 20_000_000


def record(path, model, count, own):
    """``count`` rows of what ``model`` drives at 50 Hz: states and commands, or only what a real log has."""
    k = np.arange(count)
    actions = np.stack([0.2 * np.sin(0.03 * k), 0.5 * np.cos(0.05 * k)], axis=1)
    start = torch.tensor([0, 0, 0, 2.0, 0, 0, 0, 0.5], dtype=torch.float64)
    with torch.no_grad():
        states = rollout(model, start, torch.from_numpy(actions)).numpy()
    with BagWriter(path) as writer:
        # Of a type that wheels lack; its content is never looked at.
        writer.write("/disparity", "stereo_msgs/msg/DisparityImage", bytes(16), START_NS)
        for k, (state, action) in enumerate(zip(states[:-1], actions, strict=True)):
            stamp = START_NS + k * STEP_NS
            command = messages.ackermann(stamp, action[0], acceleration=action[1])
            if own:
                writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
                writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", messages.vehicle_state(stamp, state), stamp)
            else:
                writer.write("/drive_feedback", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
                writer.write("/odom", "nav_msgs/msg/Odometry", messages.odometry(stamp, state), stamp)
    return path


@pytest.fixture
def model():
    return build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02)


def test_played_in_order_on_its_own_clock_and_over_when_it_is_over(ros_domain, tmp_path, model):
    from ackermann_msgs.msg import AckermannDriveStamped
    from harness import running
    from mbrl_ros.msg import VehicleState
    from rosgraph_msgs.msg import Clock

    from mbrl_ros.nodes.shared import quality
    from mbrl_ros.nodes.shared.messages import to_seconds

    bag = record(tmp_path / "bag", model, 100, own=False)
    player = NodeSpec("bag_player", {"bag": str(bag), "linger_s": 0.5})
    with running(Graph((player,)), tmp_path / "logs") as (processes, bench):
        heard = []
        for topic, kind in (("/vehicle_state", VehicleState), ("/clock", Clock)):
            bench.listen(topic, kind, quality.SENT)
        bench.node.create_subscription(
            VehicleState, "/vehicle_state", lambda m: heard.append((to_seconds(m.header.stamp), clock())), quality.SENT
        )

        def clock():
            return to_seconds(bench.latest("/clock").clock)

        bench.spin_until(lambda: bench.count("/clock") > 2, 60.0, "the clock")
        assert {m.clock.nanosec for _, m in bench.received["/clock"]} == {0}  # it stands until somebody listens
        assert bench.count("/vehicle_state") == 0
        bench.listen("/drive", AckermannDriveStamped, quality.SENT)
        bench.spin_until(lambda: processes.ended() is not None, 60.0, "the end")
        assert processes.ended().status == 0, processes.log("bag_player").read_text()
        stamps = [to_seconds(m.header.stamp) for _, m in bench.received["/vehicle_state"]]
        assert stamps == sorted(set(stamps))
        assert len(stamps) > 50
        assert bench.latest("/vehicle_state").vx == pytest.approx(2.0, abs=0.2)
        ticks = [to_seconds(m.clock) for _, m in bench.received["/clock"]]
        assert ticks == sorted(ticks)
        assert ticks[-1] >= START_NS * 1e-9 + 99 * 0.02 + 0.4


def test_a_replay_compares_a_model_with_what_was_driven(ros_domain, tmp_path, model, monkeypatch):
    import rclpy
    from harness import Bench, nodes_left
    from visualization_msgs.msg import MarkerArray

    from mbrl_ros.nodes.shared import quality

    marker = f"MBRL_TEST_REPLAY={tmp_path}"
    monkeypatch.setitem(os.environ, *marker.split("=", 1))
    record(tmp_path / "bag", model, 600, own=True)
    save(model, tmp_path / "model")
    command = [sys.executable, "-m", "mbrl_ros.cli.main", "replay", "bag", "--model", "model"]
    rclpy.init(args=[])
    bench = Bench()
    bench.listen("/dynamics_server/predicted_paths", MarkerArray, quality.STATE)
    try:
        with subprocess.Popen(
            [*command, "--log-folder", "logs", "--json", "f.json"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as replay:
            bench.spin_until(lambda: replay.poll() is not None, 200.0, "the end of the replay")
            output = replay.stdout.read()
    finally:
        bench.node.destroy_node()
        rclpy.try_shutdown()
    logs = "\n".join(path.read_text() for path in (tmp_path / "logs").glob("*.log"))
    assert replay.returncode == 0, f"{output}\n{logs}"
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["horizons_s"] == [0.1, 0.5, 1.0]
    assert len(found["comparisons"]) >= 1
    # The recording is this model's own driving; the car went some 2 m in a second.
    assert 0 < found["rms"]["position_error"][-1] < 0.02
    assert "root mean square error" in output
    assert_paths_lie_on_each_other(bench.latest("/dynamics_server/predicted_paths"))
    assert nodes_left(marker) == []


def assert_paths_lie_on_each_other(array):
    """The recording is the model's own driving."""
    clear, *lines = array.markers
    assert clear.action == clear.DELETEALL
    paths = {(line.ns, line.id): np.array([[p.x, p.y] for p in line.points]) for line in lines}
    starts = [index for name, index in paths if name == "driven"]
    assert len(starts) >= 2
    for index in starts:
        driven, predicted = paths["driven", index], paths["predicted", index]
        assert len(driven) == 51
        assert 1.0 < np.linalg.norm(np.diff(driven, axis=0), axis=1).sum() < 4.0
        assert np.abs(predicted - driven).max() < 0.05
    assert {line.header.frame_id for line in lines} == {"odom"}


def test_what_cannot_be_replayed_is_refused_before_anything_starts(tmp_path, model):
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "nothing")])
    assert "no such recording" in str(result.exception)
    bag = record(tmp_path / "bag", model, 10, own=True)
    result = CliRunner().invoke(app, ["replay", str(bag), "--model", str(tmp_path / "nowhere")])
    assert "cannot be read" in str(result.exception)
    result = CliRunner().invoke(app, ["replay", str(bag), "--estimate"])
    assert "records no /wheel_odom, /pose_fix" in str(result.exception)
