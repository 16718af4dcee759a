"""A model and a racing task as the fused kernels take them: source text for their structure, numbers for the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import torch

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.core.layout import STATE
from mbrl_ros.core.tasks.racing import RacingTask
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.learned.model import OUTPUTS
from mbrl_ros.models.learned.networks import MemberLinear
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.stepping import Held, stepped
from mbrl_ros.planning.members import EachMember
from mbrl_ros.planning.noise import NoiseShape

MOST_PAST = 64
"""Commands before the present that may still act."""

_SHARED_MEMORY_FLOATS = 11 * 1024
"""For the residual's weights; a block has 48 kB on every GPU, and sums need some of it."""

_SOURCES = ("random.cu", "vehicle.cu", "racing.cu", "residual.cu", "mppi.cu")


class UnfitError(MbrlError):
    """The fused kernels cannot do this model, task or setting; the text says which and what can."""


class KernelProblem:
    """What an update is about, apart from the present state.

    The kernels know the kinematic bicycle and the single track, either with a residual network without memory, and
    racing. Everything that is a number comes in at run time; what the text of the equations depends on (the kind, the
    parameters in force, the integrator, the horizon) is compiled in.

    Args:
        model: steps as the task does.
        task: racing.
        shapes: [2] of the noise on each action, all of one horizon.

    Raises:
        UnfitError: the kernels do not know the model or the task.
    """

    def __init__(self, model: DynamicsModel, task: Task, shapes: Sequence[NoiseShape]) -> None:
        own = stepped(model)
        base = own.base if isinstance(own, LearnedModel) else own
        if reason := _unfit(own, base, task):
            raise UnfitError(reason)
        assert isinstance(base, ParametricModel) and isinstance(task, RacingTask)  # noqa: S101  # as was just found
        self.model, self.task = model, task
        self._tensors = [*_tensors(model), *_tensors(task)]
        self.learned = own if isinstance(own, LearnedModel) else None
        self._base = base
        self.horizon = len(shapes[0].basis)
        self.basis = np.zeros((len(shapes), self.horizon, max(shape.basis.shape[1] for shape in shapes)), np.float32)
        """[2, H, M] bases of the noise, with columns of zeros where they differ in number."""
        for row, shape in zip(self.basis, shapes, strict=True):
            row[:, : shape.basis.shape[1]] = shape.basis
        self.inputs = _inputs_type(_record(self._model_values()), _record(self._task_values()), self.horizon)
        self.outcome = _outcome_type(self.horizon)

    def source(self) -> str:
        """The kernels as CUDA C++, which a C++ compiler takes, too."""
        folder = files(__package__)
        structs = [
            _struct("Parameters", self.inputs["model"]),
            _struct("Task", self.inputs["task"]),
            _struct("Inputs", self.inputs),
            _struct("Outcome", self.outcome),
        ]
        texts = [f"#define {name} {value}" for name, value in self._definitions().items()]
        texts += [(folder / "portable.cu").read_text("utf-8"), *structs]
        skipped = () if self.learned else ("residual.cu",)
        texts += [(folder / name).read_text("utf-8") for name in _SOURCES if name not in skipped]
        return "\n".join(texts)

    def fill(self, inputs: np.ndarray) -> None:
        """Write the present parameters, weights and limits into ``inputs``, a scalar of the type `inputs`."""
        for part, values in (("model", self._model_values()), ("task", self._task_values())):
            for name, value in values.items():
                inputs[part][name] = value
        low, high = self.task.bounds()
        inputs["low"], inputs["high"] = low.numpy(), high.numpy()
        inputs["delay_steps"] = (self.model.delay.detach() / self.model.dt).numpy()

    def begin(self, inputs: np.ndarray, state: np.ndarray) -> None:
        """Write the present state [S] into ``inputs``, and what its regimes make of the physics' parameters."""
        inputs["state"] = state[: len(STATE)]
        if self.learned is not None:
            for name, value in self.learned.physics(torch.from_numpy(state)).items():
                inputs["model"][name] = value.numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """The present tables: of the track, and the network's weights, member by member and layer by layer."""
        grid = self.task.grid
        weights = _weights(self.learned) if self.learned is not None else [np.zeros(1)]
        return {
            "table": grid.table.numpy().astype(np.float32),
            "nearest": grid.nearest.numpy(),
            "network": np.concatenate([part.ravel() for part in weights]).astype(np.float32),
        }

    def versions(self) -> tuple[int, ...]:
        """Changes whenever a parameter, weight, limit or table is written to."""
        return tuple(tensor._version for tensor in self._tensors)

    def _definitions(self) -> dict[str, object]:
        config = self._base.config
        basis = {"WHITE": 1} if all(np.array_equal(rows, np.eye(self.horizon)) for rows in self.basis) else {}
        kind = {"KINEMATIC": 1} if self._base.kind == "kinematic_bicycle" else {}
        return {
            **{f"HAS_{name.upper()}": 1 for name in self._base.values()},
            **kind,
            config.integrator.upper(): 1,
            **basis,
            f"AT_{config.reference_point.upper()}": 1,
            "SUBSTEPS": config.substeps,
            "MODEL_DT_S": f"{self._base.dt:.9g}f",
            "TASK_DT_S": f"{self.task.dt:.9g}f",
            "HORIZON": self.horizon,
            "KNOTS": self.basis.shape[2],
            **self._residual_definitions(),
        }

    def _residual_definitions(self) -> dict[str, object]:
        if self.learned is None:
            return {}
        network = self.learned.config.network
        return {
            "RESIDUAL": 1,
            "HIDDEN": network.hidden,
            "HIDDEN_LAYERS": network.layers,
            "MEMBERS": len(self.learned.elites),
            "NETWORK_SIZE": _network_size(self.learned),
            "SEES_PREDICTED": int(network.sees == "predicted"),
            "HELD_STEPS": self.model.steps if isinstance(self.model, Held) else 1,
        }

    def _model_values(self) -> dict[str, np.ndarray]:
        values = {name: np.asarray(value) for name, value in self._base.values().items()}
        if self.learned is None:
            return values
        constants = ("mean", "std", "limits", "held_s", "share")
        guard = self.learned.config.guard
        return {
            **values,
            **{name: self.learned.get_buffer(name).numpy() for name in constants},
            **{f"guard_{name}": np.asarray(getattr(guard, name)) for name in ("longitudinal", "lateral", "sideslip")},
        }

    def _task_values(self) -> dict[str, np.ndarray]:
        tables = ("grid.table", "grid.nearest")
        named = {name: buffer for name, buffer in self.task.named_buffers() if name not in tables}
        return {name.replace(".", "_"): buffer.numpy() for name, buffer in named.items()}


def _unfit(model: DynamicsModel, base: object, task: Task) -> str:
    """Why the kernels cannot do it, or nothing."""
    instead = "the fused kernels; use mppi.backend: compiled"
    if not isinstance(task, RacingTask):
        return f"{type(task).__name__} is no task of {instead}"
    if task.obstacles is not None:
        return f"a task with obstacles is none of {instead}"
    if math.ceil(float(model.delay.detach().max()) / model.dt) >= MOST_PAST:
        return f"a delay of {MOST_PAST} steps and more is none of {instead}"
    if isinstance(model, EachMember):
        return f"an ensemble whose members each go their own way (tail_share, disagreement_weight) is none of {instead}"
    if not isinstance(base, ParametricModel) or base.config.drive != "acceleration":
        return f"a {model.kind} model on something else than physics that takes accelerations is none of {instead}"
    if isinstance(model, LearnedModel):
        if model.cell is not None:
            return f"a network with memory ({model.config.network.kind}) is none of {instead}"
        if _network_size(model) > _SHARED_MEMORY_FLOATS:
            return f"a network of {_network_size(model)} weights is too large for {instead}"
    return ""


def _network_size(model: LearnedModel) -> int:
    network, seen = model.config.network, len(model.mean)
    between = (network.layers - 1) * network.hidden * (network.hidden + 1)
    ends = network.hidden * (seen + 1) + len(OUTPUTS) * (network.hidden + 1)
    return len(model.elites) * (between + ends)


def _weights(model: LearnedModel) -> list[np.ndarray]:
    """Of each member that acts, layer by layer: [inputs, outputs], then the bias; outputs are the means alone."""
    layers = [layer for layer in model.head.layers if isinstance(layer, MemberLinear)]
    return [
        part.detach().numpy()[member, :, : len(OUTPUTS) if layer is layers[-1] else None]
        for member in model.elites.tolist()
        for layer in layers
        for part in (layer.weight, layer.bias)
    ]


def _tensors(module: object) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()] if isinstance(module, torch.nn.Module) else []


def _record(values: dict[str, np.ndarray]) -> np.dtype:
    return np.dtype([(name, np.float32, value.shape) for name, value in values.items()])


def _inputs_type(model: np.dtype, task: np.dtype, horizon: int) -> np.dtype:
    """All that changes from update to update: a single copy to the GPU."""
    single, pair, sequence = np.float32, (2,), (horizon, 2)
    return np.dtype(
        [
            ("model", model),
            ("task", task),
            ("state", single, (8,)),
            ("low", single, pair),
            ("high", single, pair),
            ("std", single, pair),
            ("delay_steps", single, pair),
            ("past", single, (MOST_PAST, 2)),
            ("nominal", single, sequence),
            ("previous", single, sequence),
            ("pull", single, sequence),
            ("temperature", single),
            ("effective_share", single),
            ("past_count", np.uint32),
            ("antithetic", np.uint32),
            ("seed_low", np.uint32),
            ("seed_high", np.uint32),
            ("update", np.uint32),
        ]
    )


def _outcome_type(horizon: int) -> np.dtype:
    figures = ("temperature", "effective_size", "finite_share", "saturation_share")
    return np.dtype([("nominal", np.float32, (horizon, 2)), *[(name, np.float32) for name in figures]])


def _struct(name: str, record: np.dtype) -> str:
    """``record`` in C: entries of four bytes each, so neither side pads."""
    kinds = {np.dtype(np.float32): "float", np.dtype(np.uint32): "uint32_t"}
    lines = []
    for field in record.names or ():
        entry = record[field]
        kind = kinds.get(entry.base) or {"model": "Parameters", "task": "Task"}[field]
        lines.append(f"    {kind} {field}{''.join(f'[{size}]' for size in entry.shape)};")
    return "\n".join([f"struct {name} {{", *lines, "};"])
