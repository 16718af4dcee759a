"""ROS parameters from settings classes: declared, typed, described, with ranges; unknown ones are errors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from mbrl_ros.core.config import parse_settings, read_yaml
from mbrl_ros.core.errors import ConfigError

SettingsT = TypeVar("SettingsT", bound=BaseModel)

CONFIG = "config"
"""Parameter of every node: a YAML file with its settings, over which single parameters win."""

_BUILT_IN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def declare(node: Node, kind: type[SettingsT], dynamic: Collection[str] = ()) -> SettingsT:
    """Declare ``kind``'s fields as parameters (nested ones dotted) and read them.

    Order of precedence: a parameter given to the node, the file named by parameter ``config``, the default. All but
    ``dynamic`` are read-only: what a running node would not heed, it refuses.

    Raises:
        ConfigError: a parameter is unknown, of the wrong type, out of range or missing.
    """
    path = str(
        node.declare_parameter(
            CONFIG,
            "",
            ParameterDescriptor(
                description="YAML file with this node's settings; parameters given one by one win over it",
                read_only=True,
            ),
        ).value
    )
    base = _flatten(read_yaml(path)) if path else {}
    fields = dict(leaves(kind))
    _refuse_unknown(base, fields, path)
    # rclpy keeps parameters that were given but never declared only here; silence about them hides typing errors.
    _refuse_unknown(node._parameter_overrides, fields, node.get_fully_qualified_name())
    values: dict[str, Any] = {}
    for name, info in fields.items():
        default = base.get(name, None if info.is_required() else info.get_default(call_default_factory=True))
        try:
            value = node.declare_parameter(name, _to_ros(default, info), _descriptor(info, name not in dynamic)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"{node.get_fully_qualified_name()}: parameter '{name}': {error}") from error
        if value is not None:
            values[name] = value
    return parse_settings(_nest(values), kind, node.get_fully_qualified_name())


def on_change(node: Node, kind: type[SettingsT], apply: Callable[[SettingsT], None]) -> None:
    """Heed parameters that change while the node runs: validated before, applied after.

    Args:
        node: the node whose parameters ``declare`` declared.
        kind: their settings class.
        apply: called with the new settings once they are in force.
    """
    fields = dict(leaves(kind))

    def changed(parameters: list[Parameter]) -> SettingsT:
        values = {name: value for name in fields if (value := _value(node, name)) is not None}
        values.update({item.name: item.value for item in parameters if item.name in fields})
        return parse_settings(_nest(values), kind, node.get_fully_qualified_name())

    def validate(parameters: list[Parameter]) -> SetParametersResult:
        try:
            changed(parameters)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def applied(parameters: list[Parameter]) -> None:
        if any(item.name in fields for item in parameters):
            apply(changed([]))

    node.add_on_set_parameters_callback(validate)
    node.add_post_set_parameters_callback(applied)


def _value(node: Node, name: str) -> Any:
    try:
        return node.get_parameter(name).value
    except ParameterUninitializedException:
        return None


def _refuse_unknown(given: Iterable[str], fields: dict[str, FieldInfo], where: str) -> None:
    for name in given:
        if name not in fields and name != CONFIG and not name.startswith(_BUILT_IN):
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown parameter '{name}'; {hint}")


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every parameter of a settings class, nested ones by their dotted name."""
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from leaves(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def _flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in (data or {}).items():
        if isinstance(value, dict):
            values.update(_flatten(value, f"{prefix}{name}."))
        else:
            values[prefix + name] = value
    return values


def _nest(values: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, leaf = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return nested


def plain_type(info: FieldInfo) -> Any:
    """float, int, bool, str or list, under optional, annotated and literal types."""
    annotation = info.annotation
    while get_origin(annotation) is not None:
        arguments = [item for item in get_args(annotation) if item is not type(None)]
        if get_origin(annotation) in (list, tuple):
            return list
        annotation = type(arguments[0]) if isinstance(arguments[0], str) else arguments[0]
    return annotation


_ROS_TYPES = {
    float: Parameter.Type.DOUBLE,
    int: Parameter.Type.INTEGER,
    bool: Parameter.Type.BOOL,
    str: Parameter.Type.STRING,
}


def _to_ros(default: Any, info: FieldInfo) -> Any:
    if default is None:
        return _ROS_TYPES[plain_type(info)]
    if isinstance(default, tuple):
        return list(default)
    return float(default) if plain_type(info) is float else default


def choices(info: FieldInfo) -> list[str]:
    """The texts that a parameter may be, none where it is no choice."""
    return [item for item in get_args(info.annotation) if isinstance(item, str)]


def bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    """Smallest and largest value of a number, None where there is none; a float may be above its smallest only."""

    def found(name: str) -> float | None:
        return next((getattr(item, name) for item in info.metadata if getattr(item, name, None) is not None), None)

    above = found("gt")
    if above is not None and plain_type(info) is int:
        above += 1
    return found("ge") if above is None else above, found("le")


def _descriptor(info: FieldInfo, read_only: bool) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=info.description or "", read_only=read_only)
    low, high = bounds(info)
    if low is not None and high is not None:
        if plain_type(info) is float:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        elif plain_type(info) is int:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    if allowed := choices(info):
        descriptor.additional_constraints = "one of " + ", ".join(allowed)
    return descriptor
