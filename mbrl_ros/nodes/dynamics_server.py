"""dynamics_server: owns the model in force, hands it out, predicts with it, and watches how it does."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch
from ackermann_msgs.msg import AckermannDriveStamped
from pydantic import Field
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.errors import MbrlError, ModelError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.live import LiveErrors
from mbrl_ros.models import passport
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build_for
from mbrl_ros.msg import ModelInfo, PredictionError, VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.messages import doubles, state_of, to_seconds, to_stamp
from mbrl_ros.nodes.shared.run import run
from mbrl_ros.srv import GetModel, LoadModel, PredictTrajectory

STATES_PER_KEPT = 5
"""Of so many states one is compared with predictions."""

LARGEST_PREDICTION = 2_000_000
"""States a single PredictTrajectory may ask for: rollouts by the thousand belong into the asker's process."""


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


class DynamicsServerNode:
    """Publishes ``~/model`` (latched), ``~/model_id`` (heartbeat) and ``~/prediction_error``; services
    ``~/get_model``, ``~/predict_trajectory`` and ``~/load_model``."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        # The heartbeat must get its turn while errors are scored.
        sys.setswitchinterval(0.001)
        self.node = Node("dynamics_server")
        self.settings = parameters.declare(self.node, DynamicsServerSettings)
        vehicle = read_settings(self.settings.vehicle, Vehicle)
        self._errors = LiveErrors(self.settings.error_window_s, (0.1, 0.5, 1.0))
        self._latest_error: PredictionError | None = None
        self._scoring: threading.Thread | None = None
        self._states_seen = 0
        self._info = self.node.create_publisher(ModelInfo, "~/model", quality.LATCHED)
        self._heartbeat = self.node.create_publisher(String, "~/model_id", quality.COMMAND)
        self._error = self.node.create_publisher(PredictionError, "~/prediction_error", quality.STATE)
        self._previous: Path | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="mbrl_ros_nominal_")
        folder = Path(self.settings.model) if self.settings.model else Path(self._scratch.name, "nominal")
        if not self.settings.model:
            nominal = build_for(vehicle, "kinematic_bicycle", dt=self.settings.nominal_dt_s)
            passport.save(nominal, folder)
        self._install(folder)
        self._diagnostics = diagnostics.Diagnostics(self.node, "model", self._report)
        # Only a few of the states are needed: the others are not even decoded.
        self.node.create_subscription(VehicleState, "/vehicle_state", self._on_state, quality.STATE, raw=True)
        self.node.create_subscription(AckermannDriveStamped, "/drive", self._on_drive, quality.STATE)
        self.node.create_service(GetModel, "~/get_model", self._on_get_model)
        self.node.create_service(PredictTrajectory, "~/predict_trajectory", self._on_predict)
        self.node.create_service(LoadModel, "~/load_model", self._on_load_model)
        self.node.create_timer(1.0 / self.settings.heartbeat_rate_hz, self._on_heartbeat)
        self.node.create_timer(1.0 / self.settings.error_rate_hz, self._on_error)

    def close(self) -> None:
        """Wait for a score under way, and drop the nominal model's scratch folder."""
        if self._scoring is not None:
            self._scoring.join()
        self._scratch.cleanup()

    def _install(self, folder: Path) -> None:
        """Validate the model in ``folder`` and put it in force; on an error nothing has changed."""
        # Read once: what is handed out is what is in force, also where the folder is replaced meanwhile.
        files = passport.read(folder)
        try:
            loaded = passport.from_bytes(*files)
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from error
        self._files, self._loaded, self._folder = files, loaded, folder
        self._info.publish(self._describe())
        self.node.get_logger().info(f"model {loaded.id} ({loaded.model.kind}) from {folder} is in force")

    def _describe(self) -> ModelInfo:
        model, record = self._loaded.model, self._loaded.passport
        info = ModelInfo(
            model_id=self._loaded.id,
            kind=model.kind,
            path=str(self._folder),
            state_names=list(model.state_layout.names),
            action_names=list(model.action_layout.names),
            reference_point=model.reference_point,
            dt=model.dt,
            delay=doubles(model.delay.detach().double().numpy()),
            scores_json=json.dumps({f"{s.bag}@{s.horizon_s:g}s": s.fde_m for s in record.scores}),
        )
        info.header.stamp = self.node.get_clock().now().to_msg()
        return info

    def _on_heartbeat(self) -> None:
        self._heartbeat.publish(String(data=self._loaded.id))

    def _on_state(self, data: bytes) -> None:
        self._states_seen += 1
        if self._states_seen % STATES_PER_KEPT == 0:
            message = deserialize_message(data, VehicleState)
            self._errors.observe(to_seconds(message.header.stamp), state_of(message))

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        drive = message.drive
        action = np.array([drive.steering_angle, drive.acceleration])
        self._errors.command(to_seconds(message.header.stamp), action)

    def _on_error(self) -> None:
        # Scoring takes longer than the heartbeat may pause, so it has a thread of its own, on a copy.
        if self._scoring is not None and self._scoring.is_alive():
            return
        if self._loaded.model.action_layout != ACTIONS["acceleration"]:
            return
        work = (self._errors.copy(), self._loaded)
        self._scoring = threading.Thread(target=self._publish_error, args=work, name="scoring", daemon=True)
        self._scoring.start()

    def _publish_error(self, driven: LiveErrors, loaded: passport.LoadedModel) -> None:
        errors = driven.score(loaded.model)
        if errors is None:
            return
        message = PredictionError(
            model_id=loaded.id,
            horizons=doubles(np.array(errors.horizons_s)),
            position_error=doubles(errors.position_m),
            yaw_error=doubles(errors.yaw_rad),
            speed_error=doubles(errors.speed_mps),
            yaw_rate_error=doubles(errors.yaw_rate_radps),
            starts=[errors.starts] * len(errors.horizons_s),
            window=self.settings.error_window_s,
        )
        message.header.stamp = to_stamp(errors.stamp_s)
        self._latest_error = message
        self._error.publish(message)

    def _on_get_model(self, request: GetModel.Request, response: GetModel.Response) -> GetModel.Response:
        response.message = self._mismatch(request.model_id)
        response.success = not response.message
        if response.success:
            response.info = self._describe()
            response.passport_yaml, response.weights = self._files
        return response

    def _on_load_model(self, request: LoadModel.Request, response: LoadModel.Response) -> LoadModel.Response:
        folder = Path(request.path) if request.path else self._previous
        before = self._folder
        try:
            if folder is None:
                raise MbrlError("there is no previous model to roll back to")
            self._install(folder)
            self._previous, response.success = before, True
        except MbrlError as error:
            response.message = str(error)
            self.node.get_logger().error(f"model refused, {self._loaded.id} stays in force: {error}")
        response.info = self._describe()
        return response

    def _on_predict(
        self, request: PredictTrajectory.Request, response: PredictTrajectory.Response
    ) -> PredictTrajectory.Response:
        response.message = self._mismatch(request.model_id)
        if not response.message:
            try:
                states = self._predict(request)
                response.states = doubles(states.double().numpy())
                response.model_id = self._loaded.id
                response.state_names = list(self._loaded.model.state_layout.names)
                response.success = True
            except (MbrlError, ValueError, RuntimeError) as error:
                response.message = str(error)
        return response

    def _predict(self, request: PredictTrajectory.Request) -> torch.Tensor:
        model, batch = self._loaded.model, request.batch
        if abs(request.dt - model.dt) > 1e-9:
            raise MbrlError(f"the model steps {model.dt:g} s, asked for {request.dt:g} s")
        states = np.asarray(request.states).reshape(batch, len(model.state_layout))
        actions = np.asarray(request.actions).reshape(batch, -1, len(model.action_layout))
        if states.shape[0] * (actions.shape[1] + 1) > LARGEST_PREDICTION:
            raise MbrlError(f"{actions.shape[:2]} states at once; evaluate the model from ~/get_model instead")
        if not (np.isfinite(states).all() and np.isfinite(actions).all()):
            raise MbrlError("states or actions are not finite")
        dtype = model.delay.dtype
        with torch.no_grad():
            predicted = rollout(model, torch.from_numpy(states).to(dtype), torch.from_numpy(actions).to(dtype))
        if not bool(torch.isfinite(predicted).all()):
            raise MbrlError("the prediction is not finite")
        return predicted

    def _mismatch(self, model_id: str) -> str:
        if model_id in ("", self._loaded.id):
            return ""
        return f"model {self._loaded.id} is in force, not {model_id}"

    def _report(self) -> diagnostics.Report:
        values: dict[str, object] = {"model_id": self._loaded.id, "kind": self._loaded.model.kind}
        if self._latest_error is not None:
            pairs = zip(self._latest_error.horizons, self._latest_error.position_error, strict=True)
            values |= {f"position error at {horizon:g} s [m]": f"{error:.3f}" for horizon, error in pairs}
        return diagnostics.OK, f"{self._loaded.id} in force", values


def main() -> None:
    """Run the node."""
    run("dynamics_server", DynamicsServerNode)


if __name__ == "__main__":
    main()
