"""The model in force, its predictions and the trust in it, as messages and back."""

from __future__ import annotations

import json
import math

import numpy as np
import torch

from mbrl_ros.bringup import online_adaptation
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import STATE
from mbrl_ros.core.trust import TrustLevel
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.judge import Standing
from mbrl_ros.evaluation.live import HorizonErrors
from mbrl_ros.evaluation.serving import ModelInForce, Served
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.models.prediction import predict
from mbrl_ros.msg import ModelInfo, ModelTrust, PredictionError
from mbrl_ros.nodes.shared import diagnostics
from mbrl_ros.nodes.shared.messages import doubles, to_stamp
from mbrl_ros.srv import PredictTrajectory

LARGEST_PREDICTION = 100_000
"""States that a single PredictTrajectory may ask for: rollouts by the thousand belong into the asker's process."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""States [B, S] and actions [B, H, A]."""

_LEVELS = {
    TrustLevel.TRUSTED: diagnostics.OK,
    TrustLevel.CAUTIOUS: diagnostics.WARN,
    TrustLevel.NOMINAL: diagnostics.WARN,
    TrustLevel.STOP: diagnostics.ERROR,
}


def model_message(served: Served, stamp_s: float) -> ModelInfo:
    """ModelInfo of a served model."""
    model, record = served.loaded.model, served.loaded.passport
    info = ModelInfo(
        model_id=served.id,
        kind=model.kind,
        path=str(served.folder),
        state_names=list(model.state_layout.names),
        action_names=list(model.action_layout.names),
        reference_point=model.reference_point,
        dt=model.dt,
        delay=doubles(model.delay.detach().double().numpy()),
        scores_json=json.dumps({f"{s.bag}@{s.horizon_s:g}s": s.fde_m for s in record.scores}),
    )
    info.header.stamp = to_stamp(stamp_s)
    return info


def error_message(errors: HorizonErrors, model_id: str, window_s: float) -> PredictionError:
    """PredictionError of live errors over ``window_s``."""
    message = PredictionError(
        model_id=model_id,
        horizons=doubles(np.array(errors.horizons_s)),
        position_error=doubles(errors.position_m),
        yaw_error=doubles(errors.yaw_rad),
        speed_error=doubles(errors.speed_mps),
        yaw_rate_error=doubles(errors.yaw_rate_radps),
        starts=[errors.starts] * len(errors.horizons_s),
        window=window_s,
    )
    message.header.stamp = to_stamp(errors.stamp_s)
    return message


def trust_message(standing: Standing, nominal_id: str) -> ModelTrust:
    """ModelTrust of how the model in force stands."""
    message = ModelTrust(
        level=int(standing.level),
        model_id=standing.model_id,
        nominal_id=nominal_id,
        speed_cap=standing.speed_cap_mps,
        reason=standing.reason,
        **vars(standing.evidence),
    )
    message.header.stamp = to_stamp(standing.stamp_s)
    return message


def trust_report(models: ModelInForce, error: PredictionError | None, overdue: str) -> diagnostics.Report:
    """What diagnostics say of the model in force: trust, evidence, the last live error, and why nobody judges it
    (``overdue``), where that is so."""
    standing = models.standing
    values: dict[str, object] = {
        "model_id": standing.model_id,
        "kind": models.present.loaded.model.kind,
        "trust": standing.level.name,
        "speed cap [m/s]": f"{standing.speed_cap_mps:g}",
        "nominal_id": models.nominal.id,
        "judgements failed": standing.failures,
    }
    values |= {
        name: "unknown" if math.isnan(value) else f"{value:.2f}" for name, value in vars(standing.evidence).items()
    }
    if error is not None:
        pairs = zip(error.horizons, error.position_error, strict=True)
        values |= {f"position error at {horizon:g} s [m]": f"{metres:.3f}" for horizon, metres in pairs}
    words = f"{standing.model_id} in force" + (f", {standing.level.name}: {standing.reason}" if standing.reason else "")
    if overdue:
        return diagnostics.ERROR, f"{words}; {overdue}", values
    if standing.unjudged:
        level = max(_LEVELS[standing.level], diagnostics.WARN)
        return level, f"{words}; it cannot be judged: {standing.unjudged}", values
    return _LEVELS[standing.level], words, values


def adaptation_report(standing: online_adaptation.Standing) -> diagnostics.Report:
    """What diagnostics say of the adaptation under way, or of the last one."""
    return diagnostics.WARN if standing.failed else diagnostics.OK, standing.words, {"running": standing.running}


def requested(request: PredictTrajectory.Request, model: DynamicsModel, driven: Driven) -> Batch:
    """What is to be predicted; the memory of a model that has one is that of ``driven`` where the request has none.

    Raises:
        ModelError: the request does not fit the model; the message says how.
        ValueError: the numbers do not fill whole rows.
    """
    if abs(request.dt - model.dt) > 1e-9:
        raise ModelError(f"the model steps {model.dt:g} s, asked for {request.dt:g} s")
    states = np.asarray(request.states).reshape(request.batch, -1)
    actions = np.asarray(request.actions).reshape(request.batch, -1, len(model.action_layout))
    size = len(model.state_layout)
    if states.shape[1] not in (size, len(STATE)):
        raise ModelError(f"states have {states.shape[1]} entries, the model's have {size}: {model.state_layout.names}")
    if states.shape[0] * (actions.shape[1] + 1) > LARGEST_PREDICTION:
        raise ModelError(f"{actions.shape[:2]} states at once; evaluate the model from ~/get_model instead")
    if not (np.isfinite(states).all() and np.isfinite(actions).all()):
        raise ModelError("states or actions are not finite")
    dtype = model.delay.dtype
    begin = torch.from_numpy(states).to(dtype)
    if begin.shape[1] < size:
        present = driven.now(model)
        if present is None:
            raise ModelError("too little driving yet to fill the model's memory; send states with its memory in them")
        begin = torch.cat([begin, present[len(STATE) :].expand(len(begin), -1)], dim=1)
    return begin, torch.from_numpy(actions).to(dtype)


def fill_prediction(response: PredictTrajectory.Response, loaded: LoadedModel, batch: Batch) -> None:
    """Put the prediction for ``batch`` into ``response``.

    Raises:
        ModelError: it is not finite.
    """
    prediction = predict(loaded, *batch)
    if not bool(torch.isfinite(prediction.states).all()):
        raise ModelError("the prediction is not finite")
    response.states = doubles(prediction.states.double().numpy())
    if prediction.covariance is not None:
        response.covariance = doubles(prediction.covariance.double().numpy())
    if prediction.novelty is not None:
        response.out_of_distribution = doubles(prediction.novelty.double().numpy())
    response.model_id = loaded.id
    response.state_names = list(loaded.model.state_layout.names)
    response.success = True
