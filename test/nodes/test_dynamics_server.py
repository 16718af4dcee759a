"""The model server as a process: what it hands out, predicts, swaps and refuses."""

import shutil

import numpy as np
import pytest
import torch

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models import passport
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build_for

pytestmark = pytest.mark.ros


@pytest.fixture
def server(ros_domain, tmp_path):
    from harness import running
    from mbrl_ros.msg import ModelInfo

    from mbrl_ros.nodes.shared import quality

    path = config_file("vehicles", "f1tenth", ".yaml")
    vehicle = read_settings(path, Vehicle)
    for kind in ("kinematic_bicycle", "single_track"):
        passport.save(build_for(vehicle, kind, dt=0.02), tmp_path / kind)
    parameters = {"vehicle": path, "model": str(tmp_path / "kinematic_bicycle")}
    with running(Graph((NodeSpec("dynamics_server", parameters),)), tmp_path / "logs") as (_, bench):
        bench.listen("/dynamics_server/model", ModelInfo, quality.LATCHED)
        bench.spin_until(lambda: bench.count("/dynamics_server/model") > 0, 60.0, "the latched model")
        yield bench, tmp_path


def load(bench, path):
    from mbrl_ros.srv import LoadModel

    return bench.call(LoadModel, "/dynamics_server/load_model", LoadModel.Request(path=str(path)))


def get(bench, model_id=""):
    from mbrl_ros.srv import GetModel

    return bench.call(GetModel, "/dynamics_server/get_model", GetModel.Request(model_id=model_id))


def test_hands_out_the_model_itself_and_predicts_as_it_does(server):
    from mbrl_ros.srv import PredictTrajectory

    bench, folder = server
    answer = get(bench)
    served = passport.from_bytes(answer.passport_yaml, bytes(answer.weights))
    assert answer.success
    assert (
        served.id == passport.load(folder / "kinematic_bicycle").id == bench.latest("/dynamics_server/model").model_id
    )

    states = np.array([[0.0, 0.0, 0.1, 2.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 0.3, 3.0, 0.0, 0.0, 0.1, 0.0]])
    actions = np.tile([0.1, 1.0], (2, 10, 1))
    request = PredictTrajectory.Request(
        batch=2, dt=0.02, states=states.flatten().tolist(), actions=actions.flatten().tolist()
    )
    predicted = bench.call(PredictTrajectory, "/dynamics_server/predict_trajectory", request)
    with torch.no_grad():
        expected = rollout(served.model, torch.from_numpy(states), torch.from_numpy(actions)).numpy()
    assert predicted.success, predicted.message
    np.testing.assert_allclose(np.reshape(predicted.states, expected.shape), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dt": 0.05}, "steps 0.02"),
        ({"states": [0.0] * 7}, "reshape"),
        ({"states": [float("nan")] * 8}, "not finite"),
        ({"model_id": "abc"}, "not abc"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_the_reason(server, change, words):
    from mbrl_ros.srv import PredictTrajectory

    bench, _ = server
    given = {"batch": 1, "dt": 0.02, "states": [0.0] * 8, "actions": [0.0, 0.0], **change}
    answer = bench.call(PredictTrajectory, "/dynamics_server/predict_trajectory", PredictTrajectory.Request(**given))
    assert not answer.success
    assert words in answer.message
    assert len(answer.states) == 0


def test_swaps_to_a_valid_model_refuses_a_damaged_one_and_rolls_back(server):
    bench, folder = server
    first = get(bench).info.model_id
    swapped = load(bench, folder / "single_track")
    assert swapped.success
    assert swapped.info.kind == "single_track"
    bench.spin_until(lambda: bench.latest("/dynamics_server/model").kind == "single_track", 5.0, "announced")

    damaged = folder / "damaged"
    shutil.copytree(folder / "single_track", damaged)
    weights = damaged / passport.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-10])
    refused = load(bench, damaged)
    assert not refused.success
    assert "damaged" in refused.message
    assert refused.info.model_id == swapped.info.model_id == get(bench).info.model_id

    back = load(bench, "")
    assert back.success
    assert back.info.model_id == first
