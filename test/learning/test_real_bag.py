"""A few epochs on a real log; the figures of whole trainings stand in the README beside their commands."""

from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import held_out_scores, training_parts
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.training import train

RECIPE = {
    "physics": "kinematic_bicycle",
    "identification": {"horizon_s": 1.0, "max_windows": 60},
    "network": {"kind": "gru", "members": 1, "hidden": 16, "history_s": 0.5},
    "training": {"horizon_s": 1.0, "start_every_s": 0.4, "epochs": 5, "batch": 64, "learning_rate": 0.008},
}


def test_the_last_half_second_tells_what_physics_cannot(shared_data, tmp_path):
    drive = read_drive(shared_data / "bags" / "genesis_fast_lap", mean_commands=True)
    trained = train(training_parts([drive], "time:0.8"), Recipe.model_validate(RECIPE), tmp_path)
    scores = [held_out_scores(m, [drive], "time:0.8", (1.0,))[0][0].ade_m for m in (trained.model, trained.model.base)]
    assert scores[0] < 0.9 * scores[1]
