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
        return yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


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
    return f"field '{field}': {message} (got {detail.get('input')!r})" if field else message


def _field_names(kind: type[BaseModel]) -> list[str]:
    names: list[str] = []
    for name, info in kind.model_fields.items():
        names.append(name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            names += _field_names(info.annotation)
    return names
