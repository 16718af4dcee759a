"""The dynamics server's services: its models handed out, asked, exchanged, adapted, and trusted again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node
from std_srvs.srv import Trigger

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.serving import ModelInForce
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.model_messages import fill_prediction, model_message, requested
from mbrl_ros.nodes.shared.services import ServiceThread
from mbrl_ros.srv import GetModel, LoadModel, PredictTrajectory


class ModelServices:
    """``~/get_model``, ``~/predict_trajectory``, ``~/load_model``, ``~/adapt``, ``~/cancel_adaptation`` and
    ``~/reset_trust``, in a thread of their own.

    Args:
        node: the dynamics server.
        models: what it serves.
        driving: called for a copy of the last driving.
        announce: called, in the services' thread, when another model has come into force, or another trust in it.
        adapt: called to begin an adaptation; answers what was begun, in a sentence.
        cancel: called to end it; answers what was ended, likewise.
    """

    def __init__(
        self,
        node: Node,
        models: ModelInForce,
        driving: Callable[[], Driven],
        announce: Callable[[], None],
        adapt: Callable[[], str],
        cancel: Callable[[], str],
    ) -> None:
        self._node, self._models, self._driving, self._announce = node, models, driving, announce
        self._clock = NodeClock(node)
        self._thread = ServiceThread(node)
        self._thread.offer(GetModel, "~/get_model", self._on_get_model)
        self._thread.offer(PredictTrajectory, "~/predict_trajectory", self._on_predict)
        self._thread.offer(LoadModel, "~/load_model", self._on_load_model)
        # How an adaptation goes and what became of it is in the diagnostics and in the log.
        self._thread.offer(Trigger, "~/adapt", _told(adapt))
        self._thread.offer(Trigger, "~/cancel_adaptation", _told(cancel))
        self._thread.offer(Trigger, "~/reset_trust", self._on_reset_trust)
        self._thread.start()

    def close(self) -> None:
        """Finish the answer under way and stop."""
        self._thread.close()

    def _on_get_model(self, request: GetModel.Request, response: GetModel.Response) -> GetModel.Response:
        try:
            served = self._models.find(request.model_id)
        except MbrlError as error:
            response.message = str(error)
            return response
        response.success, response.info = True, model_message(served, self._clock.now_s())
        response.passport_yaml, response.weights = served.files
        return response

    def _on_predict(
        self, request: PredictTrajectory.Request, response: PredictTrajectory.Response
    ) -> PredictTrajectory.Response:
        try:
            served = self._models.find(request.model_id)
            fill_prediction(response, served.loaded, requested(request, served.loaded.model, self._driving()))
        except (MbrlError, ValueError, RuntimeError) as error:
            response.message = str(error)
        return response

    def _on_load_model(self, request: LoadModel.Request, response: LoadModel.Response) -> LoadModel.Response:
        try:
            if request.path:
                response.message = self._models.load(Path(request.path), self._driving())
            else:
                self._models.roll_back()
            response.success = True
            self._announce()
        except MbrlError as error:
            response.message = str(error)
            self._node.get_logger().error(f"model refused, {self._models.present.id} stays in force: {error}")
        response.info = model_message(self._models.present, self._clock.now_s())
        return response

    def _on_reset_trust(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._models.reset_trust(self._driving())
            response.success, response.message = True, self._models.standing.level.name
            self._announce()
        except MbrlError as error:
            response.message = str(error)
        return response


def _told(act: Callable[[], str]) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    """A service that does ``act`` and answers with what that says, or with why it refuses."""

    def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.success, response.message = True, act()
        except MbrlError as error:
            response.success, response.message = False, str(error)
        return response

    return answer
