"""dynamics_server: owns the model in force, hands it out, predicts with it, judges it, and swaps it only with proof."""

from __future__ import annotations

import math
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ackermann_msgs.msg import AckermannDriveStamped
from pydantic import Field
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from mbrl_ros.bringup.online_adaptation import OnlineAdaptation, OnlineSettings, Standing
from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.trust import TrustSettings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.driven_paths import driven_paths
from mbrl_ros.evaluation.judge import EVIDENCE_RATE_HZ, KEPT_BESIDES_S, STATES_PER_KEPT
from mbrl_ros.evaluation.judging import Judging
from mbrl_ros.evaluation.live import live_errors
from mbrl_ros.evaluation.proof import ProofSettings
from mbrl_ros.evaluation.serving import ModelInForce, read
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.plausibility import require_same_car
from mbrl_ros.msg import ModelInfo, ModelTrust, PredictionError, VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.messages import state_of, to_seconds
from mbrl_ros.nodes.shared.model_messages import (
    adaptation_report,
    error_message,
    model_message,
    trust_message,
    trust_report,
)
from mbrl_ros.nodes.shared.model_services import ModelServices
from mbrl_ros.nodes.shared.path_markers import paths_message
from mbrl_ros.nodes.shared.run import run

HORIZONS_S = (0.1, 0.5, 1.0)
"""Of ~/prediction_error; the longest is that of ~/predicted_paths."""

PATH_EVERY_S = 0.5
"""Between the starts of ~/predicted_paths [s]."""


class DynamicsServerSettings(Settings):
    """Parameters of the dynamics_server node."""

    vehicle: str = Field(description="path of the vehicle's YAML, for its nominal model")
    model: str = Field("", description="folder of the model to serve first; empty: the nominal kinematic bicycle")
    nominal_dt_s: float = Field(0.02, gt=0.0, le=0.2, description="step of the nominal model [s]")
    heartbeat_rate_hz: float = Field(50.0, ge=1.0, le=100.0, description="rate of ~/model_id")
    error_rate_hz: float = Field(0.5, ge=0.1, le=10.0, description="rate of ~/prediction_error")
    error_window_s: float = Field(
        10.0, gt=1.0, le=120.0, description="driving that prediction errors are taken over [s]"
    )
    states_per_kept: int = Field(
        STATES_PER_KEPT, ge=1, le=100, description="of so many states one is compared with predictions"
    )
    trust_rate_hz: float = Field(10.0, ge=2.0, le=50.0, description="rate of ~/trust")
    evidence_rate_hz: float = Field(
        EVIDENCE_RATE_HZ, ge=1.0, le=20.0, description="rate at which the model in force is judged"
    )
    judging_timeout_s: float = Field(
        5.0, ge=1.0, le=60.0, description="longest that a judgement may take; beyond it ~/trust falls silent"
    )
    proof: ProofSettings = Field(default_factory=ProofSettings, description="what a new model has to show")
    trust: TrustSettings = Field(default_factory=TrustSettings, description="when the model in force is doubted")
    adapt: OnlineSettings = Field(default_factory=OnlineSettings, description="adaptation while driving")


class DynamicsServerNode:
    """Publishes ``~/model`` and ``~/trust`` (latched), ``~/model_id`` (heartbeat), ``~/prediction_error`` and, where
    somebody looks, ``~/predicted_paths``; services
    ``~/get_model``, ``~/predict_trajectory``, ``~/load_model``, ``~/adapt``, ``~/cancel_adaptation`` and
    ``~/reset_trust``."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        # The heartbeat must get its turn while errors are scored.
        sys.setswitchinterval(0.001)
        self.node = Node("dynamics_server")
        self.clock = NodeClock(self.node)
        self.settings = settings = parameters.declare(self.node, DynamicsServerSettings)
        vehicle = read_settings(settings.vehicle, Vehicle)
        with tempfile.TemporaryDirectory(prefix="mbrl_ros_nominal_") as scratch:
            folder = Path(scratch, "nominal")
            passport.save(build_for(vehicle, "kinematic_bicycle", dt=settings.nominal_dt_s), folder)
            nominal = read(folder)
        first = read(Path(settings.model)) if settings.model else nominal
        require_same_car(first.loaded, vehicle)
        self._models = ModelInForce(first, nominal, settings.proof, settings.trust, vehicle)
        learned_s = settings.adapt.driving_s if settings.adapt.folder else 0.0
        self._driven = Driven(max(settings.error_window_s, settings.proof.window_s, learned_s) + KEPT_BESIDES_S)
        self._lock = threading.Lock()
        self._states_seen = 0
        self._frame_id = ""
        self._latest_error: PredictionError | None = None
        self._judging = Judging(self._judge, settings.judging_timeout_s)
        self._error_is_due = False
        self._info = self.node.create_publisher(ModelInfo, "~/model", quality.LATCHED)
        self._trust = self.node.create_publisher(ModelTrust, "~/trust", quality.LATCHED)
        self._heartbeat = self.node.create_publisher(String, "~/model_id", quality.COMMAND)
        self._error = self.node.create_publisher(PredictionError, "~/prediction_error", quality.STATE)
        self._paths = self.node.create_publisher(MarkerArray, "~/predicted_paths", quality.STATE)
        self._diagnostics = diagnostics.Diagnostics(self.node, "model", self._report)
        self._announce()
        # Only a few of the states are needed: the others are not even decoded.
        self.node.create_subscription(VehicleState, "/vehicle_state", self._on_state, quality.STATE, raw=True)
        self.node.create_subscription(AckermannDriveStamped, "/drive", self._on_drive, quality.SENT)
        self.node.create_timer(1.0 / settings.heartbeat_rate_hz, self._on_heartbeat)
        self.node.create_timer(1.0 / settings.trust_rate_hz, self._publish_trust)
        self.node.create_timer(1.0 / settings.evidence_rate_hz, self._on_evidence)
        self.node.create_timer(1.0 / settings.error_rate_hz, self._on_error)
        self._adaptation = OnlineAdaptation(
            settings.adapt, self._models, self._driving, self._announce, self._on_adapted
        )
        self._adaptation_diagnostics = diagnostics.Diagnostics(
            self.node, "adaptation", lambda: adaptation_report(self._adaptation.standing)
        )
        adapt = self._adaptation.begin, self._adaptation.cancel
        self._services = ModelServices(self.node, self._models, self._driving, self._announce, *adapt)

    def close(self) -> None:
        """Wait for what is under way."""
        self._services.close()
        self._adaptation.close()
        self._judging.close()

    def _announce(self) -> None:
        served = self._models.present
        self._info.publish(model_message(served, self.clock.now_s()))
        self._publish_trust()
        self.node.get_logger().info(f"model {served.id} ({served.loaded.model.kind}) from {served.folder} is in force")

    def _on_heartbeat(self) -> None:
        self._heartbeat.publish(String(data=self._models.present.id))

    def _publish_trust(self) -> None:
        # What was found before a judgement that does not end says nothing of now.
        if self._judging.overdue(self.clock.steady_s()):
            return
        self._trust.publish(trust_message(self._models.standing, self._models.nominal.id))

    def _on_state(self, data: bytes) -> None:
        self._states_seen += 1
        if self._states_seen % self.settings.states_per_kept == 0:
            message = deserialize_message(data, VehicleState)
            self._frame_id = message.header.frame_id
            with self._lock:
                self._driven.observe(to_seconds(message.header.stamp), state_of(message))

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        drive = message.drive
        sent = np.array([drive.steering_angle, drive.acceleration, drive.speed])
        with self._lock:
            self._driven.command(to_seconds(message.header.stamp), sent)

    def _driving(self) -> Driven:
        with self._lock:
            return self._driven.copy()

    def _on_adapted(self, standing: Standing) -> None:
        logger = self.node.get_logger()
        (logger.error if standing.failed else logger.info)(f"adaptation: {standing.words}")

    def _on_error(self) -> None:
        self._error_is_due = True

    def _on_evidence(self) -> None:
        # Judging takes longer than the heartbeat may pause, so it has a thread of its own, on a copy.
        if self._judging.under_way:
            return
        driven = self._driving()
        # Not "newer than": simulated time may have been set back.
        if math.isinf(driven.stamp_s) or driven.stamp_s == self._models.standing.stamp_s:
            return
        self._judging.begin(driven, self.clock.steady_s())

    def _judge(self, driven: Driven) -> None:
        self._guarded("the model in force cannot be judged", self._watch, driven)
        if self._error_is_due:
            self._error_is_due = False
            self._guarded("live errors cannot be told", self._publish_error, driven)

    def _guarded(self, failed: str, work: Callable[[Driven], None], driven: Driven) -> None:
        """Judging goes on whatever fails in it; once in a while it is said in full."""
        try:
            work(driven)
        except Exception:
            self.node.get_logger().error(f"{failed}:\n{traceback.format_exc()}", throttle_duration_sec=10.0)

    def _watch(self, driven: Driven) -> None:
        before = self._models.standing
        try:
            if taken_back := self._models.watch(driven):
                self.node.get_logger().error(f"model {before.model_id} is taken back: {taken_back}")
                self._announce()
        finally:
            now = self._models.standing
            if now.level != before.level:
                self._publish_trust()
                self.node.get_logger().warning(f"trust in {now.model_id}: {now.level.name} {now.reason}")

    def _publish_error(self, driven: Driven) -> None:
        served = self._models.present
        errors = live_errors(driven, served.loaded.model, HORIZONS_S, self.settings.error_window_s)
        if errors is not None:
            self._latest_error = error_message(errors, served.id, self.settings.error_window_s)
            self._error.publish(self._latest_error)
        if self._paths.get_subscription_count():
            paths = driven_paths(
                driven, served.loaded.model, HORIZONS_S[-1], self.settings.error_window_s, PATH_EVERY_S
            )
            if paths is not None:
                self._paths.publish(paths_message(paths, self._frame_id))

    def _report(self) -> diagnostics.Report:
        return trust_report(self._models, self._latest_error, self._judging.overdue(self.clock.steady_s()))


def main() -> None:
    """Run the node."""
    run("dynamics_server", DynamicsServerNode)


if __name__ == "__main__":
    main()
