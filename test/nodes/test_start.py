"""A planner drives from its first moment on, before anything is compiled, and faster once it is."""

import math
from pathlib import Path

import pytest
import yaml

from mbrl_ros.bringup.graph import SimulationOptions, config_file, simulation_graph

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]

SLOW_MPS, FAST_MPS = 2.0, 2.4
"""Top speed until all is compiled, as the planner node has it, and one that only then is reached."""

COMPILER = """#!/bin/sh
while [ ! -e {there} ]; do sleep 0.05; done
exec g++ "$@"
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """File that the only compiler waits for, and nothing is compiled yet."""
    program, there = tmp_path / "waits", tmp_path / "there"
    program.write_text(COMPILER.format(there=there))
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path / "cache"))
    return there


def planned_with(folder: Path) -> str:
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"] |= {"horizon": 30, "dt_s": 0.06, "eager_rollouts": 64}
    path = folder / "planner.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def test_a_car_is_driven_slowly_until_what_plans_is_compiled_and_is_not_held_up(ros_domain, compiler, tmp_path):
    from ackermann_msgs.msg import AckermannDriveStamped
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from harness import Car, running
    from mbrl_ros.msg import PlannerStatus
    from nav_msgs.msg import Odometry

    from mbrl_ros.nodes.shared import quality

    # Plain torch has to keep up on a busy machine, too.
    options = SimulationOptions(planner=planned_with(tmp_path), use_sim_time=True, real_time_factor=0.2)
    with running(simulation_graph(options), tmp_path / "logs") as (processes, bench):
        bench.listen("/ground_truth", Odometry, quality.STATE)
        bench.listen("/planner/command", AckermannDriveStamped, quality.COMMAND)
        bench.listen("/planner/status", PlannerStatus, quality.STATE)
        bench.listen("/diagnostics", DiagnosticArray, quality.STATE)
        car = Car(processes, bench)

        def told():
            statuses = [status for _, array in bench.received["/diagnostics"] for status in array.status]
            return [(status.level, status.message) for status in statuses if status.name == "planner: planning"]

        car.wait_for_speed(1.5, timeout_s=240.0)
        car.drive_for(0.3)
        waiting = "planning, but eager, no faster than 2 m/s: 64 of 1024 rollouts until these are compiled"
        assert told()[-1] == (DiagnosticStatus.WARN, waiting)
        assert {status.backend for _, status in bench.received["/planner/status"]} == {"eager"}
        assert car.truth()[:, 1].max() < SLOW_MPS + 0.1
        moving = len(car.truth())

        compiler.touch()
        bench.spin_until(lambda: bench.latest("/planner/status").backend == "fused", 60.0, "kernels")
        car.wait_for_speed(FAST_MPS)
        bench.spin_until(lambda: told()[-1] == (DiagnosticStatus.OK, "planning"), 10.0, "all is well")
        assert car.truth()[moving:, 1].min() > 1.0, "the car was held up"
        commands = [message.drive for _, message in bench.received["/planner/command"]]
        assert all(math.isfinite(value) for drive in commands for value in (drive.speed, drive.steering_angle))
