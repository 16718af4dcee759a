"""The trainer as a process, asked as any action client asks it."""

import os
import signal
from pathlib import Path

import pytest
import torch

from mbrl_ros.bringup.graph import Graph, NodeSpec
from mbrl_ros.bringup.training import Training, run_training
from mbrl_ros.core.errors import DataError
from mbrl_ros.models import passport

pytestmark = pytest.mark.ros

PATIENCE_S = 120.0


class Client:
    """One action client beside a running trainer."""

    def __init__(self, bench, processes):
        from mbrl_ros.action import Train
        from rclpy.action import ActionClient

        self.bench, self.processes, self.kind = bench, processes, Train
        self._client = ActionClient(bench.node, Train, "/trainer/train")
        bench.spin_until(self._client.server_is_ready, PATIENCE_S, "the trainer")

    def send(self, recipe, bags, out, feedback=None):
        """The goal's handle, and the list that its feedback comes into."""
        heard = []
        goal = self.kind.Goal(recipe=str(recipe), bags=[str(bag) for bag in bags], out=str(out), seed=3)
        answer = self._client.send_goal_async(goal, lambda message: heard.append(message.feedback))
        self.bench.spin_until(answer.done, PATIENCE_S, "answer to a goal")
        return answer.result(), heard

    def result(self, handle):
        """Status and result of a goal."""
        asked = handle.get_result_async()
        self.bench.spin_until(asked.done, PATIENCE_S, "result of a goal")
        return asked.result().status, asked.result().result


@pytest.fixture(scope="module")
def client(ros_domain_of_module, tmp_path_factory):
    from harness import running

    graph = Graph((NodeSpec("trainer", {}),))
    with running(graph, tmp_path_factory.mktemp("logs")) as (processes, bench):
        yield Client(bench, processes)


def test_it_trains_as_the_command_does_and_tells_how_far_it_is(client, weaving_bag, write_recipe, tmp_path):
    from action_msgs.msg import GoalStatus

    recipe = write_recipe()
    handle, heard = client.send(recipe, [weaving_bag], tmp_path / "car")
    assert handle.accepted
    status, result = client.result(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.message
    assert (result.success, result.message, result.path) == (True, "", str(tmp_path / "car"))
    assert [(feedback.epoch, feedback.epochs) for feedback in heard] == [(k, 3) for k in (1, 2, 3)]
    assert heard[0].remaining > heard[-1].remaining == 0.0
    assert 0 < heard[-1].held_out_score < 10
    assert '"weaving@1s"' in result.scores_json

    torch.set_num_threads(1)
    here = Training(str(recipe), [weaving_bag], tmp_path / "here", seed=3, reading={"mean_commands": True})
    assert result.model_id == passport.load(tmp_path / "car").id == run_training(here).model.id


def test_cancelled_it_keeps_the_best_so_far_and_while_it_runs_there_is_no_second(
    client, weaving_bag, write_recipe, tmp_path
):
    from action_msgs.msg import GoalStatus

    recipe = write_recipe(training={"epochs": 400, "patience": 400})
    handle, heard = client.send(recipe, [weaving_bag], tmp_path / "car")
    client.bench.spin_until(lambda: len(heard) >= 2, PATIENCE_S, "two epochs")
    second, _ = client.send(recipe, [weaving_bag], tmp_path / "other")
    assert not second.accepted
    assert "goal rejected: a training is running" in client.processes.log("trainer").read_text()
    cancelled = handle.cancel_goal_async()
    client.bench.spin_until(cancelled.done, PATIENCE_S, "answer to the cancellation")
    status, result = client.result(handle)
    assert status == GoalStatus.STATUS_CANCELED
    assert result.success
    assert "stopped after" in result.message
    assert "best so far" in result.message
    loaded = passport.load(tmp_path / "car")
    assert loaded.id == result.model_id
    assert [score.horizon_s for score in loaded.passport.scores] == [1.0, 2.0]


def test_an_error_comes_back_in_the_words_of_the_command(client, weaving_bag, write_recipe, tmp_path):
    from action_msgs.msg import GoalStatus

    recipe = write_recipe()
    for bags, changes in (([tmp_path / "nowhere"], {}), ([weaving_bag], {"training": {"start_every_s": 5.0}})):
        recipe = write_recipe(**changes)
        handle, _ = client.send(recipe, bags, tmp_path / "car")
        status, result = client.result(handle)
        assert status == GoalStatus.STATUS_ABORTED
        assert not result.success
        with pytest.raises(DataError) as refused:
            run_training(Training(str(recipe), bags, tmp_path / "here", seed=3, reading={"mean_commands": True}))
        assert result.message == str(refused.value)
        assert not (tmp_path / "car").exists()


def test_a_training_that_the_system_kills_ends_with_a_reason_and_the_node_goes_on(
    client, weaving_bag, write_recipe, tmp_path
):
    from action_msgs.msg import GoalStatus

    recipe = write_recipe(training={"epochs": 400, "patience": 400})
    handle, heard = client.send(recipe, [weaving_bag], tmp_path / "car")
    client.bench.spin_until(lambda: len(heard) >= 1, PATIENCE_S, "an epoch")
    (child,) = children_of(client.processes.pid("trainer"))
    assert int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[16]) == 10  # niceness
    os.kill(child, signal.SIGKILL)
    status, result = client.result(handle)
    assert status == GoalStatus.STATUS_ABORTED
    assert "runs out of memory: lower batch, hidden or members" in result.message
    resumed, heard_again = client.send(recipe, [weaving_bag], tmp_path / "car")
    client.bench.spin_until(lambda: len(heard_again) >= 1, PATIENCE_S, "an epoch")
    assert heard_again[0].epoch > 1  # it goes on where it was
    resumed.cancel_goal_async()
    assert client.result(resumed)[0] == GoalStatus.STATUS_CANCELED


def test_a_training_ends_with_its_node_and_does_not_blame_the_memory(client, weaving_bag, write_recipe, tmp_path):
    """The last test: it ends the node of this module."""
    recipe = write_recipe(training={"epochs": 400, "patience": 400})
    _, heard = client.send(recipe, [weaving_bag], tmp_path / "car")
    client.bench.spin_until(lambda: len(heard) >= 1, PATIENCE_S, "an epoch")
    (child,) = children_of(client.processes.pid("trainer"))
    assert client.processes.stop() == {"trainer": 0}
    assert not Path(f"/proc/{child}").exists()
    assert "started again, goes on where it was" in client.processes.log("trainer").read_text()


def children_of(pid):
    """Processes whose parent is ``pid``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            found += [int(folder.name)] if parent == pid else []
    return found
