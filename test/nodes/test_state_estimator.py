"""The estimator as a process: what it makes of sensors, and of sensors gone wrong."""

import math

import numpy as np
import pytest

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def estimator(ros_domain_of_module, tmp_path_factory):
    """The simulator at rest, and the estimator, whose estimate is near the origin after every test."""
    from harness import running
    from mbrl_ros.msg import VehicleState
    from nav_msgs.msg import Odometry

    from mbrl_ros.nodes.shared import quality

    vehicle = config_file("vehicles", "f1tenth", ".yaml")
    track = config_file("tracks", "demo", ".csv")
    graph = Graph(
        (
            NodeSpec("simulator", {"vehicle": vehicle, "track": track, "publish_clock": True, "real_time_factor": 0.3}),
            NodeSpec(
                "state_estimator",
                {"vehicle": vehicle, "use_sim_time": True},
            ),
        )
    )
    with running(graph, tmp_path_factory.mktemp("logs")) as (processes, bench):
        bench.listen("/state", Odometry, quality.STATE)
        bench.listen("/vehicle_state", VehicleState, quality.STATE)
        bench.spin_until(lambda: bench.count("/state") > 20, 60.0, "the estimator answers")
        yield processes, bench


def covariance(message):
    return np.reshape(message.pose.covariance, (6, 6))


def test_answers_at_its_own_rate_with_the_right_frames_and_a_valid_covariance(estimator):
    _, bench = estimator
    bench.spin_until(lambda: bench.count("/state") > 150, 60.0, "a second and a half of estimates")
    message = bench.latest("/state")
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for _, m in bench.received["/state"]]
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    assert np.median(np.diff(stamps)[-100:]) == pytest.approx(0.01)
    assert np.diff(stamps).min() > 0.0  # whatever the machine is busy with, one stamp has one estimate
    assert np.linalg.eigvalsh(covariance(message)).min() > 0.0
    assert math.hypot(message.pose.pose.position.x, message.pose.pose.position.y) < 0.1  # the track begins at 0, 0
    assert bench.latest("/vehicle_state").reference_point == "cg"


def test_never_publishes_what_is_not_finite_whatever_the_sensors_say(estimator):
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from sensor_msgs.msg import Imu

    from mbrl_ros.nodes.shared import quality

    processes, bench = estimator
    imu = bench.node.create_publisher(Imu, "/imu/data", quality.SENSOR)
    pose = bench.node.create_publisher(PoseWithCovarianceStamped, "/pose_fix", quality.SENSOR)
    bench.spin_until(lambda: imu.get_subscription_count() and pose.get_subscription_count(), 60.0, "matched")
    for _ in range(50):
        stamp = bench.latest("/state").header.stamp
        bad = Imu()
        bad.header.stamp = stamp
        bad.angular_velocity.z = math.nan
        bad.linear_acceleration.x = math.inf
        imu.publish(bad)
        lost = PoseWithCovarianceStamped()
        lost.header.stamp, lost.header.frame_id = stamp, "odom"
        lost.pose.pose.position.x = math.nan
        lost.pose.pose.orientation.w = 1.0
        pose.publish(lost)
        other = PoseWithCovarianceStamped()
        other.header.stamp, other.header.frame_id = stamp, "map"
        pose.publish(other)
        bench.spin_for(0.02)
    states = [m for _, m in bench.received["/vehicle_state"]]
    assert processes.ended() is None
    assert all(math.isfinite(value) for m in states for value in (m.x, m.y, m.yaw, m.vx, m.vy, m.yaw_rate))
    assert math.hypot(states[-1].x, states[-1].y) < 0.1


def test_set_pose_moves_the_estimate_and_reset_waits_for_a_pose(estimator):
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from std_srvs.srv import Trigger

    _, bench = estimator
    put = bench.node.create_publisher(PoseWithCovarianceStamped, "/state_estimator/set_pose", 10)
    bench.spin_until(lambda: put.get_subscription_count() > 0, 60.0, "matched")
    message = PoseWithCovarianceStamped()
    message.header.stamp, message.header.frame_id = bench.latest("/state").header.stamp, "odom"
    message.pose.pose.position.x = 5.0
    message.pose.pose.orientation.w = 1.0
    seen = bench.count("/state")
    with bench.saying(put, message, every_s=1.0):
        bench.spin_until(
            lambda: any(m.pose.pose.position.x > 4.0 for _, m in bench.received["/state"][seen:]), 60.0, "moved"
        )
    assert bench.call(Trigger, "/state_estimator/reset", Trigger.Request()).success
    bench.spin_until(
        lambda: abs(bench.latest("/state").pose.pose.position.x) < 0.3, 20.0, "aligned with a pose fix again"
    )
