"""Settings of planners that may take over from each other."""

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from mbrl_ros.bringup.graph import DriveOptions, vehicle_graph
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.planning.settings import PlannerName, RacingPlannerSettings, by_planner


def file(folder, name, **given):
    """A planner's file, as YAML takes it."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"planner": name, "task": {"acceleration_limit_mps2": 4.0}} | given))
    return str(path)


def test_each_planner_plans_with_its_own_file_and_without_one_with_that_of_the_first(tmp_path):
    own = RacingPlannerSettings.model_validate({"task": {"acceleration_limit_mps2": 5.5}, "ddp": {"horizon": 7}})
    found = by_planner(own, [file(tmp_path, "mcts", mcts={"rounds": 3})])
    assert {name: settings.planner for name, settings in found.items()} == {
        name: name for name in get_args(PlannerName)
    }
    limits = {name: settings.task.acceleration_limit_mps2 for name, settings in found.items()}
    assert limits == {"mppi": 5.5, "ddp": 5.5, "mcts": 4.0}
    assert (found["mcts"].mcts.rounds, found["ddp"].ddp.horizon) == (3, 7)


def test_files_that_do_not_go_together_are_refused(tmp_path):
    own = RacingPlannerSettings.model_validate({"task": {"acceleration_limit_mps2": 5.5}})
    twice = [file(tmp_path, "mcts")] * 2
    with pytest.raises(ConfigError, match=r"mcts.yaml is for planner mcts, too"):
        by_planner(own, twice)
    with pytest.raises(ConfigError, match=r"mppi.yaml: the node's own file is for planner mppi, too"):
        by_planner(own, [file(tmp_path, "mppi")])
    with pytest.raises(ConfigError, match="cannot be read"):
        by_planner(own, [str(tmp_path / "none.yaml")])


def test_the_loop_and_the_number_of_obstacles_outlive_a_change_of_planner(tmp_path):
    task = {"acceleration_limit_mps2": 5.5, "obstacles": 2}
    own = RacingPlannerSettings.model_validate({"loop": {"follow_gains": True}, "task": task})
    found = by_planner(own, [file(tmp_path, "mcts", loop={"plan_timeout_s": 0.2})])["mcts"]
    assert (found.loop, found.task.obstacles) == (own.loop, 2)
    assert found.task.acceleration_limit_mps2 == 4.0


def test_a_shadow_by_name_has_the_file_that_this_planner_would_take_over_with():
    for wanted, expected in (("mcts", "mcts_f1tenth"), ("mppi", "mppi_f1tenth")):
        graph = vehicle_graph(DriveOptions(planner="mppi_f1tenth", shadow=wanted))
        (shadow,) = (spec for spec in graph.nodes if spec.name == "shadow_planner")
        assert Path(shadow.parameters["config"]).stem == expected
        assert shadow.parameters["others"] == ""


def test_the_files_in_config_planners_for_one_car_go_together():
    for driving in ("mppi_f1tenth", "mppi_f1tenth_grip", "mcts_f1tenth"):
        (planner,) = (spec for spec in vehicle_graph(DriveOptions(planner=driving)).nodes if spec.node == "planner")
        others = planner.parameters["others"].split(os.pathsep)
        own = read_settings(planner.parameters["config"], RacingPlannerSettings)
        found = by_planner(own, others)
        there = [own, *(read_settings(path, RacingPlannerSettings) for path in others)]
        assert len({settings.planner for settings in there}) == len(there)
        for settings in there:
            assert found[settings.planner].task.acceleration_limit_mps2 == settings.task.acceleration_limit_mps2
