"""Launch descriptions from the graph: what `ros2 launch` runs is what `mbrl drive` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch_ros.actions import LifecycleNode, Node

from mbrl_ros.bringup.graph import PACKAGE, Graph, NodeSpec, help_of


def launch_description(options: type, graph_of: Callable[[Any], Graph]) -> LaunchDescription:
    """Launch arguments from an options class, and its graph's nodes; when one ends, all are stopped.

    Args:
        options: options class of bringup.graph.
        graph_of: makes the graph of its options.
    """
    arguments = help_of(options)

    def actions(context: LaunchContext) -> list[Any]:
        given = {
            name: _parse(name, context.launch_configurations[name], default) for name, (default, _) in arguments.items()
        }
        return [action for spec in graph_of(options(**given)).nodes for action in _node_actions(spec)]

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=_text(default), description=text)
                for name, (default, text) in arguments.items()
            ),
            OpaqueFunction(function=actions),
        ]
    )


def _node_actions(spec: NodeSpec) -> list[Any]:
    kind = LifecycleNode if spec.lifecycle else Node
    node = kind(
        package=PACKAGE,
        executable=spec.executable,
        name=spec.executable,
        namespace="",
        parameters=[dict(spec.parameters)],
        remappings=list(spec.remappings.items()),
        output="screen",
    )
    reason = f"{spec.executable} ended"
    stop_all = [LogInfo(msg=f"{reason}: stopping the others"), EmitEvent(event=Shutdown(reason=reason))]
    return [node, RegisterEventHandler(OnProcessExit(target_action=node, on_exit=stop_all))]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"launch argument '{name}' must be true or false, not '{text}'")
        return text.lower() == "true"
    return type(default)(text)
