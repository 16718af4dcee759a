"""A base and a learned residual: ``s' = f_p(s, a) + f_np(f_p(s, a), a)``, the pose following the velocities."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import ACCELERATION, STATE, STEERING_ANGLE, VX, VY, YAW, YAW_RATE, Layout, X, Y
from mbrl_ros.models.learned.config import Config, Regimes
from mbrl_ros.models.learned.inertia import Inertia
from mbrl_ros.models.learned.networks import Perceptron, RecurrentCell
from mbrl_ros.models.learned.regimes import averaged, belief
from mbrl_ros.models.parametric import ParametricModel

SURPRISES = ("along", "across", "yaw", "vx", "vy", "yaw_rate")
"""What the base got wrong of a recorded step, per second: position in the body frame, heading, velocities."""

OUTPUTS = ("vx", "vy", "yaw_rate")
"""What a network corrects."""

_TELLING = [VY, YAW_RATE]
_SEEN = slice(VX, ACCELERATION + 1)
_VELOCITIES = slice(VX, YAW_RATE + 1)
_RENEWED = {"kinematic_bicycle": ("vy", "yaw_rate")}
"""Velocities that a base computes anew in every step, whatever they were."""

_HOLD_S = 0.1  # by which a correction per second acts on a velocity that is computed anew
_ROLLING_MPS = 0.3  # below this speed corrections fade, so that none moves a standing car
_LOG_VARIANCES = (-10.0, 0.5)  # of outputs as shares of their limits: where their learned bounds begin (PETS)
_LARGEST_INPUT = 5.0  # standard deviations: what lies further out is a sensor's jump, or driving never seen


@dataclass(frozen=True)
class Prepared:
    """Driving before N starts, as far as it does not depend on what is being learned.

    Args:
        car: [N, 8] states at the starts, what is not recorded filled in by the base.
        inputs: [N, P, F] what a network with memory reads of the P steps, not normalised; P and F are 0 without memory.
        shares: [N, K] how much the car is believed to be in each further regime; K is 0 without any.
    """

    car: torch.Tensor
    inputs: torch.Tensor
    shares: torch.Tensor


class LearnedModel(torch.nn.Module):
    """A dynamics model whose networks correct a base.

    Networks see body velocities, yaw rate, road wheel angle, acceleration and the action, never where the car is;
    they give rates of change of the velocities. Zero-initialised, so that an untrained model is its base. The pose
    follows the corrected velocities within the step (second order in the correction); what the guard of the
    configuration does not allow is cut.

    With memory ("gru", "lstm") the state has further columns: the memory of each member, filled by an encoder that
    reads the driving before the start, in particular how far the base was off then (`SURPRISES`). It thereby knows
    of slopes, wind, tyres and of sensors that are late or turned.

    With regimes each member's memory ends with how much the car is believed to be in each of them, told from the
    driving before the start; the physics has its own parameters and theirs in these shares.

    Args:
        base: what is corrected.
        config: see there.
        mean, std: of the networks' inputs, in their order.
    """

    whitening: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    limits: torch.Tensor
    held_s: torch.Tensor
    share: torch.Tensor
    elites: torch.Tensor
    others: torch.Tensor

    def __init__(self, base: ParametricModel | Inertia, config: Config, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.kind = "nonparametric" if isinstance(base, Inertia) else "semiparametric"
        self.base = base
        self.config = config
        self.action_layout = base.action_layout
        self.reference_point = base.reference_point
        self.dt = base.dt
        network, seen = config.network, len(OUTPUTS) + 2 + len(base.action_layout)
        self.encoder: RecurrentCell | None = None
        self.cell: RecurrentCell | None = None
        widths = (seen, *[network.hidden] * network.layers)
        if network.kind != "mlp":
            span = round(network.history_s / self.dt)
            self.encoder = RecurrentCell(network.kind, network.members, seen + len(SURPRISES), network.hidden, span)
            self.cell = RecurrentCell(network.kind, network.members, seen, network.hidden, span)
            widths = (network.hidden,)
        outputs = len(OUTPUTS) * (2 if network.probabilistic else 1)
        self.head = Perceptron(network.members, (*widths, outputs), zero=True)
        if network.probabilistic:
            shape = (network.members, 1, len(OUTPUTS))
            self.lowest, self.highest = (torch.nn.Parameter(torch.full(shape, bound)) for bound in _LOG_VARIANCES)
        self._remembered = self.cell.memory if self.cell is not None else 0
        others = _checked(base, config.regimes)
        self._width = self._remembered + len(others)
        names = tuple(f"memory_{k}" for k in range(network.members * self._width))
        self.state_layout = Layout(STATE.names + names, STATE.units + ("1",) * len(names))
        renewed = [name in _RENEWED.get(base.kind, ()) for name in OUTPUTS]
        self._constant("mean", mean)
        self._constant("std", std)
        self.register_buffer("whitening", torch.eye(seen, dtype=mean.dtype))
        """[F, F] what makes the inputs of a network without memory uncorrelated; says how novel they are."""
        self._constant("limits", torch.tensor(config.guard.residual, dtype=mean.dtype))
        self._constant("held_s", torch.tensor([_HOLD_S if new else self.dt for new in renewed], dtype=mean.dtype))
        self._constant("share", torch.tensor([1.0 if new else 0.5 for new in renewed], dtype=mean.dtype))

        members = range(network.members)
        self._constant("elites", torch.tensor(network.elites or tuple(members)))
        self._constant("others", torch.tensor(others, dtype=mean.dtype))

    def with_base(self, base: ParametricModel) -> LearnedModel:
        """A copy on another base of the same kind; its networks are the same tensors."""
        twin = copy.copy(self)
        twin._modules = {**self._modules, "base": base}
        return twin

    def mirrored(self) -> LearnedModel:
        """The same networks on the base seen in a mirror, for driving seen in one."""
        return self.with_base(self.base.mirrored()) if isinstance(self.base, ParametricModel) else self

    @property
    def delay(self) -> torch.Tensor:
        """[A] transport delay of each action [s]."""
        return self.base.delay.detach()

    @property
    def history_s(self) -> float:
        """Driving before a start that fills the memory, lets the base settle, or tells regimes apart [s]."""
        regimes = self.config.regimes
        return max(self.config.network.history_s, regimes.history_s if regimes else 0.0)

    @property
    def normaliser(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the networks' inputs."""
        return self.mean, self.std

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., S], [..., A] -> [..., S] state after ``dt``, by the mean of the members."""
        shape = torch.broadcast_shapes(state.shape[:-1], action.shape[:-1])
        state = state.expand(*shape, -1).reshape(-1, state.shape[-1])
        action = action.expand(*shape, -1).reshape(-1, action.shape[-1])
        car = state[:, : len(STATE)]
        memory = self._by_member(state[:, len(STATE) :])
        predicted = self._predicted(car, action, memory)
        output, memory = self._network(self._seen(car, predicted, action)[None], memory)
        change = self._change(output)[self.elites].mean(dim=0)
        following = self._corrected(car, predicted, change)
        return torch.cat([following, self._flat(memory)], dim=-1).reshape(*shape, -1)

    def sample(
        self, state: torch.Tensor, action: torch.Tensor, member: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """[N, S], [N, A] -> [N, S] a state that may follow: what one member says, with what it is uncertain of.

        Args:
            state: as for the model itself.
            action: likewise.
            member: [N] which member each row believes.
            noise: [N, 3] standard normal; without effect where members do not say how uncertain they are.
        """
        car = state[:, : len(STATE)]
        memory = self._by_member(state[:, len(STATE) :])
        predicted = self._predicted(car, action, memory)
        output, memory = self._network(self._seen(car, predicted, action)[None], memory)
        chosen = output[member, torch.arange(len(state), device=state.device)]
        change = self._change(chosen)
        if self.config.network.probabilistic:
            variance = self.log_variance(output)[member, torch.arange(len(state), device=state.device)].exp()
            change = change + self.limits * variance.sqrt() * noise
        return torch.cat([self._corrected(car, predicted, change), self._flat(memory)], dim=-1)

    def outputs(
        self, car: torch.Tensor, memory: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What is learned of one step: mean and log-variance of `OUTPUTS` as shares of their limits, [M, N, 3] each.

        The third is the base's prediction [N, 8]. Arguments as those of `advance`, but ``car`` is [N, 8].
        """
        predicted = self._predicted(car, action, memory)
        output, _ = self._network(self._seen(car, predicted, action)[None], memory)
        return torch.tanh(output[..., : len(OUTPUTS)]), self.log_variance(output), predicted

    def log_variance(self, output: torch.Tensor) -> torch.Tensor:
        """[M, N, 3] of what the networks put out, softly held between learned bounds (Chua et al. 2018, appendix A)."""
        said = output[..., len(OUTPUTS) :]
        said = self.highest - torch.nn.functional.softplus(self.highest - said)
        return self.lowest + torch.nn.functional.softplus(said - self.lowest)

    def start(self, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
        """[N, S] states to begin with; see `models.starting.start`."""
        prepared = self.prepare(states, observed, applied)
        return torch.cat([prepared.car, self._flat(self.recall(prepared.inputs, prepared.shares))], dim=-1)

    def prepare(self, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor) -> Prepared:
        """What depends on the base alone; arguments as those of `models.starting.start`."""
        shares = states.new_zeros(len(states), 0)
        regimes = self.config.regimes
        if regimes is not None:
            usual = states.new_tensor(regimes.surprise)
            seen = self._newest(states, applied, regimes.history_s)
            shares = belief(self.surprises(seen[0], observed, seen[1]) / usual)[:, 1:]
        inputs = states.new_zeros(len(states), 0, 0)
        if self.encoder is not None or not bool(observed.all()):  # else nothing is to be read or filled in
            states, applied = self._newest(states, applied, self.config.network.history_s)
            states, predicted = self._followed(states, observed, applied, self._physics(shares.T))
            if self.encoder is not None:
                inputs = self._read(states[:, :-1], states[:, 1:], predicted, applied)
        return Prepared(states[:, -1], inputs, shares)

    def _newest(
        self, states: torch.Tensor, applied: torch.Tensor, history_s: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last ``history_s`` of states [N, P + 1, 8] and actions [N, P, A], or as much as there is."""
        steps = min(math.ceil(history_s / self.dt - 1e-9), applied.shape[1])
        return states[:, states.shape[1] - 1 - steps :], applied[:, applied.shape[1] - steps :]

    def surprises(self, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
        """[R, N, C, 2] what physics gets wrong of (vy, yaw_rate) per second in each regime, its own first.

        On average over spans of `regimes.SPAN_S`, the oldest first; 0 where nothing is recorded. Arguments as those of
        `models.starting.start`.
        """
        found = []
        for others in torch.cat([self.others.new_zeros(1, len(self.others)), torch.eye(len(self.others))]).to(states):
            recorded, predicted = self._followed(states, observed, applied, self._physics(others))
            missed = (recorded[:, 1:, _TELLING] - predicted[..., _TELLING]) / self.dt
            found.append(averaged(missed, self.dt))
        return torch.stack(found)

    def _followed(
        self, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor, physics: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, P + 1, 8] states, what is not recorded as the base has it, and [N, P, 8] its predictions one step on."""
        if bool(observed.all()):  # then no step needs the one before it, and all are predicted at once
            along = {name: value[..., None] for name, value in physics.items()}
            return states, self._based(states[:, :-1], applied, along)
        recorded, predicted = [states[:, 0]], []
        for k in range(applied.shape[1]):
            predicted.append(self._based(recorded[-1], applied[:, k], physics))
            recorded.append(torch.where(observed, states[:, k + 1], predicted[-1]))
        return torch.stack(recorded, dim=1), torch.stack(predicted, dim=1) if predicted else states[:, :0]

    def _read(
        self, car: torch.Tensor, recorded: torch.Tensor, predicted: torch.Tensor, action: torch.Tensor
    ) -> torch.Tensor:
        """[..., F] what a network with memory reads of a step that led from ``car`` to ``recorded``."""
        surprise = _surprise(recorded, predicted) / self.dt
        return torch.cat([recorded[..., _SEEN], self._asked(car, action), surprise], dim=-1)

    def recall(self, inputs: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """[M, W, N] memory after the driving ``inputs`` [N, P, F], in regimes as ``shares`` [N, K] say."""
        members = self.config.network.members
        memory = inputs.new_zeros(members, self._remembered, len(inputs))
        if self.encoder is not None:
            for x in self._normalised(inputs).unbind(dim=1):
                memory = self.encoder(x.T.expand(members, -1, -1), memory)
        return torch.cat([memory, shares.T.expand(members, -1, -1)], dim=1) if self.config.regimes else memory

    def advance(
        self, car: torch.Tensor, memory: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The next [M, N, 8] states and memories [M, W, N], each member going its own way; ``action`` is [N, A]."""
        predicted = self._predicted(car, action, memory)
        output, memory = self._network(self._seen(car, predicted, action.expand(len(car), -1, -1)), memory)
        return self._corrected(car, predicted, self._change(output)), memory

    def separate(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[M, N, 8] and [M, W, N] states [N, S] for `advance`: each member begins with the same car."""
        car = state[:, : len(STATE)].expand(self.config.network.members, -1, -1)
        return car, self._by_member(state[:, len(STATE) :])

    def novelty(self, car: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[N] how far a state [N, 8] and an action [N, A] are from what was learned from: 1 is its median.

        Mahalanobis distance of the inputs, as a share of the median; of those that the physics' own parameters give,
        whatever the regime. A passport's ``uncertainty.novelty``
        says beyond what to doubt the model.
        """
        inputs = self.seen(car, action)
        count = inputs.shape[-1]
        scaled = ((inputs - self.mean[:count]) / self.std[:count]) @ self.whitening
        return torch.linalg.vector_norm(scaled, dim=-1) / count**0.5

    def _constant(self, name: str, value: torch.Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def _by_member(self, memory: torch.Tensor) -> torch.Tensor:
        return memory.T.unflatten(0, (self.config.network.members, self._width))

    def _flat(self, memory: torch.Tensor) -> torch.Tensor:
        return memory.flatten(0, 1).T

    def seen(self, car: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., F] what a network without memory reads of a state and an action, not normalised."""
        return self._inputs(car, self.base(car, action), action)

    def _seen(self, car: torch.Tensor, predicted: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self._normalised(self._inputs(car, predicted, action))

    def _inputs(self, car: torch.Tensor, predicted: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        seen = predicted if self.config.network.sees == "predicted" else car
        return torch.cat([seen[..., _SEEN], self._asked(car, action)], dim=-1)

    def _asked(self, car: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., A] what the action asks to change: small differences of large numbers are hard to learn.

        Of steering, acceleration and speed the change from what they are; a duty cycle as it is.
        """
        present = {"acceleration": car[..., ACCELERATION], "speed": car[..., VX]}
        steering, drive = action.unbind(-1)
        if self.config.base.drive in present:
            drive = drive - present[self.config.base.drive]
        return torch.stack([steering - car[..., STEERING_ANGLE], drive], dim=-1)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        count = x.shape[-1]
        return ((x - self.mean[:count]) / self.std[:count]).clamp(-_LARGEST_INPUT, _LARGEST_INPUT)

    def _network(self, x: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the members put out [M, N, 3 or 6], and their memories, given [M or 1, N, F]."""
        x = x.mT.expand(self.config.network.members, -1, -1)
        if self.cell is None:
            return self.head(x).mT, memory
        if self.config.regimes is None:
            memory = self.cell(x, memory)
        else:
            own, regimes = memory[:, : self._remembered], memory[:, self._remembered :]
            memory = torch.cat([self.cell(x, own), regimes], dim=1)
        return self.head(memory[:, : self.cell.hidden]).mT, memory

    @torch.no_grad()
    def physics(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parameters that are others in the regimes of a state [S], by name."""
        memory = self._by_member(state[None, len(STATE) :])
        return {name: value[0] for name, value in self._physics(memory[0, self._remembered :]).items()}

    def _predicted(self, car: torch.Tensor, action: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """[..., 8] the base's prediction, in the regimes that the ``memory`` [M, W, N] of each row says."""
        if self.config.regimes is None:
            return self.base(car, action)
        return self.base(car, action, self._physics(memory[0, self._remembered :]))

    def _based(self, car: torch.Tensor, action: torch.Tensor, physics: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.base(car, action, physics) if physics else self.base(car, action)

    def _physics(self, shares: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parameters [...] that differ between regimes, for ``shares`` [K, ...] of the further ones."""
        if self.config.regimes is None or not isinstance(self.base, ParametricModel):
            return {}
        own = self.base.parameters_by_name()
        return {
            name: own[name] + sum(share * (other - own[name]) for share, other in zip(shares, values, strict=True))
            for name, values in zip(self.config.regimes.names, self.others.unbind(dim=1), strict=True)
        }

    def _change(self, output: torch.Tensor) -> torch.Tensor:
        """[..., 3] rates of change that are added."""
        return self.limits * torch.tanh(output[..., : len(OUTPUTS)])

    def _corrected(self, car: torch.Tensor, predicted: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """``predicted`` with velocities changed at rates ``change``, guarded, and its pose moved along."""
        fade = (predicted[..., VX : VX + 1].abs() / _ROLLING_MPS).clamp(max=1.0)
        velocity = self._guarded(car, predicted[..., _VELOCITIES] + self.held_s * change * fade)
        # Over the step: half of what is added to a velocity by its end, all of it where the base forgets it.
        along, across, turning = (self.share * (velocity - predicted[..., _VELOCITIES])).unbind(-1)
        if isinstance(self.base, ParametricModel) and "velocity_scale" in self.base.parameters_by_name():
            scale = self.base.get_parameter("velocity_scale")
            along, across = along / scale, across / scale
        turn = self.dt * turning
        yaw = predicted[..., YAW] + turn
        moved = _rotated(predicted[..., X] - car[..., X], predicted[..., Y] - car[..., Y], turn / 2)
        added = _rotated(self.dt * along, self.dt * across, (car[..., YAW] + yaw) / 2)
        x, y = (car[..., column] + moved[column] + added[column] for column in (X, Y))
        actuators = predicted[..., STEERING_ANGLE:]
        return torch.cat([torch.stack([x, y, yaw], dim=-1), velocity, actuators], dim=-1)

    def _guarded(self, car: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        guard = self.config.guard
        vx, vy, yaw_rate = velocity.unbind(-1)
        reach = self.dt * guard.longitudinal
        vx = torch.minimum(torch.maximum(vx, car[..., VX] - reach), car[..., VX] + reach)
        speed = vx.abs().clamp_min(_ROLLING_MPS)
        vy = torch.minimum(torch.maximum(vy, -guard.sideslip * speed), guard.sideslip * speed)
        most = guard.lateral / speed
        return torch.stack([vx, vy, torch.minimum(torch.maximum(yaw_rate, -most), most)], dim=-1)


def _checked(base: ParametricModel | Inertia, regimes: Regimes | None) -> list[list[float]]:
    """[K, P] parameters of the further regimes.

    Raises:
        ModelError: the base has no such parameters, or one is out of bounds.
    """
    if regimes is None:
        return []
    if not isinstance(base, ParametricModel):
        raise ModelError(f"regimes: a model on {base.kind} has no physics to be in another regime")
    if unknown := set(regimes.names) - base.values().keys():
        raise ModelError(f"regimes: the {base.kind} model has no {', '.join(sorted(unknown))}")
    for other in regimes.others:
        base.with_parameters(other)
    return [[other[name] for name in regimes.names] for other in regimes.others]


def _surprise(recorded: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    """[..., 6] `SURPRISES` of one step, per step."""
    difference = recorded - predicted
    along, across = _rotated(difference[..., X], difference[..., Y], -predicted[..., YAW])
    columns = (along, across, wrap_angle(difference[..., YAW]), *difference[..., _VELOCITIES].unbind(-1))
    return torch.stack(columns, dim=-1)


def _rotated(x: torch.Tensor, y: torch.Tensor, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * x - sin * y, sin * x + cos * y
