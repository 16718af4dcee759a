"""Reading YAML into validated settings; a wrong file is answered with its name, the field and the fix."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mbrl_ros.core.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: immutable, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_settings(path: str | Path, kind: type[SettingsT]) -> SettingsT:
    """Settings of ``kind`` from the YAML file at ``path``.

    Raises:
        ConfigError: the file is missing, is no YAML, or a field is unknown, missing or out of range.
    """
    return parse_settings(read_yaml(path), kind, str(path))


def read_yaml(path: str | Path) -> Any:
    """Contents of the YAML file at ``path``; ConfigError when it is missing or malformed."""
    try:
        return yaml.load(Path(path).read_text(), _Loader)  # noqa: S506  # it is a safe loader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """YAML, where a key that is given twice is an error instead of the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{twice[0]}' is given more than once", node.start_mark
            )
        return super().construct_mapping(node, deep)


def parse_settings(data: Any, kind: type[SettingsT], where: str) -> SettingsT:
    """Settings of ``kind`` from plain data; ``where`` names the origin in errors."""
    try:
        return kind.model_validate(data if data is not None else {})
    except ValidationError as error:
        lines = [_explain(detail, kind) for detail in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error


def _explain(detail: Any, kind: type[BaseModel]) -> str:
    field = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _field_names(kind), n=1)
        return f"unknown field '{field}'" + (f", did you mean '{near[0]}'?" if near else "; remove it")
    message = detail["msg"].removeprefix("Value error, ")
    if not field:
        return message
    remarks = [] if detail["type"] == "missing" else [f"got {detail.get('input')!r}"]
    if unit := unit_of(field):
        remarks.append(f"the unit is {unit}")
    return f"field '{field}': {message}" + (f" ({'; '.join(remarks)})" if remarks else "")


_UNITS = {
    "m": "m",
    "s": "s",
    "rad": "rad",
    "radps": "rad/s",
    "mps": "m/s",
    "mps2": "m/s^2",
    "mps3": "m/s^3",
    "hz": "Hz",
    "ps": "1/s",
    "s2pm": "s^2/m",
}


def unit_of(name: str) -> str:
    """The unit that a field's name ends with, or an empty string: ``speed_mps`` is in ``m/s``."""
    stem, _, suffix = name.rpartition("_")
    if suffix == "rts" and unit_of(stem):
        return f"{unit_of(stem)}/sqrt(s)"
    return _UNITS.get(suffix, "") if stem else ""


def _field_names(kind: type[BaseModel]) -> list[str]:
    names: list[str] = []
    for name, info in kind.model_fields.items():
        names.append(name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            names += _field_names(info.annotation)
    return names
