"""Distrust: what raises it, what lowers it, and what never happens whatever the evidence."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from mbrl_ros.core.trust import Evidence, Trust, TrustLevel, TrustSettings

TRUSTED, CAUTIOUS, NOMINAL, STOP = TrustLevel
DT = 0.25
SETTINGS = TrustSettings()


def trust() -> Trust:
    return Trust(SETTINGS, top_speed_mps=8.0)


def judged(subject: Trust, evidence: Evidence, seconds: float, start_s: float = 0.0) -> list[TrustLevel]:
    return [subject.judge(evidence, start_s + DT * k) for k in range(round(seconds / DT) + 1)]


def residual(value: float) -> Evidence:
    return Evidence(residual=value)


def random_evidence(rng: np.random.Generator, count: int) -> list[Evidence]:
    """Stretches of constant evidence, from harmless to beyond every threshold, some of them without a residual."""
    found: list[Evidence] = []
    while len(found) < count:
        novelty, disagreement = rng.uniform(0.0, 3.0, 2)
        known = math.nan if rng.random() < 0.1 else rng.uniform(0.0, 15.0)
        found += [Evidence(novelty, disagreement, known)] * int(rng.integers(1, 40))
    return found[:count]


@pytest.mark.parametrize(
    ("evidence", "level"),
    [
        (Evidence(0.9, 0.9, 3.9), TRUSTED),
        (Evidence(novelty=1.1), CAUTIOUS),
        (Evidence(disagreement=1.1), CAUTIOUS),
        (residual(4.1), CAUTIOUS),
        (Evidence(novelty=2.1), NOMINAL),
        (Evidence(disagreement=2.1), NOMINAL),
        (residual(6.1), NOMINAL),
        (residual(10.1), STOP),
        (Evidence(novelty=1e9, disagreement=1e9, residual=1.0), NOMINAL),
        (Evidence(residual=math.inf), STOP),
    ],
)
def test_evidence_that_lasts_leads_to_its_level_and_says_why(evidence, level):
    subject = trust()
    assert judged(subject, evidence, 30.0)[-1] is level
    assert bool(subject.reason) == (level is not TRUSTED)


def test_each_level_waits_for_its_own_time_and_a_pause_begins_anew():
    subject = trust()
    levels = judged(subject, residual(20.0), 2.0)
    assert [levels.index(level) * DT for level in (CAUTIOUS, NOMINAL, STOP)] == [
        SETTINGS.cautious_dwell_s,
        SETTINGS.nominal_dwell_s,
        SETTINGS.stop_dwell_s,
    ]
    interrupted = trust()
    for k in range(40):
        calm = k % 2 == 0
        assert interrupted.judge(residual(1.0 if calm else 20.0), DT * k) is TRUSTED


def test_comes_back_one_level_at_a_time_each_after_its_time_below_lower_thresholds():
    subject = trust()
    judged(subject, residual(7.0), 3.0)
    between = SETTINGS.recovery_share * SETTINGS.nominal_residual + 0.1
    assert set(judged(subject, residual(between), 60.0, 3.0 + DT)) == {NOMINAL}
    levels = judged(subject, residual(0.5), 11.0, 64.0)
    assert levels == sorted(levels, reverse=True)
    assert [levels.index(level) * DT for level in (CAUTIOUS, TRUSTED)] == [
        SETTINGS.recovery_dwell_s,
        2 * SETTINGS.recovery_dwell_s + DT,
    ]
    assert subject.reason == ""


def test_unknown_evidence_neither_accuses_nor_acquits():
    subject = trust()
    assert judged(subject, Evidence(), 60.0)[-1] is TRUSTED
    judged(subject, residual(7.0), 3.0, 61.0)
    assert set(judged(subject, Evidence(), 60.0, 65.0)) == {NOMINAL}


def test_a_stop_is_latched_until_a_person_resets_it_and_the_car_is_on_probation_then():
    subject = trust()
    judged(subject, residual(20.0), 3.0)
    assert subject.speed_cap_mps == 0.0
    assert set(judged(subject, residual(0.1), 60.0, 4.0)) == {STOP}
    subject.renew()
    assert subject.level is STOP
    subject.reset()
    assert subject.level is CAUTIOUS
    assert subject.speed_cap_mps == pytest.approx(4.0)


def test_another_model_is_not_held_responsible_for_the_last_one():
    subject = trust()
    judged(subject, residual(7.0), 3.0)
    subject.renew()
    assert subject.level is CAUTIOUS
    fresh = trust()
    fresh.renew()
    assert (fresh.level, fresh.speed_cap_mps) == (TRUSTED, math.inf)


@pytest.mark.parametrize("seed", range(20))
def test_it_never_recovers_faster_than_one_level_per_dwell_and_a_stop_never(seed):
    subject = trust()
    recovered_s, before = -math.inf, TRUSTED
    for k, evidence in enumerate(random_evidence(np.random.default_rng(seed), 2000)):
        level = subject.judge(evidence, DT * k)
        if level < before:
            assert before is not STOP
            assert level == before - 1
            assert DT * k - recovered_s >= SETTINGS.recovery_dwell_s
        if level != before:
            recovered_s = DT * k
        before = level
        if level is STOP:
            subject.reset()
            before = subject.level


@pytest.mark.parametrize("seed", range(20))
def test_more_evidence_never_means_more_trust(seed):
    rng = np.random.default_rng(seed)
    mild, harsh = trust(), trust()
    for k, evidence in enumerate(random_evidence(rng, 1000)):
        more = Evidence(*(value + rng.exponential(1.0) * (rng.random() < 0.3) for value in vars(evidence).values()))
        assert harsh.judge(more, DT * k) >= mild.judge(evidence, DT * k)


def test_thresholds_and_times_that_fall_from_level_to_level_are_refused():
    with pytest.raises(ValidationError, match="cautious_residual, nominal_residual, stop_residual"):
        TrustSettings(nominal_residual=2.0)
    with pytest.raises(ValidationError, match="stop_dwell_s"):
        TrustSettings(stop_dwell_s=0.1)


def test_a_model_that_cannot_be_judged_for_as_long_as_a_stop_takes_stops_the_car_and_again_after_a_reset():
    subject = trust()
    judged(subject, residual(1.0), 3.0)
    levels = [subject.fail_to_judge("KeyError: 'vx'", 3.0 + DT * k) for k in range(1, 12)]
    assert (levels.index(STOP) + 1) * DT == pytest.approx(SETTINGS.stop_dwell_s + DT)
    assert subject.reason == "it cannot be judged: KeyError: 'vx'"
    subject.reset()
    assert subject.fail_to_judge("KeyError: 'vx'", 10.0) is CAUTIOUS
    assert subject.fail_to_judge("KeyError: 'vx'", 10.0 + SETTINGS.stop_dwell_s) is STOP


def test_judging_that_fails_now_and_then_does_not_stop_the_car():
    subject = trust()
    for k in range(100):
        judge = subject.fail_to_judge if k % 4 else lambda _, stamp_s: subject.judge(residual(1.0), stamp_s)
        assert judge("busy", DT * k) is TRUSTED


def test_what_lasts_begins_anew_where_time_is_set_back():
    subject = trust()
    subject.fail_to_judge("broken", 100.0)
    assert subject.fail_to_judge("broken", 1.0) is TRUSTED
    assert subject.fail_to_judge("broken", 1.0 + SETTINGS.stop_dwell_s) is STOP


def test_a_slide_that_was_not_predicted_calls_for_caution_where_settings_say_so():
    slide = Evidence(residual=1.0, slip_rad=0.05)
    heedless, heedful = (Trust(TrustSettings(cautious_slip_rad=limit), 10.0) for limit in (None, 0.04))
    heedful.judge(slide, 0.0)
    assert heedful.judge(Evidence(residual=1.0), 0.1) is TRUSTED  # once is no slide
    for step in range(2, 40):
        assert heedless.judge(slide, 0.1 * step) is TRUSTED
        assert heedful.judge(slide, 0.1 * step) is (TRUSTED if step == 2 else CAUTIOUS)  # nominal models know no better
    assert "slip_rad is 0.05" in heedful.reason
