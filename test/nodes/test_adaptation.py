"""Adaptation while driving, over real topics: a car that loses grip, and a server that learns of it."""

import time

import pytest
from serving_toys import ScriptedDrive, save

from mbrl_ros.bringup.graph import Graph, NodeSpec, config_file
from mbrl_ros.evaluation.driven_recording import record
from mbrl_ros.models import passport

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]

SPEED_MPS = 3.0


@pytest.fixture
def server(ros_domain, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from harness import running
    from mbrl_ros.msg import ModelInfo
    from std_msgs.msg import String

    from mbrl_ros.nodes.shared import quality

    save(tmp_path / "model", error_m=0.05)
    record(ScriptedDrive().drive(20.0, 2.0, steering=0.1), tmp_path / "gentle")
    parameters = {
        "vehicle": config_file("vehicles", "f1tenth", ".yaml"),
        "model": str(tmp_path / "model"),
        "adapt.folder": str(tmp_path / "adaptations"),
        "adapt.replay": str(tmp_path / "gentle"),
        "adapt.driving_s": 20.0,
        "adapt.learning.horizon_s": 1.0,
        "adapt.learning.forgetting": 10.0,  # of the millimetres by which the car's own model errs on gentle driving
    }
    with running(Graph((NodeSpec("dynamics_server", parameters),)), tmp_path / "logs") as (_, bench):
        bench.listen("/dynamics_server/model", ModelInfo, quality.LATCHED)
        bench.listen("/dynamics_server/model_id", String, quality.COMMAND)
        bench.listen("/diagnostics", DiagnosticArray, quality.STATE)
        bench.spin_until(lambda: bench.count("/dynamics_server/model") > 0, 60.0, "the latched model")
        yield bench, tmp_path


def said(bench):
    """What the newest diagnostics say of the adaptation."""
    for _, array in reversed(bench.received["/diagnostics"]):
        for status in array.status:
            if status.name == "dynamics_server: adaptation":
                return status.message
    return ""


def test_lost_grip_is_learned_while_driving_and_the_adapted_model_proves_itself_on_what_came_after(server):
    from harness import drive
    from std_srvs.srv import Trigger

    bench, folder = server
    scripted = ScriptedDrive()
    before = bench.latest("/dynamics_server/model").model_id
    scripted.simulator.set_friction_scale(0.4)
    drive(bench, scripted, 21.0, SPEED_MPS)
    begun = bench.call(Trigger, "/dynamics_server/adapt", Trigger.Request())
    assert begun.success, begun.message
    assert f"{before} is adapted to the last" in begun.message
    again = bench.call(Trigger, "/dynamics_server/adapt", Trigger.Request())
    assert not again.success
    assert "under way" in again.message

    beats = bench.count("/dynamics_server/model_id")
    deadline = time.monotonic() + 120.0
    while bench.latest("/dynamics_server/model").model_id == before:
        assert time.monotonic() < deadline, said(bench)
        drive(bench, scripted, 0.5, SPEED_MPS)
        bench.spin_for(0.1)
    assert bench.count("/dynamics_server/model_id") > beats + 50  # it answered all the while

    bench.spin_until(lambda: "misses the position" in said(bench), 60.0, "diagnostics say how it ended")
    after = bench.latest("/dynamics_server/model").model_id
    assert f"{after} is {before} adapted: position error" in said(bench)
    assert "friction_front 1" in said(bench)
    (made,) = (folder / "adaptations").iterdir()
    adapted = passport.load(made / "adapted")
    assert adapted.id == after
    grip = [loaded.model.values()["friction_front"] for loaded in (passport.load(folder / "model"), adapted)]
    assert grip[1] < 0.8 * grip[0]
    assert [score.horizon_s for score in adapted.passport.scores] == [1.0]
    assert adapted.passport.bags[-1].source == str(made / "driving")
