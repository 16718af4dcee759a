"""Topics are chosen by type and content, or as told."""

import numpy as np
import pytest

from mbrl_ros.core.config import parse_settings
from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.core.layout import ACTIONS, YAW_RATE
from mbrl_ros.data import TopicMapping, read_drive


def test_small_car_with_particle_filter_wheels_and_gyro(course, save):
    """The pose that does not drift, the wheels' speed, the gyro's yaw rate: not the one made from the servo."""
    course.odom("/odom").odom("/pf/pose/odom", frame_id="map").imu("/sensors/imu/raw").drive("/ackermann_cmd", "speed")
    for record in course.topic("/odom"):
        record.message.twist.twist.angular.z = 9.0
        record.message.pose.pose.position.x += 100.0
    drive = read_drive(save(course))
    assert drive.topics == {
        "pose": "/pf/pose/odom", "velocity": "/odom", "yaw_rate": "/sensors/imu/raw", "command": "/ackermann_cmd",
    }  # fmt: skip
    segment = drive.segments[0]
    np.testing.assert_allclose(segment.state[:, YAW_RATE], course.states[5:, YAW_RATE], atol=1e-9)
    assert segment.action_layout == ACTIONS["speed"]


@pytest.mark.parametrize("up", [0.0, -9.81])
def test_gyro_whose_gravity_is_not_up_is_passed_over_and_told(course, save, up):
    drive = read_drive(save(course.odom().imu(up=up).drive()))
    assert drive.topics["yaw_rate"] == "/odom"
    assert any("/imu is not used for the yaw rate" in note for note in drive.notes)


def test_overrides_by_quantity_and_by_alias(course, save):
    course.odom("/odom").odom("/other").imu().feedback().drive("/teleop").drive("/drive")
    path = save(course)
    drive = read_drive(path, TopicMapping.parse(["odom=/other", "command=/teleop"]))
    assert drive.topics["pose"] == drive.topics["velocity"] == drive.topics["yaw_rate"] == "/other"
    assert drive.topics["command"] == "/teleop"
    assert read_drive(path).topics["command"] == "/drive"


def test_commands_can_be_left_for_the_feedback(course, save):
    drive = read_drive(save(course.odom().feedback().drive()), TopicMapping(command="none"))
    assert "command" not in drive.topics
    np.testing.assert_allclose(drive.segments[0].action[:, 0], drive.segments[0].state[:, 6], atol=1e-9)


def test_which_field_of_the_command_is_the_action(course, save):
    path = save(course.odom().feedback().drive())
    assert read_drive(path).segments[0].action_layout == ACTIONS["acceleration"]
    assert read_drive(path, drive="speed").segments[0].action_layout == ACTIONS["speed"]
    with pytest.raises(DataError, match="commands no duty"):
        read_drive(path, drive="duty")


def test_several_possible_commands_are_not_guessed_between(course, save):
    path = save(course.odom().drive("/left").drive("/right"))
    with pytest.raises(DataError, match=r"any of /left, /right could be the command.*--topic command="):
        read_drive(path)


def test_missing_topic_lists_what_there_is(course, save):
    path = save(course.odom().drive())
    with pytest.raises(DataError, match=r"no readable topic '/pf/odom' for pose; there are: /odom \(nav_msgs"):
        read_drive(path, TopicMapping.parse(["odom=/pf/odom"]))


def test_topic_that_lacks_the_quantity(course, save):
    path = save(course.odom().imu().drive())
    with pytest.raises(DataError, match=r"'/imu' \(sensor_msgs/msg/Imu\) gives no pose"):
        read_drive(path, TopicMapping(pose="/imu"))


def test_no_pose_at_all(course, save):
    with pytest.raises(DataError, match="no topic gives a pose"):
        read_drive(save(course.imu().drive()))


def test_no_controls_is_an_error_unless_states_are_enough(course, save):
    path = save(course.odom())
    with pytest.raises(DataError, match="no controls"):
        read_drive(path)
    assert np.isnan(read_drive(path, need_controls=False).segments[0].action).all()


def test_reference_point_is_what_the_recording_says_or_is_told(course, save):
    own = save(course.own(), name="own")
    assert read_drive(own).reference_point == "rear_axle"
    with pytest.raises(DataError, match="describes the rear_axle, not the cg"):
        read_drive(own, reference_point="cg")
    course.records = []
    other = save(course.odom().drive(), name="other")
    assert read_drive(other).reference_point == "cg"
    assert any("reference point: not recorded" in note for note in read_drive(other).notes)
    assert read_drive(other, reference_point="rear_axle").reference_point == "rear_axle"


def test_ground_truth_is_never_taken_unasked_but_can_be(course, save):
    path = save(course.odom("/ground_truth").drive())
    with pytest.raises(DataError, match="no topic gives a pose"):
        read_drive(path)
    assert read_drive(path, TopicMapping.parse(["odom=/ground_truth"])).topics["pose"] == "/ground_truth"


@pytest.mark.parametrize("pair", ["odom", "odom=", "wheels=/odom", "=/odom"])
def test_mistyped_override(pair):
    with pytest.raises(ConfigError, match=r"expected quantity=/topic"):
        TopicMapping.parse([pair])


def test_mistyped_yaml_key():
    with pytest.raises(ConfigError, match="unknown field 'velocty', did you mean 'velocity'"):
        parse_settings({"velocty": "/odom"}, TopicMapping, "topics.yaml")


def test_velocity_that_denies_the_pose_is_told(course, save):
    course.odom().drive()
    assert "contradicts" not in " ".join(read_drive(save(course, name="clean")).notes)
    for record in course.topic("/odom"):
        record.message.twist.twist.linear.x *= 0.1
        record.message.twist.twist.angular.z *= 57.3 / 10
    notes = " ".join(read_drive(save(course)).notes)
    assert "velocity contradicts pose" in notes
    assert "yaw rate contradicts heading" in notes
