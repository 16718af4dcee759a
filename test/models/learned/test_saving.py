import hashlib

import pytest
import safetensors.torch
import torch
import yaml

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models import passport


@pytest.mark.parametrize("base", ["single_track", "inertia"])
@pytest.mark.parametrize("network", ["mlp", "lstm"])
def test_round_trip(make, cars, tmp_path, base, network):
    original = make(base, network)
    name = passport.save(original, tmp_path / "car")
    loaded = passport.load(tmp_path / "car")
    assert loaded.id == name
    assert loaded.passport.kind == ("nonparametric" if base == "inertia" else "semiparametric")
    assert loaded.model.config == original.config
    assert loaded.passport.normaliser.std == tuple(original.std.tolist())
    assert set(loaded.passport.parameters) == ({"wheelbase"} if base != "inertia" else set()) | set(
        original.base.values() if base != "inertia" else ()
    )
    state, action = cars()
    state = torch.cat([state, torch.randn(50, len(original.state_layout) - 8, dtype=torch.float64)], dim=1)
    assert torch.equal(loaded.model(state, action), original(state, action))
    assert torch.equal(loaded.model.delay, original.delay)


def forged(model, change_passport=None, change_weights=None):
    text, weights = passport.to_bytes(model)
    data, tensors = yaml.safe_load(text), safetensors.torch.load(weights)
    if change_weights:
        change_weights(tensors)
        weights = safetensors.torch.save(tensors)
        data["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    if change_passport:
        change_passport(data)
    return yaml.safe_dump(data, sort_keys=False), weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(normaliser=None), "normaliser: needs mean and std of 13 inputs"),
        (lambda d: d["normaliser"]["mean"].pop(), "normaliser: needs"),
        (lambda d: d["normaliser"]["std"].__setitem__(2, 0.0), "std"),
        (lambda d: d["config"]["network"].update(kind="transformer"), "network.kind"),
        (lambda d: d["config"]["network"].update(hidden=9), "does not fit the config"),
        (lambda d: d["config"]["network"].update(members=0), "members is 0"),
        (lambda d: d["config"]["base"].update(kind="inertia"), "kind 'semiparametric' has no base 'inertia'"),
        (lambda d: d["config"]["guard"].update(lateral=-1.0), "must be positive"),
        (lambda d: d["config"].pop("guard"), "guard"),
        (lambda d: d["parameters"]["wheelbase"].update(value=3.0), "wheelbase"),
    ],
)
def test_a_passport_that_does_not_fit_is_refused(make, change, message):
    with pytest.raises(ModelError, match=message):
        passport.from_bytes(*forged(make(), change_passport=change))


def test_weights_that_do_not_fit_are_refused(make):
    with pytest.raises(ModelError, match=r"does not fit the config, at 'head\.layers\.0\.bias'"):
        passport.from_bytes(*forged(make(), change_weights=lambda tensors: tensors.pop("head.layers.0.bias")))
