import hashlib

import pytest
import safetensors.torch
import torch
import yaml

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import KINDS, build
from mbrl_ros.models.passport import Provenance, Score, TrainingBag

PROVENANCE = Provenance(
    bags=(TrainingBag(source="laps.mcap", sha256="ab" * 32, start_s=1.0e9 + 0.1, end_s=1.0e9 + 61.3),),
    split="first 80 % of the time fitted, last 20 % held out",
    std={"wheelbase": 0.004},
    identifiable={"wheelbase": True, "steering_lag": False},
    scores=(Score(bag="laps.mcap", horizon_s=1.0, ade_m=0.07, fde_m=0.17, starts=210),),
    notes=("The steering lag was not determined: Übergang zu kurz.",),
)


def model(kind="single_track", **config):
    parameters = {"wheelbase": 0.31, "steering_lag": 0.07, "steering_delay": 0.1}
    return build(kind, parameters, **{"dt": 0.02, "drive": "speed", "reference_point": "rear_axle", **config})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(tmp_path, kind, dtype):
    original = model(kind, dtype=dtype, integrator="euler", substeps=3)
    name = passport.save(original, tmp_path / "deep" / "car", PROVENANCE)
    loaded = passport.load(tmp_path / "deep" / "car")
    assert loaded.id == name
    assert (loaded.model.config, loaded.model.values()) == (original.config, original.values())
    assert loaded.passport.parameters["wheelbase"].std == 0.004
    assert loaded.passport.parameters["steering_lag"].identifiable is False
    assert loaded.passport.parameters["steering_scale"].std is None
    assert (loaded.passport.bags, loaded.passport.scores) == (PROVENANCE.bags, PROVENANCE.scores)
    assert (loaded.passport.split, loaded.passport.notes) == (PROVENANCE.split, PROVENANCE.notes)
    state, action = torch.randn(5, 8, dtype=dtype), torch.full((5, 2), 0.1, dtype=dtype)
    assert torch.equal(loaded.model(state, action), original(state, action))


def test_the_id_is_a_function_of_the_content(tmp_path):
    first = passport.save(model(), tmp_path / "a", PROVENANCE)
    assert passport.save(model(), tmp_path / "b", PROVENANCE) == first
    assert passport.save(model(), tmp_path / "c") != first
    assert passport.save(model().with_parameters({"wheelbase": 0.32}), tmp_path / "d", PROVENANCE) != first
    assert len(first) == 12
    assert int(first, 16) >= 0


def test_saving_replaces_a_model_and_leaves_nothing_else(tmp_path):
    passport.save(model(), tmp_path / "car")
    name = passport.save(model("kinematic_bicycle"), tmp_path / "car")
    assert passport.load(tmp_path / "car").id == name
    assert [item.name for item in tmp_path.iterdir()] == ["car"]
    assert sorted(item.name for item in (tmp_path / "car").iterdir()) == ["model.yaml", "weights.safetensors"]


def test_saving_never_replaces_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match="something else"):
        passport.save(model(), tmp_path)
    with pytest.raises(ModelError, match="something else"):
        passport.save(model(), tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path):
    broken = model()
    with torch.no_grad():
        broken.wheelbase.fill_(float("nan"))
    with pytest.raises(ModelError, match="wheelbase"):
        passport.save(broken, tmp_path / "car")
    assert not (tmp_path / "car").exists()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.yaml: cannot be read"):
        passport.load(tmp_path)
    passport.save(model(), tmp_path / "car")
    (tmp_path / "car" / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: cannot be read"):
        passport.load(tmp_path / "car")


def test_cut_or_changed_weights_are_refused():
    text, weights = passport.to_bytes(model())
    flipped = weights[:-1] + bytes([weights[-1] ^ 1])
    for damaged in (b"", weights[: len(weights) // 2], weights[:-1], flipped, weights + b"\0"):
        with pytest.raises(ModelError, match="damaged"):
            passport.from_bytes(text, damaged)


def test_a_passport_cut_anywhere_is_refused():
    text, weights = passport.to_bytes(model(), PROVENANCE)
    for end in range(0, len(text) - 1, 97):
        with pytest.raises(ModelError):
            passport.from_bytes(text[:end], weights)


def test_binary_noise_is_refused(tmp_path):
    passport.save(model(), tmp_path / "car")
    (tmp_path / "car" / "model.yaml").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ModelError, match="is not text"):
        passport.load(tmp_path / "car")


def forged(change_passport=None, change_weights=None):
    """Both files of a model after a change, the passport vouching for the changed weights."""
    text, weights = passport.to_bytes(model())
    data, tensors = yaml.safe_load(text), safetensors.torch.load(weights)
    if change_weights:
        change_weights(tensors)
        weights = safetensors.torch.save(tensors)
        data["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    if change_passport:
        change_passport(data)
    return yaml.safe_dump(data, sort_keys=False), weights


def set_in(*path_and_value):
    *path, last, value = path_and_value

    def change(data):
        for key in path:
            data = data[key]
        data[last] = value

    return change


def swap_state_entries(data):
    data["state"][3], data["state"][4] = data["state"][4], data["state"][3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("kind", "tricycle"), "unknown kind 'tricycle'; there are kinematic_bicycle, single_track"),
        (set_in("format", 2), "format"),
        (set_in("colour", "red"), "unknown field 'colour'"),
        (set_in("state", 2, "unit", "deg"), "state entries"),
        (set_in("state", 2, "name", "heading"), "state entries"),
        (swap_state_entries, "state entries"),
        (set_in("action", 1, "name", "acceleration_command"), "action entries"),
        (lambda data: data["action"].pop(), "action entries"),
        (set_in("state", 1, "name", "x"), "repeats"),
        (set_in("reference_point", "bumper"), "reference_point"),
        (set_in("dt_s", 0.0), "dt_s"),
        (set_in("dt_s", float("inf")), "dt"),
        (set_in("delay_s", 0, 0.2), "delay"),
        (set_in("delay_s", [0.1]), "delay"),
        (set_in("config", "integrator", "leapfrog"), "config: 'integrator'"),
        (set_in("config", "substeps", 0), "substeps"),
        (set_in("config", "substep", 2), "config: unknown 'substep'"),
        (set_in("config", "drive", "duty"), "drive='duty' has no parameter"),
        (set_in("parameters", "wheelbase", "value", 0.35), r"wheelbase = 0.35 m, but the model has 0.31 m"),
        (set_in("parameters", "wheelbase", "value", float("nan")), "wheelbase"),
        (set_in("parameters", "wheelbase", "unit", "cm"), "wheelbase"),
        (set_in("parameters", "wheelbase", "low", 0.5), "own bounds"),
        (set_in("parameters", "wheelbase", "std", -1.0), "std"),
        (lambda data: data["parameters"].pop("wheelbase"), "different parameters: wheelbase"),
        (lambda data: data.pop("software_version"), "software_version"),
        (set_in("weights_sha256", "0" * 64), "damaged"),
    ],
)
def test_a_passport_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ModelError, match=message):
        passport.from_bytes(*forged(change_passport=change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("wheelbase"), "lacks wheelbase"),
        (set_in("wheel_base", torch.tensor(0.3).double()), "did you mean 'wheelbase'"),
        (set_in("wheelbase", torch.tensor(float("inf")).double()), "'wheelbase' is not finite"),
        (set_in("wheelbase", torch.tensor(300.0).double()), "wheelbase = 300 m is outside of"),
        (set_in("wheelbase", torch.tensor([0.3, 0.3]).double()), "scalars"),
        (set_in("wheelbase", torch.tensor(0.3)), "float64 or all float32"),
        (set_in("wheelbase", torch.tensor(1)), "float64 or all float32"),
        (set_in("wheelbase", torch.tensor(0.33).double()), "but the model has 0.33 m"),
        (lambda tensors: tensors.clear(), "float64 or all float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        passport.from_bytes(*forged(change_weights=change))


def test_weights_that_are_no_safetensors_are_refused():
    text, _ = passport.to_bytes(model())
    data, noise = yaml.safe_load(text), b"\x80\x04\x95pickle"
    data["weights_sha256"] = hashlib.sha256(noise).hexdigest()
    with pytest.raises(ModelError, match="not a safetensors file"):
        passport.from_bytes(yaml.safe_dump(data), noise)


@pytest.mark.parametrize("text", ["", "[]", "just words", "{", "kind: !!python/object/apply:os.getcwd []"])
def test_yaml_that_is_no_passport_is_refused(text):
    with pytest.raises(ModelError):
        passport.from_bytes(text, b"")


def test_further_kinds_register_a_loader():
    with pytest.raises(ModelError, match="loader already"):
        passport.register("single_track", lambda *_: model())
