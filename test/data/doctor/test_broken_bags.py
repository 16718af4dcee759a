"""Recordings that break readers: the doctor says what it could read of them, or one clear error."""

import numpy as np
import pytest
from simulated_drive import ACKERMANN, IMU, ODOMETRY, serious

from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.data import TopicMapping, messages
from mbrl_ros.data.bag import message_types, open_bag
from mbrl_ros.data.doctor import examine, write_repaired
from mbrl_ros.data.writing import BagWriter

START_NS = 1_700_000_000_000_000_000


def checks(diagnosis):
    return {check for check, _ in serious(diagnosis)}


def write(path, *topics, count=300, period_ns=20_000_000):
    """A recording of ``(topic, type, make(k, stamp_ns))`` at every sample."""
    with BagWriter(path) as writer:
        for k in range(count):
            stamp = START_NS + k * period_ns
            for topic, msgtype, make in topics:
                writer.write(topic, msgtype, make(k, stamp), stamp + 3_000_000)
    return path


def standing(_, stamp):
    return messages.odometry(stamp, np.zeros(8))


def test_truncated_storage_is_read_as_far_as_it_goes(clean, tmp_path):
    target = tmp_path / "cut"
    target.mkdir()
    for file in clean.iterdir():
        content = file.read_bytes()
        (target / file.name).write_bytes(content if file.suffix == ".yaml" else content[: len(content) // 2])
    # The index that messages are found by stands at the file's end.
    with pytest.raises(DataError, match="cut"):
        examine(target)


def test_messages_that_are_gone_are_missed(clean, tmp_path):
    target = tmp_path / "zeroed"
    target.mkdir()
    for file in clean.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".mcap":
            content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
        (target / file.name).write_bytes(content)
    found = examine(target).findings
    assert next(f for f in found if f.severity == "error").check == "messages_missing"
    assert {f.check for f in found if f.severity == "warning"} == {"silence"}


def test_undecodable_messages_are_counted_and_left_out(clean, tmp_path):
    target = tmp_path / "bag"
    with open_bag(clean) as reader, BagWriter(target) as writer:
        seen = 0
        for connection, received_ns, raw in reader.messages():
            seen += connection.topic == "/odom"
            broken = connection.topic == "/odom" and seen in (100, 200)
            writer.write(connection.topic, connection.msgtype, bytes(raw)[:20] if broken else bytes(raw), received_ns)
    diagnosis = examine(target)
    assert serious(diagnosis) == {("undecodable", "/odom")}
    assert "2 of 1500 messages" in next(f.evidence for f in diagnosis.findings if f.check == "undecodable")
    write_repaired(diagnosis, tmp_path / "repaired")
    assert serious(examine(tmp_path / "repaired")) == set()


def test_a_car_that_stands(tmp_path):
    diagnosis = examine(write(tmp_path / "bag", ("/odom", ODOMETRY, standing)))
    assert checks(diagnosis) == {"no_controls", "standstill", "little_driving"}


@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_a_handful_of_messages(tmp_path, count):
    examine(
        write(
            tmp_path / "bag",
            ("/odom", ODOMETRY, standing),
            ("/imu", IMU, lambda _, t: messages.imu(t, 0.0, (0.0, 0.0, 9.81))),
            ("/drive", ACKERMANN, lambda k, t: messages.ackermann(t, 0.01 * k, speed=1.0)),
            count=count,
        )
    )


def test_no_poses(tmp_path):
    bag = write(tmp_path / "bag", ("/imu", IMU, lambda _, t: messages.imu(t, 0.1, (0.0, 0.0, -9.81))))
    assert checks(examine(bag)) == {"no_pose", "no_controls", "imu_gravity"} or checks(examine(bag)) == {
        "no_pose",
        "no_controls",
        "imu_axes",
    }


def test_topics_without_headers_are_counted(tmp_path):
    number = message_types().types["std_msgs/msg/Float32"]
    bag = write(
        tmp_path / "bag",
        ("/odom", ODOMETRY, standing),
        ("/pedal", "std_msgs/msg/Float32", lambda k, _: number(data=float(k))),
    )
    facts = {f.topic: f for f in examine(bag).topics}
    assert facts["/pedal"].messages == 300
    assert facts["/pedal"].rhythm is not None
    assert facts["/pedal"].rhythm.rate_hz == pytest.approx(50.0, rel=0.01)


def test_topics_that_never_overlap(clean, tmp_path, planted):
    def an_hour_late(_, __, message, received_ns):
        message.header.stamp.sec += 3600
        return message, received_ns

    assert serious(examine(planted(an_hour_late, "/imu/data"))) == {("future_stamps", "/imu/data")}


def test_several_commands_want_a_choice(tmp_path):
    def command(k, t):
        return messages.ackermann(t, 0.1 * np.sin(0.1 * k), speed=1.0)

    bag = write(
        tmp_path / "bag", ("/odom", ODOMETRY, standing), ("/left", ACKERMANN, command), ("/right", ACKERMANN, command)
    )
    assert "several_commands" in checks(examine(bag))
    chosen = examine(bag, TopicMapping(command="/left"))
    assert "several_commands" not in checks(chosen)
    assert chosen.recording.sources["command"].topic == "/left"


def test_a_topic_that_is_asked_for_and_not_there(clean):
    with pytest.raises(DataError, match="no readable topic '/nowhere' for command"):
        examine(clean, TopicMapping(command="/nowhere"))
    with pytest.raises(ConfigError):
        TopicMapping.parse(["odom"])


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no such recording"):
        examine(tmp_path / "nothing")


def test_a_steady_circle_is_no_contradiction(tmp_path):
    def circle(k, stamp):
        yaw = 0.4 * 0.02 * k
        return messages.odometry(stamp, np.array([15 * np.sin(yaw), -15 * np.cos(yaw), yaw, 6.0, 0, 0.4, 0, 0]))

    found = checks(examine(write(tmp_path / "bag", ("/odom", ODOMETRY, circle), count=1500)))
    assert found == {"no_controls", "one_sided"}


def test_trust_that_is_said_again_is_no_fault_of_stamps(tmp_path):
    """It is repeated with the stamp of what it was judged by, and with none before the first judgement."""

    def trust(k, _):
        judged_ns = START_NS + k // 10 * 200_000_000 if k >= 50 else 0
        return message_types().types["mbrl_ros/msg/ModelTrust"](
            header=messages.header(judged_ns, ""),
            level=0,
            model_id="m",
            nominal_id="n",
            speed_cap=np.inf,
            novelty=0.0,
            disagreement=0.0,
            residual=1.0,
            reason="",
        )

    path = write(tmp_path / "bag", ("/odom", ODOMETRY, standing), ("/trust", "mbrl_ros/msg/ModelTrust", trust))
    assert not [finding for finding in examine(path).findings if finding.topic == "/trust"]
