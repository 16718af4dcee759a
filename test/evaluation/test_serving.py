"""Swaps with proof, taking back, and evidence: all without ROS, on a simulated car."""

import math
from dataclasses import replace

import pytest
import torch
from serving_toys import UNFIT, VEHICLE, ScriptedDrive, learned, save, unfit

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.trust import Evidence, TrustLevel, TrustSettings
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.evidence import evidence, held_out_error
from mbrl_ros.evaluation.proof import ProofSettings
from mbrl_ros.evaluation.serving import ModelInForce, read
from mbrl_ros.models import passport
from mbrl_ros.models.learned import LearnedModel, Regimes

SLIPPERY = {"friction_front": 0.15, "friction_rear": 0.15}


def serve(tmp_path, first="kinematic_bicycle", proof=None, **scores) -> ModelInForce:
    save(tmp_path / "first", first, **scores)
    save(tmp_path / "nominal", "kinematic_bicycle")
    settings = ProofSettings.model_validate(proof or {})
    return ModelInForce(read(tmp_path / "first"), read(tmp_path / "nominal"), settings, TrustSettings(), VEHICLE)


@pytest.fixture(scope="module")
def fast():
    """Ten seconds near the tyres' limit."""
    return ScriptedDrive().drive(10.0, 3.0, steering=0.2)


def test_a_better_model_takes_over_and_a_worse_one_is_refused_with_both_figures(tmp_path, fast):
    models = serve(tmp_path)
    first = models.present
    better = save(tmp_path / "better")
    words = models.load(tmp_path / "better", fast)
    assert models.present.id == better
    assert models.previous is first
    assert better in words and first.id in words and words.count(" m") >= 2
    with pytest.raises(ModelError, match=rf"{first.id} misses .* by \d\.\d+ m, {better} by \d\.\d+ m"):
        models.load(tmp_path / "first", fast)
    assert models.present.id == better
    assert models.previous is first
    # What is as good as the present one is no worse.
    models.load(tmp_path / "better", fast)


@pytest.mark.parametrize(("allow", "accepted"), [(False, False), (True, True)])
def test_too_little_driving_proves_nothing(tmp_path, allow, accepted):
    models = serve(tmp_path, proof={"allow_unproven": allow})
    save(tmp_path / "other", wheelbase=0.3)
    assert "nothing has been driven" in models.load(tmp_path / "other", Driven(30.0))
    little = ScriptedDrive().drive(2.0, 2.0)
    if accepted:
        assert "1.9 s driven, too little" in models.load(tmp_path / "first", little)
    else:
        with pytest.raises(ModelError, match=r"driven, too little .* 5 s are needed.*allow_unproven"):
            models.load(tmp_path / "first", little)
    assert (models.present.folder.name == "first") == accepted


def test_driving_is_enough_once_both_models_can_begin_in_it(tmp_path):
    models, other = serve(tmp_path, proof={"least_s": 2.0}), learned(tmp_path / "other").model
    regimes = Regimes(({"friction_front": 0.5, "friction_rear": 0.5},), 4.0, (1.0, 1.0))
    long = LearnedModel(other.base, replace(other.config, regimes=regimes), other.mean, other.std).double()
    newcomer, drive = passport.in_memory(long), ScriptedDrive()
    soon = drive.drive(4.0, 2.0).copy()
    assert models.provable(passport.in_memory(other), soon)
    assert not models.provable(newcomer, soon)
    passport.save(long, tmp_path / "newcomer", passport.Provenance())
    with pytest.raises(ModelError, match="too little"):
        models.load(tmp_path / "newcomer", soon)
    assert models.provable(newcomer, drive.drive(2.5, 2.0))


def test_a_person_may_roll_back_without_proof_and_a_missing_model_is_said(tmp_path, fast):
    models = serve(tmp_path, "single_track")
    with pytest.raises(ModelError, match="no previous model"):
        models.roll_back()
    models.load(tmp_path / "first", fast)
    models.roll_back()
    assert models.present.folder.name == "first"
    with pytest.raises(ModelError, match="cannot be read"):
        models.load(tmp_path / "nowhere", fast)


@pytest.mark.parametrize("kind", UNFIT)
def test_what_cannot_drive_the_car_is_refused_and_changes_nothing(tmp_path, fast, kind):
    models = serve(tmp_path)
    before = (models.present, models.previous, models.standing)
    folder, words = unfit(kind, tmp_path)
    with pytest.raises(ModelError, match=words) as error:
        models.load(folder, fast)
    assert str(folder) in str(error.value)
    assert (models.present, models.previous, models.standing) == before


def test_a_model_that_fails_is_taken_back_where_the_one_before_does_better(tmp_path):
    models = serve(tmp_path, "single_track", proof={"tolerance": 10.0}, error_m=0.1)
    save(tmp_path / "slippery", error_m=0.05, **SLIPPERY)
    drive = ScriptedDrive()
    # Nobody can tell at walking pace.
    models.load(tmp_path / "slippery", drive.drive(8.0, 1.0, steering=0.1))
    assert models.watch(drive.driven.copy()) == ""
    words = [models.watch(drive.drive(0.3, 3.2, steering=0.2).copy()) for _ in range(20)]
    (said,) = (word for word in words if word)
    assert "times the held-out error" in said
    assert models.present.folder.name == "first"
    assert models.previous is None


def test_a_model_that_fails_stays_where_the_one_before_would_do_worse(tmp_path):
    models = serve(tmp_path, "kinematic_bicycle", proof={"rollback_residual": 2.0})
    save(tmp_path / "boastful", error_m=0.01)
    drive = ScriptedDrive()
    models.load(tmp_path / "boastful", drive.driven)
    drive.drive(8.0, 3.2, steering=0.2)
    drive.simulator.set_friction_scale(0.4)
    worst = 0.0
    for _ in range(20):
        assert models.watch(drive.drive(0.3, 3.2, steering=0.2).copy()) == ""
        worst = max(worst, models.standing.evidence.residual)
    assert worst > 2.0
    assert models.present.folder.name == "boastful"


def test_grip_that_is_lost_is_noticed_and_standing_does_not_restore_trust(tmp_path):
    models = serve(tmp_path, "single_track", error_m=0.1)
    drive = ScriptedDrive()
    for _ in range(20):
        models.watch(drive.drive(0.4, 3.0, steering=0.2).copy())
        assert models.standing.level is TrustLevel.TRUSTED
    drive.simulator.set_friction_scale(0.1)
    levels = []
    for _ in range(40):
        models.watch(drive.drive(0.25, 3.0, steering=0.2).copy())
        levels.append(models.standing.level)
    assert levels == sorted(levels)
    assert levels[-1] >= TrustLevel.NOMINAL
    assert "residual" in models.standing.reason
    drive.drive(8.0, 0.0)
    judged_s = drive.driven.stamp_s
    drive.drive(3.0, 0.0)
    assert drive.driven.standing
    assert drive.driven.stamp_s == judged_s


def test_judging_that_fails_is_counted_and_ends_in_a_stop_that_says_why(tmp_path, fast, monkeypatch):
    models = serve(tmp_path, "single_track", error_m=0.1)
    drive = ScriptedDrive()
    models.watch(drive.drive(3.0, 3.0).copy())
    assert (models.standing.level, models.standing.failures) == (TrustLevel.TRUSTED, 0)
    with monkeypatch.context() as broken:
        broken.setattr(models.present.loaded.model, "forward", lambda *_: [][0])
        for _ in range(10):
            with pytest.raises(IndexError):
                models.watch(drive.drive(0.3, 3.0).copy())
    assert (models.standing.level, models.standing.failures) == (TrustLevel.STOP, 10)
    assert models.standing.reason == "it cannot be judged: IndexError: list index out of range"
    assert models.standing.unjudged
    models.watch(drive.drive(0.3, 3.0).copy())
    assert (models.standing.level, models.standing.unjudged) == (TrustLevel.STOP, "")


def test_driving_that_was_forgiven_stays_so_only_until_time_is_set_back(tmp_path):
    models = serve(tmp_path, "single_track", error_m=0.1)
    drive = ScriptedDrive()
    models.reset_trust(drive.drive(40.0, 0.0).copy())
    drive.drive(1.0, 2.0)
    models.watch(ScriptedDrive().drive(3.0, 3.0).copy())
    assert models.standing.evidence.residual > 0.0


def test_trust_is_reset_only_while_the_car_stands(tmp_path, fast):
    models = serve(tmp_path)
    with pytest.raises(ModelError, match="car drives"):
        models.reset_trust(fast)
    models.reset_trust(Driven(10.0))
    assert models.standing.level is TrustLevel.TRUSTED


def test_the_nominal_model_is_found_by_its_id_and_others_are_not(tmp_path):
    models = serve(tmp_path, "single_track")
    assert models.find("") is models.find(models.present.id) is models.present
    assert models.find(models.nominal.id) is models.nominal
    with pytest.raises(ModelError, match="not abc"):
        models.find("abc")


def test_a_learned_model_is_judged_by_novelty_and_disagreement_too(tmp_path):
    calm = ScriptedDrive().drive(4.0, 3.0)
    agreeing = learned(tmp_path / "agreeing", trained=False)
    found = evidence(agreeing, calm)
    assert found.disagreement < 1e-9
    assert 0.0 < found.novelty < 1.0
    assert 0.0 < found.residual < 3.0
    disagreeing = evidence(learned(tmp_path / "disagreeing"), calm)
    assert disagreeing.disagreement > 0.1
    wild = evidence(agreeing, ScriptedDrive().drive(4.0, 6.0, steering=0.35))
    assert wild.novelty > 1.5 * found.novelty


def test_a_model_that_predicts_nothing_finite_stops_the_car_and_gives_way_to_any_other(tmp_path):
    models = serve(tmp_path, proof={"rollback_dwell_s": 60.0})
    learned(tmp_path / "car", trained=False)
    models.load(tmp_path / "car", Driven(30.0))
    torch.nn.init.constant_(models.present.loaded.model.head.layers[-1].weight, math.nan)
    drive = ScriptedDrive()
    for _ in range(20):
        models.watch(drive.drive(0.3, 3.0).copy())
    found = models.standing.evidence
    assert (found.disagreement, found.residual) == (math.inf, math.inf)
    assert models.standing.level is TrustLevel.STOP
    save(tmp_path / "sane")
    assert "by inf m" in models.load(tmp_path / "sane", drive.driven)


def test_a_model_that_predicts_nothing_finite_is_taken_back(tmp_path):
    models = serve(tmp_path)
    learned(tmp_path / "car", trained=False)
    models.load(tmp_path / "car", Driven(30.0))
    torch.nn.init.constant_(models.present.loaded.model.head.layers[-1].weight, math.nan)
    drive = ScriptedDrive()
    assert any(models.watch(drive.drive(0.3, 3.0).copy()) for _ in range(20))
    assert models.present.folder.name == "first"


def test_evidence_is_unknown_without_driving_or_without_a_held_out_error(tmp_path, fast):
    save(tmp_path / "unscored")
    unscored = passport.load(tmp_path / "unscored")
    assert held_out_error(unscored.passport) is None
    for found in (evidence(unscored, fast), evidence(learned(tmp_path / "car"), Driven(30.0))):
        assert (found.novelty, found.disagreement) == (0.0, 0.0)
        assert math.isnan(found.residual)
    assert not Evidence().complete


def test_the_residual_is_the_live_error_in_units_of_the_held_out_one(tmp_path, fast):
    ids = [save(tmp_path / str(error), error_m=error) for error in (0.3, 0.6)]
    first, second = (evidence(passport.load(tmp_path / str(error)), fast).residual for error in (0.3, 0.6))
    assert first == pytest.approx(2.0 * second)
    assert ids[0] != ids[1]
    assert held_out_error(passport.load(tmp_path / "0.3").passport) == (1.0, 0.3)
    stated = learned(tmp_path / "car").passport
    assert held_out_error(stated) == pytest.approx((0.5, 0.5 * math.hypot(0.1, 0.05)))
