"""The model server as a process: what it hands out, predicts, swaps and refuses."""

import numpy as np
import pytest
import torch
from serving_toys import UNFIT, ScriptedDrive, learned, unfit

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models import passport
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build_for

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def server(ros_domain_of_module, tmp_path_factory):
    """A server that begins with the kinematic bicycle; nothing has been driven before the last test."""
    from harness import running
    from mbrl_ros.msg import ModelInfo

    from mbrl_ros.nodes.shared import quality

    folder = tmp_path_factory.mktemp("server")
    path = config_file("vehicles", "f1tenth", ".yaml")
    vehicle = read_settings(path, Vehicle)
    for kind in ("kinematic_bicycle", "single_track"):
        passport.save(build_for(vehicle, kind, dt=0.02), folder / kind)
    parameters = {"vehicle": path, "model": str(folder / "kinematic_bicycle")}
    with running(Graph((NodeSpec("dynamics_server", parameters),)), folder / "logs") as (_, bench):
        bench.listen("/dynamics_server/model", ModelInfo, quality.LATCHED)
        bench.spin_until(lambda: bench.count("/dynamics_server/model") > 0, 60.0, "the latched model")
        yield bench, folder


def load(bench, path):
    from mbrl_ros.srv import LoadModel

    return bench.call(LoadModel, "/dynamics_server/load_model", LoadModel.Request(path=str(path)))


def get(bench, model_id=""):
    from mbrl_ros.srv import GetModel

    return bench.call(GetModel, "/dynamics_server/get_model", GetModel.Request(model_id=model_id))


def test_hands_out_the_model_itself_and_predicts_as_it_does(server):
    bench, folder = server
    answer = get(bench)
    served = passport.from_bytes(answer.passport_yaml, bytes(answer.weights))
    assert answer.success
    assert (
        served.id == passport.load(folder / "kinematic_bicycle").id == bench.latest("/dynamics_server/model").model_id
    )

    states = np.array([[0.0, 0.0, 0.1, 2.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 0.3, 3.0, 0.0, 0.0, 0.1, 0.0]])
    actions = np.tile([0.1, 1.0], (2, 10, 1))
    predicted = predict(bench, batch=2, states=states.flatten().tolist(), actions=actions.flatten().tolist())
    with torch.no_grad():
        expected = rollout(served.model, torch.from_numpy(states), torch.from_numpy(actions)).numpy()
    assert predicted.success, predicted.message
    np.testing.assert_allclose(np.reshape(predicted.states, expected.shape), expected, atol=1e-12)
    assert (len(predicted.covariance), len(predicted.out_of_distribution)) == (0, 0)


def predict(bench, **given):
    from mbrl_ros.srv import PredictTrajectory

    request = PredictTrajectory.Request(**{"batch": 1, "dt": 0.02, "states": [0.0] * 8, "actions": [0.0] * 2, **given})
    return bench.call(PredictTrajectory, "/dynamics_server/predict_trajectory", request)


def test_a_request_that_does_not_fit_is_refused_with_the_reason(server):
    bench, _ = server
    for change, words in (
        ({"dt": 0.05}, "steps 0.02"),
        ({"states": [0.0] * 7}, "have 7 entries"),
        ({"batch": 2, "states": [0.0] * 15}, "reshape"),
        ({"states": [float("nan")] * 8}, "not finite"),
        ({"model_id": "abc"}, "not abc"),
    ):
        answer = predict(bench, **change)
        assert not answer.success
        assert words in answer.message
        assert len(answer.states) == 0


def test_swaps_to_a_valid_model_refuses_unfit_ones_and_rolls_back(server):
    bench, folder = server
    first = get(bench).info.model_id
    swapped = load(bench, folder / "single_track")
    assert swapped.success
    assert swapped.info.kind == "single_track"
    bench.spin_until(lambda: bench.latest("/dynamics_server/model").kind == "single_track", 60.0, "announced")

    for kind in UNFIT:
        path, words = unfit(kind, folder)
        refused = load(bench, path)
        assert not refused.success
        assert words in refused.message
        assert refused.info.model_id == swapped.info.model_id == get(bench).info.model_id

    back = load(bench, "")
    assert back.success
    assert back.info.model_id == first


def test_adaptation_is_off_unless_there_is_a_folder_for_it(server):
    from std_srvs.srv import Trigger

    answer = server[0].call(Trigger, "/dynamics_server/adapt", Trigger.Request())
    assert (answer.success, answer.message) == (False, "adaptation is off; set adapt.folder")
    cancelled = server[0].call(Trigger, "/dynamics_server/cancel_adaptation", Trigger.Request())
    assert (cancelled.success, cancelled.message) == (False, "no adaptation is under way; the last word was: off")


def test_once_driven_only_a_model_that_proves_itself_takes_over_and_memory_is_that_of_the_driving(server):
    from harness import drive
    from mbrl_ros.msg import ModelTrust

    bench, folder = server
    scripted = ScriptedDrive()
    assert load(bench, folder / "single_track").message == "unproven: nothing has been driven yet"
    bench.listen("/dynamics_server/trust", ModelTrust, quality_of("LATCHED"))
    drive(bench, scripted, 2.0, 3.0)
    little = load(bench, folder / "kinematic_bicycle")
    assert not little.success
    assert "too little to prove" in little.message

    refused = little
    while "misses the position" not in refused.message:  # states that a busy machine lost prove nothing
        assert "too little" in refused.message
        drive(bench, scripted, 5.0, 3.0)
        refused = load(bench, folder / "kinematic_bicycle")
        assert not refused.success
    assert refused.info.kind == "single_track"

    car = learned(folder / "learned", trained=False)
    proven = load(bench, folder / "learned")
    assert proven.success, proven.message
    assert car.id in proven.message
    predicted = predict(bench, batch=2, states=[0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0] * 2, actions=[0.0] * 2 * 50 * 2)
    assert predicted.success, predicted.message
    size = len(car.model.state_layout)
    states = np.reshape(predicted.states, (2, 51, size))
    assert np.abs(states[:, 0, 8:]).max() > 0.0
    covariance = np.reshape(predicted.covariance, (2, 51, 8, 8))
    assert 0.0 < covariance[0, 10, 0, 0] < covariance[0, 50, 0, 0]
    assert len(predicted.out_of_distribution) == 2

    nominal = get(bench, bench.latest("/dynamics_server/trust").nominal_id)
    assert (nominal.success, nominal.info.kind) == (True, "kinematic_bicycle")
    assert nominal.info.model_id != get(bench).info.model_id == car.id


def quality_of(role):
    from mbrl_ros.nodes.shared import quality

    return getattr(quality, role)
