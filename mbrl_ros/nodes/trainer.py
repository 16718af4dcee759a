"""trainer: fits models to recorded drives, as an action."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from pydantic import Field
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from mbrl_ros.action import Train
from mbrl_ros.bringup.child import Advanced, Failed
from mbrl_ros.bringup.training import Training
from mbrl_ros.bringup.training_process import Event, Finished, TrainingProcess
from mbrl_ros.core.config import Settings
from mbrl_ros.data.signals import OnBad
from mbrl_ros.evaluation.fitting import SPLIT
from mbrl_ros.learning.trainer import Epoch
from mbrl_ros.nodes.shared import diagnostics, parameters
from mbrl_ros.nodes.shared.run import run


class TrainerSettings(Settings):
    """Parameters of the trainer node."""

    split: str = Field(SPLIT, description="what to learn from, the rest gives the scores: time:0.8, lap:2 or none")
    vehicle: str = Field("", description="path of the vehicle's YAML: physics begins with its parameters")
    on_bad: OnBad = Field("error", description="what to do with messages that cannot be true")
    niceness: int = Field(10, ge=0, le=19, description="by how much a training lets other processes go first")
    threads: int = Field(1, ge=1, le=64, description="threads of a training")


class TrainerNode:
    """Action ``~/train``: one training at a time, in a process of its own; a cancelled one keeps the best so far."""

    def __init__(self) -> None:
        self.node = Node("trainer")
        self.settings = parameters.declare(self.node, TrainerSettings)
        self._process: TrainingProcess | None = None
        self._thread: threading.Thread | None = None
        self._report: diagnostics.Report = (diagnostics.OK, "idle", {})
        self._diagnostics = diagnostics.Diagnostics(self.node, "training", lambda: self._report)
        self._server = ActionServer(
            self.node,
            Train,
            "~/train",
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )

    def close(self) -> None:
        """End a training at once; the same goal, sent again, goes on where it was."""
        if self._process is not None:
            self._process.kill()
        if self._thread is not None:
            self._thread.join()

    def _on_goal(self, goal: Train.Goal) -> GoalResponse:
        """Actions carry no reason for a refusal: it is in the log."""
        reason = ""
        if self._process is not None:
            reason = "a training is running; wait for its result, or cancel it"
        elif not (goal.recipe and goal.bags and goal.out):
            reason = "recipe, bags and out must be given"
        if reason:
            self.node.get_logger().warning(f"goal rejected: {reason}")
            return GoalResponse.REJECT
        training = Training(
            goal.recipe,
            [Path(bag) for bag in goal.bags],
            Path(goal.out),
            self.settings.split,
            self.settings.vehicle,
            goal.seed,
            reading={"on_bad": self.settings.on_bad, "mean_commands": True},
        )
        self._process = TrainingProcess(training, self.settings.niceness, self.settings.threads)
        return GoalResponse.ACCEPT

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._process is not None:
            self._process.stop()
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> Train.Result:
        done: Future = Future()
        self._thread = threading.Thread(target=self._follow, args=(handle, done), name="training")
        self._thread.start()
        return await done

    def _follow(self, handle: ServerGoalHandle, done: Future) -> None:
        """Tell the client what happens; in a thread, since it mostly waits."""
        assert self._process is not None  # noqa: S101
        end: Event | None = None
        for end in self._process.events():
            if isinstance(end, Epoch):
                feedback = _feedback(end)
                handle.publish_feedback(feedback)
                values = {"held out": feedback.held_out_score, "remaining [s]": round(feedback.remaining)}
                self._report = (diagnostics.OK, f"epoch {end.number} of {end.of}", values)
            elif isinstance(end, Advanced):
                self._report = (diagnostics.OK, f"{end.what}: {end.share:.0%}", {})
        result = Train.Result(path=handle.request.out)
        if isinstance(end, Finished):
            stopped = [note for note in end.notes if note.startswith("stopped after")]
            result.success, result.model_id, result.message = True, end.model_id, "; ".join(stopped)
            result.scores_json = json.dumps({f"{s['bag']}@{s['horizon_s']:g}s": s["fde_m"] for s in end.scores})
        elif isinstance(end, Failed):
            result.message = end.message
        self._conclude(handle, end, result)
        done.set_result(result)

    def _conclude(self, handle: ServerGoalHandle, end: Event | None, result: Train.Result) -> None:
        self._process = None  # the next goal may come as soon as this one is known to be over
        logger = self.node.get_logger()
        if isinstance(end, Finished) and (end.complete or not handle.is_cancel_requested):
            handle.succeed()
            logger.info(f"model {end.model_id} written to {result.path}")
        elif handle.is_cancel_requested and not (isinstance(end, Failed) and not end.stopped):
            handle.canceled()
            logger.info(f"cancelled: {result.message}")
        else:
            handle.abort()
            logger.error(f"training failed: {result.message}")
        level = diagnostics.OK if result.success else diagnostics.WARN
        self._report = (level, "idle", {"last training": result.message or result.model_id})


def _feedback(epoch: Epoch) -> Train.Feedback:
    return Train.Feedback(
        epoch=epoch.number,
        epochs=epoch.of,
        training_loss=epoch.loss,
        held_out_score=sum(epoch.best) / len(epoch.best),
        remaining=(epoch.of - epoch.number) * epoch.duration_s,
    )


def main() -> None:
    """Run the node."""
    run("trainer", TrainerNode)


if __name__ == "__main__":
    main()
