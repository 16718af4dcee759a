"""Lifecycle nodes whose transitions tell what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from mbrl_ros.core.errors import MbrlError


class Managed(Protocol):
    """What a lifecycle node does in its transitions; an exception fails the transition."""

    def configure(self) -> None:
        """Get ready; may block."""
        ...

    def activate(self) -> None:
        """Begin."""
        ...

    def deactivate(self) -> None:
        """End, safely; also from an error and at a shutdown."""
        ...


class Lifecycle(LifecycleNode):
    """Transitions with their failures logged: rclpy swallows exceptions in them without a line.

    Args:
        name: of the node.
        adapter: what is managed.
    """

    def __init__(self, name: str, adapter: Managed) -> None:
        super().__init__(name)
        self._adapter = adapter
        self._failure = ""

    def autostart(self) -> None:
        """Configure and activate without a manager.

        Raises:
            MbrlError: a transition failed.
        """
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise MbrlError(f"autostart failed: {self._failure}")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As the adapter does."""
        return self._guarded(self._adapter.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As the adapter does."""
        return self._guarded(self._adapter.activate, super().on_activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As the adapter does."""
        return self._guarded(self._adapter.deactivate, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Nothing is to be done."""
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As a deactivation."""
        return self._guarded(self._adapter.deactivate)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, stopped; a manager may configure again."""
        return self._guarded(self._adapter.deactivate)

    def _guarded(
        self, action: Callable[[], None], then: Callable[..., Any] | None = None, state: LifecycleState | None = None
    ) -> TransitionCallbackReturn:
        try:
            action()
        except MbrlError as error:
            self._failure = str(error)
        except Exception:
            self._failure = traceback.format_exc()
        else:
            return then(state) if then is not None else TransitionCallbackReturn.SUCCESS
        self.get_logger().error(self._failure)
        return TransitionCallbackReturn.ERROR
