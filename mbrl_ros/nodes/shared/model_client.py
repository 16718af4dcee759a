"""Getting the model in force from the dynamics server, into this process."""

from __future__ import annotations

import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models.passport import LoadedModel, from_bytes
from mbrl_ros.srv import GetModel

# A server that has not discovered the client's reader yet answers into the void, so one request is not enough; where
# nothing is amiss but a large model on its way, few of them are.
_ASK_AGAIN_S = 0.1
_LOOK_AGAIN_S = 0.02


def fetch_model(node: Node, service: str, timeout_s: float, model_id: str = "") -> LoadedModel:
    """The model ``model_id``, or without one the model in force, from ``service``; from any thread or callback.

    Blocks up to ``timeout_s``.

    A private node with an executor of its own does the waiting, so that it cannot dead-lock the caller's.

    Raises:
        ModelError: no answer in time, or the answer is a refusal or no valid model.
    """
    helper = rclpy.create_node(f"{node.get_name()}_model_client", use_global_arguments=False)
    executor = SingleThreadedExecutor()
    executor.add_node(helper)
    try:
        client = helper.create_client(GetModel, service)
        asked: list[Future] = []
        answer, due_s, deadline_s = None, time.monotonic(), time.monotonic() + timeout_s
        while answer is None and (now_s := time.monotonic()) < deadline_s:
            if now_s >= due_s and client.service_is_ready():  # rclpy's own wait looks only four times a second
                due_s = now_s + _ASK_AGAIN_S * 2.0 ** len(asked)
                asked.append(client.call_async(GetModel.Request(model_id=model_id)))
            executor.spin_once(timeout_sec=min(_LOOK_AGAIN_S, deadline_s - now_s))
            answer = next((future.result() for future in asked if future.done()), None)  # a slow one, too
    finally:
        executor.shutdown()
        helper.destroy_node()
    if not asked:
        raise ModelError(f"no service {service} after {timeout_s:g} s; is the dynamics server running?")
    if answer is None or not answer.success:
        raise ModelError(f"{service} did not hand over its model: {answer.message if answer else 'no answer in time'}")
    return from_bytes(answer.passport_yaml, bytes(answer.weights))
