"""What is said of a model that was fitted, beside its scores."""

from mbrl_ros.evaluation.fitting import held_out_scores
from mbrl_ros.models.parametric import build


def test_a_model_that_knows_less_than_a_baseline_is_doubted(weaving):
    straight = build("kinematic_bicycle", {}, dt=0.02)  # no steering was recorded
    scores, doubts = held_out_scores(straight, [weaving], "time:0.8", (0.5, 1.0))
    assert [score.horizon_s for score in scores] == [0.5, 1.0]
    assert len(doubts) == 2
    for doubt, horizon in zip(doubts, ("0.5 s", "1 s"), strict=True):
        assert doubt.startswith(f"after {horizon} the baseline 'linear' is nearer to the held-out driving")
        assert "--vehicle" in doubt
