"""The planner of a driving car: another one takes its place by a parameter, a second one watches."""

import signal
from pathlib import Path
from typing import get_args

import pytest
import yaml

from mbrl_ros.bringup.graph import SimulationOptions, config_file, simulation_graph
from mbrl_ros.planning.settings import PlannerName

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]

SMALL = {"ddp": {"horizon": 12, "dt_s": 0.1, "iterations": 1, "backend": "eager"}}
"""Settings of other planners that need no compiling, which takes a minute."""
OTHERS = [name for name in SMALL if name in get_args(PlannerName)]


@pytest.fixture(scope="module")
def driving(ros_domain_of_module, tmp_path_factory):
    """A car with a shadow that drives slowly, so that planners may be poor, and late on a busy machine."""
    from harness import Car, running
    from mbrl_ros.msg import PlannerAgreement, PlannerStatus
    from nav_msgs.msg import Odometry

    from mbrl_ros.nodes.shared import quality

    folder = tmp_path_factory.mktemp("planner")
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"]["rollouts"] = 128
    settings |= {name: SMALL[name] for name in OTHERS}
    settings["task"]["speed_limit_mps"] = 1.5
    planner = folder / "planner.yaml"
    planner.write_text(yaml.safe_dump(settings))
    options = SimulationOptions(planner=str(planner), shadow="mppi", use_sim_time=True, real_time_factor=0.2)
    with running(simulation_graph(options), folder / "logs") as (processes, bench):
        bench.listen("/ground_truth", Odometry, quality.STATE)
        bench.listen("/planner/status", PlannerStatus, quality.STATE)
        bench.listen("/shadow_planner/agreement", PlannerAgreement, quality.STATE)
        car = Car(processes, bench)
        car.wait_for_speed(1.0, timeout_s=240.0)
        yield car


def choose(driving, name):
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter("planner", value=name).to_parameter_msg()])
    return driving.bench.call(SetParameters, "/planner/set_parameters", request, timeout_s=60.0).results[0]


def plans_with(driving):
    return driving.bench.latest("/planner/status").planner


def test_a_planner_that_there_is_not_is_refused_with_those_there_are(driving):
    answer = choose(driving, "dwa")
    assert not answer.successful
    assert "field 'planner': Input should be 'mppi'" in answer.reason
    assert plans_with(driving) == "mppi"


def test_another_planner_takes_over_and_goes_back_while_the_car_drives(driving):
    since = len(driving.truth())
    for name in (*OTHERS, "mppi"):
        assert choose(driving, name).successful
        driving.bench.spin_until(lambda name=name: plans_with(driving) == name, 120.0, f"{name} plans")
        driving.bench.spin_for(4.0)
        assert plans_with(driving) == name
    assert driving.processes.ended() is None
    assert driving.truth()[since:, 1].min() > 0.5, "the car was held up"


def test_a_shadow_agrees_with_its_like_and_the_car_drives_on_without_it(driving):
    bench, processes = driving.bench, driving.processes
    bench.spin_until(lambda: bench.count("/shadow_planner/agreement") > 50, 60.0, "agreement")
    found = bench.latest("/shadow_planner/agreement")
    assert found.commands > 50
    assert 0.0 < found.steering_rms < 0.2
    driving.signal("shadow_planner", signal.SIGKILL)
    bench.spin_until(lambda: processes.lost() != [], 60.0, "the shadow is gone")
    since = len(driving.truth())
    bench.spin_for(4.0)
    assert processes.ended() is None
    assert [ended.node for ended in processes.lost()] == ["shadow_planner"]
    assert driving.truth()[since:, 1].min() > 0.5, "the car was held up"
