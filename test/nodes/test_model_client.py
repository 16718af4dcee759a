"""Fetching the model in force from a server that loses answers."""

import threading

import pytest

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for

pytestmark = pytest.mark.ros


@pytest.fixture
def nodes(ros_domain):
    import rclpy

    rclpy.init(args=[])
    made = [rclpy.create_node(name) for name in ("server", "asks")]
    yield made
    for node in made:
        node.destroy_node()
    rclpy.try_shutdown()


def losing(node, lost: int, weights: bytes, document: str, done: threading.Event) -> threading.Thread:
    """Takes requests for a model and does not answer the first ``lost``, as one whose answer nobody heard."""
    from mbrl_ros.srv import GetModel

    service = node.create_service(GetModel, "/server/get_model", lambda request, response: response)

    def serve() -> None:
        taken = 0
        while not done.wait(0.01):
            request, header = service.handle.service_take_request(GetModel.Request)
            if request is None:
                continue
            taken += 1
            if taken > lost:
                answer = GetModel.Response(success=True, passport_yaml=document, weights=list(weights))
                service.send_response(answer, header)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_an_answer_that_got_lost_is_asked_for_again(nodes):
    from mbrl_ros.nodes.shared.model_client import fetch_model

    server, asks = nodes
    vehicle = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
    document, weights = passport.to_bytes(build_for(vehicle, "kinematic_bicycle", dt=0.02))
    done = threading.Event()
    thread = losing(server, 1, weights, document, done)
    try:
        assert fetch_model(asks, "/server/get_model", 20.0).id == passport.model_id(document, weights)
    finally:
        done.set()
        thread.join()


def test_without_a_server_it_is_said_what_is_missing(nodes):
    from mbrl_ros.nodes.shared.model_client import fetch_model

    with pytest.raises(ModelError, match=r"no service /server/get_model after 0\.3 s; is the dynamics server running"):
        fetch_model(nodes[1], "/server/get_model", 0.3)


def test_a_server_that_never_answers_is_given_up(nodes):
    from mbrl_ros.nodes.shared.model_client import fetch_model

    server, asks = nodes
    done = threading.Event()
    thread = losing(server, 1000, b"", "", done)
    try:
        with pytest.raises(ModelError, match="no answer in time"):
            fetch_model(asks, "/server/get_model", 1.0)
    finally:
        done.set()
        thread.join()
