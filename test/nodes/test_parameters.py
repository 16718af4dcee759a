"""Parameters as an operator meets them: described, with ranges, fixed unless the node heeds a change."""

import subprocess
import sys
from pathlib import Path

import pytest

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench(ros_domain_of_module, tmp_path_factory):
    from harness import running

    vehicle, track = config_file("vehicles", "f1tenth", ".yaml"), config_file("tracks", "demo", ".csv")
    with running(
        Graph((NodeSpec("simulator", {"vehicle": vehicle, "track": track}),)), tmp_path_factory.mktemp("logs")
    ) as (_, bench):
        yield bench


def change(bench, name, value):
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return bench.call(SetParameters, "/simulator/set_parameters", request, timeout_s=60.0).results[0]


def value_of(bench, name):
    from rcl_interfaces.srv import GetParameters
    from rclpy.parameter import parameter_value_to_python

    (value,) = bench.call(GetParameters, "/simulator/get_parameters", GetParameters.Request(names=[name])).values
    return parameter_value_to_python(value)


def test_what_a_running_node_does_not_heed_it_refuses(bench):
    assert change(bench, "friction_scale", 0.5).successful
    assert value_of(bench, "friction_scale") == 0.5
    for name, value, reason in (
        ("friction_scale", 10.0, "range"),
        ("tick_rate_hz", 200.0, "read-only"),
        ("vehicle", "another.yaml", "read-only"),
    ):
        before, result = value_of(bench, name), change(bench, name, value)
        assert not result.successful
        assert reason in result.reason
        assert value_of(bench, name) == before


def test_each_is_described_with_its_range(bench):
    from rcl_interfaces.srv import DescribeParameters

    names = ["friction_scale", "real_time_factor", "seed", "vehicle"]
    request = DescribeParameters.Request(names=names)
    friction, pace, seed, vehicle = bench.call(
        DescribeParameters, "/simulator/describe_parameters", request, timeout_s=60.0
    ).descriptors
    assert all(item.description for item in (friction, pace, seed, vehicle))
    assert [(r.from_value, r.to_value) for r in friction.floating_point_range] == [(0.05, 3.0)]
    assert [item.read_only for item in (friction, pace, seed, vehicle)] == [False, True, True, True]


def test_the_tables_of_the_readme_are_those_of_the_nodes():
    tables = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "parameter_tables.py")], capture_output=True, text=True, check=True
    ).stdout
    assert "| None |" not in tables, "a parameter without a description"
    assert tables.strip() in (ROOT / "README.md").read_text(), "run `python tools/parameter_tables.py --write`"
