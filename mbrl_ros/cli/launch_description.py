"""Launch descriptions from the graph: what `ros2 launch` runs is what `mbrl drive` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch_ros.actions import LifecycleNode, Node

from mbrl_ros.bringup.graph import PACKAGE, Graph, NodeSpec, help_of
from mbrl_ros.core.errors import ConfigError, MbrlError

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def launch_description(options: type, graph_of: Callable[[Any], Graph]) -> LaunchDescription:
    """Launch arguments from an options class, and its graph's nodes; when one ends that is needed, all are stopped.

    Args:
        options: options class of bringup.graph.
        graph_of: makes the graph of its options.
    """
    arguments = help_of(options)

    def actions(context: LaunchContext) -> list[Any]:
        given = {
            name: _parse(name, context.launch_configurations[name], default) for name, (default, _) in arguments.items()
        }
        specs = graph_of(options(**given)).nodes
        nodes = [_node(spec) for spec in specs]
        needed = [node for node, spec in zip(nodes, specs, strict=True) if not spec.dispensable]
        return [RegisterEventHandler(_when_one_ends(needed)), *nodes]

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=_text(default), description=text)
                for name, (default, text) in arguments.items()
            ),
            OpaqueFunction(function=actions),
        ]
    )


def _node(spec: NodeSpec) -> Node:
    kind = LifecycleNode if spec.lifecycle else Node
    return kind(
        package=PACKAGE,
        executable=spec.executable,
        name=spec.node,
        namespace="",
        parameters=[dict(spec.parameters)],
        remappings=list(spec.remappings.items()),
        output="screen",
    )


def _when_one_ends(nodes: list[Node]) -> OnProcessExit:
    """Stop all when the first of ``nodes`` ends by itself: one that is done ends the launch with an exit status of 0,
    any other with 1."""

    def stop_all(event: ProcessExited, context: LaunchContext) -> list[Shutdown] | None:
        if context.is_shutdown:
            return None
        if event.returncode == 0:
            return [Shutdown(reason=f"{event.process_name} is done")]
        # An error is what launch answers with both; a Shutdown would end with status 0.
        raise MbrlError(f"{event.process_name} ended with status {event.returncode}: stopping the others")

    return OnProcessExit(target_action=lambda action: action in nodes, on_exit=stop_all, handle_once=True)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(name: str, text: str, default: Any) -> Any:
    kind = type(default)
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"launch argument '{name}': expected {_KINDS[kind]}, got '{text}'") from error
