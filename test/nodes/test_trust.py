"""Distrust over real topics: a car whose grip is changed while it drives, and a gate that obeys."""

import os
import signal

import pytest

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]

STEERING = 0.15
TRUST = {
    "trust.cautious_residual": 2.0,
    "trust.nominal_residual": 3.0,
    "trust.stop_residual": 5.0,
    "trust.cautious_dwell_s": 0.3,
    "trust.nominal_dwell_s": 0.6,
    "trust.stop_dwell_s": 1.0,
    "trust.recovery_dwell_s": 1.0,
    "trust.speed_cap_share": 0.3,
    "evidence_rate_hz": 10.0,
}
CAP_MPS = 2.4


@pytest.fixture
def car(ros_domain, tmp_path):
    """A car that the test drives in a circle through the gate, with a model that knows the car as it is at first."""
    from harness import running
    from serving_toys import save

    vehicle = config_file("vehicles", "f1tenth", ".yaml")
    save(tmp_path / "model", error_m=0.1)
    common = {"vehicle": vehicle, "use_sim_time": True}
    # At half of real time a busy machine still keeps the pace.
    plant = {"track": config_file("tracks", "demo", ".csv"), "publish_clock": True, "real_time_factor": 0.5}
    graph = Graph(
        (
            NodeSpec("simulator", {"vehicle": vehicle, "truth_rate_hz": 100.0, **plant}),
            NodeSpec(
                "command_gate",
                {**common, "gate.require_engage": False},
                remappings={"command": "/driver/command", "trust": "/dynamics_server/trust"},
            ),
            NodeSpec("dynamics_server", {**common, **TRUST, "model": str(tmp_path / "model")}),
        )
    )
    with running(graph, tmp_path / "logs") as (processes, bench):
        yield Driver(processes, bench)


class Driver:
    """Holds a circle at constant speed, whatever is said of the model, and tells the truth as the estimate."""

    def __init__(self, processes, bench):
        from ackermann_msgs.msg import AckermannDriveStamped
        from diagnostic_msgs.msg import DiagnosticArray
        from mbrl_ros.msg import ModelTrust, VehicleState
        from nav_msgs.msg import Odometry

        from mbrl_ros.nodes.shared import quality

        self.processes, self.bench, self.speed, self.wanted = processes, bench, 0.0, 3.0
        self.states = bench.node.create_publisher(VehicleState, "/vehicle_state", quality.STATE)
        self.commands = bench.node.create_publisher(AckermannDriveStamped, "/driver/command", quality.COMMAND)
        bench.node.create_subscription(Odometry, "/ground_truth", self.on_truth, quality.COMMAND)
        bench.listen("/dynamics_server/trust", ModelTrust, quality.LATCHED)
        bench.listen("/diagnostics", DiagnosticArray, quality.STATE)

    def on_truth(self, message):
        import numpy as np

        from mbrl_ros.core.command_gate import Command
        from mbrl_ros.nodes.shared.messages import drive_message, to_seconds, vehicle_state_message, yaw_of

        stamp_s, pose, twist = to_seconds(message.header.stamp), message.pose.pose, message.twist.twist
        self.speed = twist.linear.x
        acceleration = min(max(3.0 * (self.wanted - self.speed), -4.0), 4.0)
        motion = [pose.position.x, pose.position.y, yaw_of(pose.orientation), self.speed, twist.linear.y]
        state = np.array([*motion, twist.angular.z, STEERING, 0.0, 0.0])
        self.states.publish(vehicle_state_message(stamp_s, state, np.eye(9), "odom", "base_link", "cg"))
        self.commands.publish(drive_message(Command(STEERING, 3.2, self.speed, acceleration, 100.0), stamp_s))

    def set_grip(self, scale):
        from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
        from rcl_interfaces.srv import SetParameters

        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=scale)
        request = SetParameters.Request(parameters=[Parameter(name="friction_scale", value=value)])
        assert self.bench.call(SetParameters, "/simulator/set_parameters", request).results[0].successful

    def trust(self):
        return self.bench.latest("/dynamics_server/trust") if self.bench.count("/dynamics_server/trust") else None

    def until(self, condition, what, timeout_s=90.0):
        def holds():
            ended = self.processes.ended()
            assert ended is None, f"{ended.node} ended: {ended.log.read_text()[-2000:]}"
            return self.trust() is not None and condition(self.trust())

        self.bench.spin_until(holds, timeout_s, what)

    def levels(self):
        """Levels in the order in which they were published, each once."""
        seen = [message.level for _, message in self.bench.received["/dynamics_server/trust"]]
        return [level for k, level in enumerate(seen) if k == 0 or level != seen[k - 1]]

    def counted(self, name):
        """The gate's counter ``name``, as its diagnostics say."""
        for _, array in reversed(self.bench.received["/diagnostics"]):
            for status in array.status:
                if status.name.startswith("command_gate"):
                    return int({pair.key: pair.value for pair in status.values}.get(name, "0"))
        return 0


def test_lost_grip_leads_from_trusted_to_stop_and_a_reset_on_good_grip_back(car):
    from std_srvs.srv import Trigger

    car.until(lambda trust: car.speed > 2.8 and trust.residual > 0.0, "at speed, and the model is judged")
    first = car.trust()
    assert (first.level, first.speed_cap) == (first.TRUSTED, float("inf"))

    car.set_grip(0.3)
    car.until(lambda trust: trust.level == trust.CAUTIOUS, "cautious")
    assert car.trust().speed_cap == pytest.approx(CAP_MPS)
    assert "residual" in car.trust().reason
    car.until(lambda trust: car.speed < CAP_MPS + 0.2, "the gate holds the speed cap")
    car.until(lambda trust: car.counted("clamped to speed cap") > 0, "the gate says that it did")

    car.set_grip(0.08)
    car.until(lambda trust: trust.level == trust.STOP, "stopped for distrust")
    car.until(lambda trust: abs(car.speed) < 0.1, "the gate brakes")
    car.until(lambda trust: car.counted("stops for distrust") == 1, "the gate says why")
    nominal = car.trust().nominal_id
    assert nominal != car.trust().model_id

    car.set_grip(1.0)
    assert car.trust().level == car.trust().STOP
    # The car may slide sideways for a moment longer.
    while not (answer := car.bench.call(Trigger, "/dynamics_server/reset_trust", Trigger.Request())).success:
        assert "car drives" in answer.message
        car.bench.spin_for(0.2)
    car.until(lambda trust: trust.level == trust.CAUTIOUS, "on probation")
    car.until(lambda trust: trust.level == trust.TRUSTED, "trusted again")
    car.until(lambda trust: car.speed > 2.8, "no cap any more")
    rising = car.levels()
    assert rising[: rising.index(3) + 1] == [0, 1, 2, 3]
    assert rising[rising.index(3) + 1 :] == [1, 0]

    os.kill(car.processes.pid("dynamics_server"), signal.SIGKILL)
    car.bench.spin_until(lambda: abs(car.speed) < 0.1, 60.0, "the gate brakes when trust falls silent")
