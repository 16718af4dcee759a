from pathlib import Path

import pytest
from pydantic import Field, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings, parse_settings, read_settings, unit_of
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.vehicle import Vehicle

VEHICLES = sorted((Path(__file__).resolve().parents[2] / "config" / "vehicles").glob("*.yaml"))


class Inner(Settings):
    radius_m: PositiveFloat = Field(default=1.0)


class Outer(Settings):
    name: str
    inner: Inner = Field(default_factory=Inner)

    @model_validator(mode="after")
    def _check(self):
        if self.name == "wide" and self.inner.radius_m < 2:
            raise ValueError("a wide one needs radius_m >= 2")
        return self


def test_a_file_becomes_settings(tmp_path):
    path = tmp_path / "outer.yaml"
    path.write_text("name: demo\ninner: {radius_m: 2.5}\n")
    assert read_settings(path, Outer) == Outer(name="demo", inner=Inner(radius_m=2.5))


def test_an_empty_file_is_all_defaults(tmp_path):
    path = tmp_path / "inner.yaml"
    path.write_text("# nothing set\n")
    assert read_settings(path, Inner).radius_m == 1.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "a", "inner": {"radius": 1}}, "unknown field 'inner.radius', did you mean 'radius_m'?"),
        ({"name": "a", "zzz": 1}, "unknown field 'zzz'; remove it"),
        ({}, "test: field 'name': Field required$"),
        (
            {"name": "a", "inner": {"radius_m": -1}},
            r"field 'inner.radius_m': .* greater than 0 \(got -1; the unit is m\)",
        ),
        ({"name": "a", "inner": {"radius_m": "wide"}}, "field 'inner.radius_m': .* number"),
        ({"name": "wide"}, "test: a wide one needs radius_m >= 2$"),
        ([1, 2], "test"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(data, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")) as error:
        parse_settings(data, Outer, "test")
    assert str(error.value).startswith("test: ")


def test_every_mistake_is_reported_at_once():
    with pytest.raises(ConfigError) as error:
        parse_settings({"inner": {"radius": 1}, "zzz": 1}, Outer, "test")
    for field in ("'name'", "'inner.radius'", "'zzz'"):
        assert field in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_settings(tmp_path / "none.yaml", Inner)
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1, 2\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not valid YAML"):
        read_settings(path, Inner)


def test_a_key_given_twice_is_an_error(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\ninner: {radius_m: 1.0}\nname: b\n")
    with pytest.raises(ConfigError, match=r"twice\.yaml: not valid YAML: key 'name' is given more than once"):
        read_settings(path, Outer)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("limits.steering_angle_rad", "rad"),
        ("jerk_mps3", "m/s^3"),
        ("rate_hz", "Hz"),
        ("yaw_rate_radps_rts", "rad/s/sqrt(s)"),
        ("rollouts", ""),
        ("friction_front", ""),
        ("effective_share", ""),
        ("s", ""),
    ],
)
def test_a_name_ends_with_its_unit(name, unit):
    assert unit_of(name) == unit


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Inner().radius_m = 2.0


@pytest.mark.parametrize("path", VEHICLES, ids=lambda path: path.stem)
def test_shipped_vehicles_are_valid(path):
    assert read_settings(path, Vehicle).name


def test_another_plant_for_a_car():
    car = read_settings(VEHICLES[0], Vehicle)
    assert car.with_plant("", "here") is car
    assert car.with_plant("multi_body", "here") == car.model_copy(
        update={"plant": car.plant.model_copy(update={"model": "multi_body"})}
    )
    with pytest.raises(ConfigError, match=r"here: field 'model': .*'multi_body'.*got 'rigid'"):
        car.with_plant("rigid", "here")
