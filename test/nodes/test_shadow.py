"""A planner in shadow mode: it plans as if it drove, says how far it agrees with who does, and never commands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from mbrl_ros.bringup.graph import DriveOptions, Graph, config_file, vehicle_graph
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.track import Track

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]


@pytest.fixture
def planner_file(tmp_path):
    """Small enough to be evaluated without compiling."""
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"] |= {"rollouts": 128, "horizon": 30, "backend": "eager"}
    path = tmp_path / "planner.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def spec_of(graph, node):
    return next(spec for spec in graph.nodes if spec.node == node)


def test_a_graph_has_a_second_planner_only_where_asked_by_name_or_by_file():
    assert [spec.node for spec in vehicle_graph(DriveOptions()).nodes].count("shadow_planner") == 0
    by_name = spec_of(vehicle_graph(DriveOptions(shadow="mppi")), "shadow_planner")
    assert by_name.executable == "planner"
    assert by_name.dispensable
    assert by_name.parameters["shadow"] is True
    assert by_name.parameters["planner"] == "mppi"
    assert by_name.parameters["config"] == spec_of(vehicle_graph(DriveOptions()), "planner").parameters["config"]
    by_file = spec_of(vehicle_graph(DriveOptions(shadow="mppi_f1tenth_grip")), "shadow_planner")
    assert by_file.parameters["config"] == config_file("planners", "mppi_f1tenth_grip", ".yaml")
    with pytest.raises(ConfigError, match=r"config/planners has no 'nobody\.yaml'"):
        vehicle_graph(DriveOptions(shadow="nobody"))


class Driver:
    """Car and driver of a shadow planner, played by the test, which holds the clock."""

    def __init__(self, bench):
        from ackermann_msgs.msg import AckermannDriveStamped
        from mbrl_ros.msg import PlannedTrajectory, PlannerAgreement, VehicleState
        from rosgraph_msgs.msg import Clock

        from mbrl_ros.nodes.shared import quality

        self.bench, self.now_s = bench, 100.0
        bench.listen("/shadow_planner/plan", PlannedTrajectory, quality.STATE)
        bench.listen("/shadow_planner/agreement", PlannerAgreement, quality.STATE)
        self._clock = bench.node.create_publisher(Clock, "/clock", 10)
        self._states = bench.node.create_publisher(VehicleState, "/vehicle_state", quality.STATE)
        self._drives = bench.node.create_publisher(AckermannDriveStamped, "/drive", quality.SENT)
        self._start = Track.from_csv(config_file("tracks", "demo", ".csv")).at(0.0)

    def cycle(self):
        """Time passes, a state is observed and something is sent."""
        from mbrl_ros.msg import VehicleState
        from rosgraph_msgs.msg import Clock

        from mbrl_ros.nodes.shared.messages import to_stamp

        self.now_s += 0.02
        self._clock.publish(Clock(clock=to_stamp(self.now_s)))
        state = VehicleState(reference_point="cg", vx=2.0, yaw=float(self._start.heading))
        state.x, state.y = map(float, self._start.position)
        state.header.frame_id, state.header.stamp = "odom", to_stamp(self.now_s)
        self._states.publish(state)
        self.send(self.now_s, np.zeros(2))
        self.bench.spin_for(0.05)

    def send(self, stamp_s, action):
        from ackermann_msgs.msg import AckermannDriveStamped

        from mbrl_ros.nodes.shared.messages import to_stamp

        message = AckermannDriveStamped()
        message.header.stamp = to_stamp(stamp_s)
        message.drive.steering_angle, message.drive.acceleration = map(float, action)
        self._drives.publish(message)

    def newest_plan(self):
        from mbrl_ros.nodes.shared.messages import to_seconds

        message = self.bench.latest("/shadow_planner/plan")
        actions = np.reshape(message.controls.actions, (-1, 2))
        return ControlSequence(to_seconds(message.header.stamp), message.dt, actions, ACTIONS["acceleration"])


def test_what_was_sent_is_compared_with_the_plan_at_the_same_stamp(ros_domain, tmp_path, planner_file):
    from harness import running

    graph = vehicle_graph(DriveOptions(planner=planner_file, shadow="mppi", use_sim_time=True))
    shadow, server = (spec_of(graph, node) for node in ("shadow_planner", "dynamics_server"))
    shadow = replace(shadow, parameters={**shadow.parameters, "shadow_window_s": 0.1})
    server = replace(server, parameters={**server.parameters, "use_sim_time": False})  # its heartbeat goes on
    with running(Graph((server, shadow)), tmp_path / "logs") as (processes, bench):
        driver = Driver(bench)

        def compared():
            driver.cycle()
            assert processes.ended() is None
            assert processes.lost() == []
            return bench.count("/shadow_planner/agreement") > 3

        bench.spin_until(compared, 60.0, "agreement")
        bench.spin_for(0.5)  # the clock stands, so that the plan that was made last is the one in force
        plan, before = driver.newest_plan(), bench.count("/shadow_planner/agreement")
        off = np.array([0.05, -0.4])
        for k in range(5):
            stamp_s = plan.stamp_s + 0.5 + 0.02 * k
            driver.send(stamp_s, plan.at(stamp_s) - off * (-1) ** k)
        bench.spin_until(lambda: bench.count("/shadow_planner/agreement") == before + 5, 60.0, "all are compared")
        driver.send(plan.stamp_s + 0.6, np.full(2, np.nan))
        driver.send(plan.end_s + 1.0, np.zeros(2))  # nobody knows what would have been sent then
        bench.spin_for(0.3)
        assert bench.count("/shadow_planner/agreement") == before + 5
        found = bench.latest("/shadow_planner/agreement")
        assert (found.planner, found.commands, found.window) == ("mppi", 5, 0.1)
        assert found.model_id == bench.latest("/shadow_planner/plan").model_id
        differences = [found.steering_difference, found.acceleration_difference]
        np.testing.assert_allclose(differences, off, atol=1e-6)
        np.testing.assert_allclose([found.steering_rms, found.acceleration_rms], np.abs(off), atol=1e-6)
        np.testing.assert_allclose([found.steering_bias, found.acceleration_bias], off / 5, atol=1e-6)
        assert bench.node.count_publishers("/shadow_planner/command") == 0
        hearing = bench.node.get_subscriptions_info_by_topic("/planner/obstacles")
        assert [info.node_name for info in hearing] == ["shadow_planner"]
        assert [info.node_name for info in bench.node.get_publishers_info_by_topic("/drive")] == ["bench"]
