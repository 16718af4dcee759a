"""The whole graph over real topics: whatever fails, the car brakes within a quarter of a second."""

import math
import signal
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml

from mbrl_ros.bringup.graph import SimulationOptions, config_file, simulation_graph

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def car(ros_domain_of_module, tmp_path_factory):
    """A car with fewer rollouts than on a car, so that CI keeps the pace, on a road so wide that it can drive on from
    wherever it is stopped, without backing up."""
    from ackermann_msgs.msg import AckermannDriveStamped
    from harness import Car, running
    from mbrl_ros.msg import PlannerStatus
    from nav_msgs.msg import Odometry

    from mbrl_ros.core.track import Track
    from mbrl_ros.nodes.shared import quality

    folder = tmp_path_factory.mktemp("faults")
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"]["rollouts"] = 256
    planner = folder / "planner.yaml"
    planner.write_text(yaml.safe_dump(settings))
    angles, road = np.linspace(0.0, 2 * np.pi, 200, endpoint=False), folder / "road.csv"
    Track(10.0 * np.column_stack([np.sin(angles), 1.0 - np.cos(angles)]), *np.full((2, 200), 2.5)).to_csv(road)
    # At a third of real time a machine that runs everything at once still keeps the pace; what is measured is
    # measured in the car's own time.
    options = SimulationOptions(planner=str(planner), track=str(road), use_sim_time=True, real_time_factor=0.3)
    with running(simulation_graph(options), folder / "logs") as (processes, bench):
        bench.listen("/ground_truth", Odometry, quality.STATE)
        bench.listen("/drive", AckermannDriveStamped, quality.COMMAND)
        bench.listen("/planner/status", PlannerStatus, quality.STATE)
        yield Car(processes, bench)


@pytest.fixture
def driving(car):
    """The car at speed; every test leaves it able to drive."""
    car.wait_for_speed(2.0, timeout_s=240.0)
    return car


@pytest.mark.parametrize("node", ["state_estimator", "dynamics_server", "planner", "command_gate"])
def test_killing_a_node_brakes_the_car_and_it_drives_on_when_the_node_is_there_again(driving, node):
    driving.assert_brakes(lambda: driving.signal(node, signal.SIGKILL))
    driving.start_again(node)
    driving.wait_for_speed(2.0, timeout_s=120.0)


def test_the_car_brakes_at_each_disturbance_of_a_drive_and_drives_on_after_it(driving):
    from ackermann_msgs.msg import AckermannDriveStamped
    from std_msgs.msg import Bool
    from std_srvs.srv import Trigger

    node, bench = driving.bench.node, driving.bench
    # A stall just long enough to leave a backlog: the estimator must work it off faster than it grows.
    driving.signal("state_estimator", signal.SIGSTOP)
    bench.spin_for(1.0)
    driving.signal("state_estimator", signal.SIGCONT)
    bench.spin_for(2.0)
    driving.wait_for_speed(2.0)

    driving.assert_brakes(lambda: driving.signal("state_estimator", signal.SIGSTOP))
    driving.signal("state_estimator", signal.SIGCONT)
    driving.wait_for_speed(2.0)

    estop = node.create_publisher(Bool, "/estop", 10)
    bench.spin_until(lambda: estop.get_subscription_count() > 0, 60.0, "the gate hears /estop")
    with ExitStack() as pressed:
        driving.assert_brakes(lambda: pressed.enter_context(bench.saying(estop, Bool(data=True), every_s=0.1)))
    assert bench.call(Trigger, "/command_gate/reset_estop", Trigger.Request()).success
    driving.wait_for_speed(2.0)

    intruder = node.create_publisher(AckermannDriveStamped, "/planner/command", 1)
    wild = AckermannDriveStamped()
    wild.header.stamp = node.get_clock().now().to_msg()
    wild.drive.acceleration = math.nan

    def intrude():
        bench.spin_until(lambda: intruder.get_subscription_count() > 0, 60.0, "the gate hears the intruder")
        intruder.publish(wild)

    driving.assert_brakes(intrude)
    node.destroy_publisher(intruder)
    driving.wait_for_speed(2.0)


def test_a_deactivated_planner_stops_the_car_and_an_activated_one_drives_on(driving):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return driving.bench.call(ChangeState, "/planner/change_state", request).success

    driving.assert_brakes(lambda: change(Transition.TRANSITION_DEACTIVATE))
    before = driving.bench.count("/planner/status")
    assert change(Transition.TRANSITION_ACTIVATE)
    driving.wait_for_speed(2.0)
    assert driving.bench.latest("/planner/status").model_id
    assert min(message.cycles for _, message in driving.bench.received["/planner/status"][before:]) == 1
