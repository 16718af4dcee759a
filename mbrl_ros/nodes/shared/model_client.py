"""Getting the model in force from the dynamics server, into this process."""

from __future__ import annotations

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models.passport import LoadedModel, from_bytes
from mbrl_ros.srv import GetModel


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
        if not client.wait_for_service(timeout_sec=timeout_s):
            raise ModelError(f"no service {service} after {timeout_s:g} s; is the dynamics server running?")
        future = client.call_async(GetModel.Request(model_id=model_id))
        executor.spin_until_future_complete(future, timeout_sec=timeout_s)
        answer = future.result() if future.done() else None
    finally:
        executor.shutdown()
        helper.destroy_node()
    if answer is None or not answer.success:
        raise ModelError(f"{service} did not hand over its model: {answer.message if answer else 'no answer in time'}")
    return from_bytes(answer.passport_yaml, bytes(answer.weights))
