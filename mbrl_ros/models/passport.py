"""A model as a folder: ``weights.safetensors`` and its passport ``model.yaml``, named by the hash of both.

Nothing is unpickled. What does not fit, from a cut file to a parameter out of bounds, is refused with the reason.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import safetensors.torch
import torch
import yaml
from pydantic import Field, FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat, TypeAdapter, ValidationError

from mbrl_ros import __version__
from mbrl_ros.core.config import Settings, parse_settings
from mbrl_ros.core.errors import ConfigError, LayoutError, ModelError
from mbrl_ros.core.layout import Layout, ReferencePoint
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.parametric import KINDS, Config, ParametricModel, build_for

WEIGHTS_FILE = "weights.safetensors"
PASSPORT_FILE = "model.yaml"


class Entry(Settings):
    """One entry of a state or action vector."""

    name: str
    unit: str


class ParameterRecord(Settings):
    """One physical parameter."""

    value: FiniteFloat
    unit: str
    low: FiniteFloat
    high: FiniteFloat
    std: NonNegativeFloat | None = Field(description="standard deviation of the fit; None where it was not fitted")
    identifiable: bool | None = Field(description="whether the driving determined it; None where it was not fitted")


class Normaliser(Settings):
    """Scaling of a learned model's inputs, in their order; physics has none."""

    mean: tuple[FiniteFloat, ...]
    std: tuple[PositiveFloat, ...]


class TrainingBag(Settings):
    """The part of a recording that a model was fitted to."""

    source: str
    sha256: str
    start_s: FiniteFloat
    end_s: FiniteFloat


class Score(Settings):
    """Open-loop position error on driving that the fit did not see."""

    bag: str
    horizon_s: PositiveFloat
    ade_m: NonNegativeFloat = Field(description="mean over the horizon")
    fde_m: NonNegativeFloat = Field(description="at its end")
    starts: NonNegativeInt = Field(description="number of predictions")


class HorizonIntervals(Settings):
    """How far from predicted positions a car was in driving that the network did not learn from.

    Half the width of an interval is ``factor growth (w1 base + w2 spread + w3 novelty base)``, spread being the
    members' at the horizon, novelty the start's, and growth the square of a novelty above 1, at most 5
    (`models.learned.intervals`).
    """

    horizon_s: PositiveFloat
    base_m: tuple[PositiveFloat, PositiveFloat] = Field(description="usual error, along and across the heading")
    along: tuple[PositiveFloat, ...] = Field(description="factors of the levels")
    across: tuple[PositiveFloat, ...] = Field(description="likewise")
    along_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = Field(
        default=(1.0, 1.0, 0.0), description="of the base, the spread, and the novelty"
    )
    across_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = Field(
        default=(1.0, 1.0, 0.0), description="likewise"
    )


class Uncertainty(Settings):
    """What a learned model is uncertain of, calibrated on driving that it did not learn from."""

    levels: tuple[PositiveFloat, ...] = Field(description="share of driving that intervals are to hold")
    horizons: tuple[HorizonIntervals, ...]
    novelty: PositiveFloat = Field(description="beyond this the model is used where it has not been")


class Passport(Settings):
    """Everything about a model that its weights do not say. All is required, so that a cut file is noticed."""

    format: Literal[1]
    kind: str
    state: tuple[Entry, ...]
    action: tuple[Entry, ...]
    reference_point: ReferencePoint
    dt_s: PositiveFloat
    delay_s: tuple[NonNegativeFloat, ...] = Field(description="transport delay of each action")
    config: dict[str, Any] = Field(description="what else the kind is built from: integrator, substeps, ...")
    normaliser: Normaliser | None
    parameters: dict[str, ParameterRecord]
    bags: tuple[TrainingBag, ...]
    split: str = Field(description="how fitted and held-out driving were separated")
    scores: tuple[Score, ...]
    uncertainty: Uncertainty | None = Field(default=None, description="of learned models that say so")
    notes: tuple[str, ...]
    software_version: str
    weights_sha256: str


@dataclass(frozen=True)
class Provenance:
    """Where a model's numbers come from; empty for nominal parameters.

    Args:
        bags: driving fitted to.
        split: how fitted and held-out driving were separated, in words.
        std: standard deviation of the fitted parameters, by name.
        identifiable: whether the driving determined them, by name.
        scores: on held-out driving.
        notes: sentences to read before using the model.
        uncertainty: of its predictions, where that was calibrated.
    """

    bags: tuple[TrainingBag, ...] = ()
    split: str = ""
    std: Mapping[str, float] = field(default_factory=dict)
    identifiable: Mapping[str, bool] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    notes: tuple[str, ...] = ()
    uncertainty: Uncertainty | None = None


class SavableModel(DynamicsModel, Protocol):
    """A dynamics model that says what it is built from, as every ``nn.Module`` with a config dataclass does."""

    config: Any
    """A dataclass. A model with ``normaliser`` and ``base`` has scaled inputs, and physics that it corrects."""

    def state_dict(self) -> dict[str, Any]:
        """Weights by name."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A validated model, ready to use.

    Args:
        model: the module.
        passport: what it was saved with.
        id: see `model_id`.
    """

    model: DynamicsModel
    passport: Passport
    id: str


Weights = dict[str, torch.Tensor]
Loader = Callable[[Passport, Weights], DynamicsModel]

_LOADERS: dict[str, Loader] = {}

_HOMES = {"semiparametric": "mbrl_ros.models.learned", "nonparametric": "mbrl_ros.models.learned"}
"""Packages that register their kinds when they are imported, which a parametric model need not wait for."""


def register(kind: str, loader: Loader) -> None:
    """Make models of ``kind`` loadable: ``loader`` builds one from its passport and weights.

    Raises:
        ModelError: the kind has a loader already.
    """
    if kind in _LOADERS:
        raise ModelError(f"models of kind '{kind}' have a loader already")
    _LOADERS[kind] = loader


def save(model: SavableModel, folder: str | Path, provenance: Provenance | None = None) -> str:
    """Write ``model`` to ``folder``, replacing a model that is there, and return its id.

    Written beside it under a temporary name and moved into place: nobody meets half a model.

    Raises:
        ModelError: the model could not be loaded again, or ``folder`` holds something else.
    """
    return write(folder, *to_bytes(model, provenance))


def write(folder: str | Path, text: str, weights: bytes) -> str:
    """Write the two files of a model as they are, and return its id; see `save`."""
    target = require_free(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        (fresh / WEIGHTS_FILE).write_bytes(weights)
        (fresh / PASSPORT_FILE).write_text(text, encoding="utf-8")
        if target.exists():
            target.rename(Path(scratch, "previous"))
        fresh.rename(target)
    return model_id(text, weights)


def require_free(folder: str | Path, *, replace: bool = True) -> Path:
    """The path of ``folder``, where a model may be written: nothing is there, or a model to ``replace``.

    Raises:
        ModelError: it holds something else, or a model that is not to be replaced.
    """
    target = Path(folder)
    if not target.exists():
        return target
    if not target.is_dir() or {item.name for item in target.iterdir()} - {WEIGHTS_FILE, PASSPORT_FILE}:
        raise ModelError(f"{target}: holds something else than a model; choose another folder")
    if not replace:
        raise ModelError(f"{target}: there is a model already; choose another folder, or replace it with --force")
    return target


def load(folder: str | Path) -> LoadedModel:
    """The validated model in ``folder``.

    Raises:
        ModelError: a file is missing, damaged, or says something that cannot be; the message names the folder.
    """
    files = read(folder)
    try:
        return from_bytes(*files)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


def read(folder: str | Path) -> tuple[str, bytes]:
    """Contents of the two files in ``folder``, not validated.

    Raises:
        ModelError: a file is missing or not text.
    """
    try:
        return Path(folder, PASSPORT_FILE).read_text(encoding="utf-8"), Path(folder, WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be read ({error.strerror}); is {folder} a model?") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{folder}/{PASSPORT_FILE}: is not text ({error}); the file is damaged") from error


def to_bytes(model: SavableModel, provenance: Provenance | None = None) -> tuple[str, bytes]:
    """Contents of the two files of ``model``; the same model and provenance give the same bytes.

    Raises:
        ModelError: the model could not be loaded again from them.
    """
    origin = provenance or Provenance()
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    _require_finite(tensors)
    weights = safetensors.torch.save(tensors)
    passport = Passport(
        format=1,
        kind=model.kind,
        state=_entries(model.state_layout),
        action=_entries(model.action_layout),
        reference_point=model.reference_point,
        dt_s=model.dt,
        delay_s=tuple(model.delay.tolist()),
        config={name: value for name, value in asdict(model.config).items() if name not in _STATED_APART},
        normaliser=_normaliser(model),
        parameters=_records(model, origin),
        bags=origin.bags,
        split=origin.split,
        scores=origin.scores,
        uncertainty=origin.uncertainty,
        notes=origin.notes,
        software_version=__version__,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    text = yaml.safe_dump(passport.model_dump(), sort_keys=False, allow_unicode=True, width=120)
    from_bytes(text, weights)
    return text, weights


def in_memory(model: SavableModel, provenance: Provenance | None = None) -> LoadedModel:
    """``model`` as it would be loaded again after `save`, without a folder.

    Raises:
        ModelError: it could not be loaded.
    """
    return from_bytes(*to_bytes(model, provenance))


def nominal(vehicle: Vehicle, kind: str = "kinematic_bicycle", dt: float = 0.02) -> LoadedModel:
    """Physics of a ``kind`` with a vehicle's nominal parameters, stepping ``dt`` [s], as if it had been loaded.

    Raises:
        ModelError: there is no such kind, or the vehicle's parameters do not fit.
    """
    return in_memory(build_for(vehicle, kind, dt=dt))


def from_bytes(passport_yaml: str, weights_bytes: bytes) -> LoadedModel:
    """The validated model of the contents of its two files.

    Raises:
        ModelError: something is damaged, unknown, or does not fit; the message says what.
    """
    passport = _parse(passport_yaml)
    if hashlib.sha256(weights_bytes).hexdigest() != passport.weights_sha256:
        raise ModelError(f"{WEIGHTS_FILE} is damaged or not the one that {PASSPORT_FILE} was written for")
    try:
        weights = safetensors.torch.load(weights_bytes)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{WEIGHTS_FILE}: not a safetensors file: {error}") from error
    _require_finite(weights)
    if passport.kind in _HOMES:
        importlib.import_module(_HOMES[passport.kind])
    if passport.kind not in _LOADERS:
        kinds = ", ".join(dict.fromkeys((*_LOADERS, *_HOMES)))
        raise ModelError(f"{PASSPORT_FILE}: unknown kind '{passport.kind}'; there are {kinds}")
    model = _LOADERS[passport.kind](passport, weights)
    _require_agreement(model, passport)
    return LoadedModel(model, passport, model_id(passport_yaml, weights_bytes))


def model_id(passport_yaml: str, weights_bytes: bytes) -> str:
    """First 12 hex digits of the SHA-256 over the SHA-256 digests of passport and weights."""
    digests = (hashlib.sha256(content).digest() for content in (passport_yaml.encode(), weights_bytes))
    return hashlib.sha256(b"".join(digests)).hexdigest()[:12]


_STATED_APART = ("dt", "reference_point")  # fields of a config that the passport has under its own names


def _entries(layout: Layout) -> tuple[Entry, ...]:
    return tuple(Entry(name=name, unit=unit) for name, unit in zip(layout.names, layout.units, strict=True))


def _normaliser(model: SavableModel) -> Normaliser | None:
    scaling = getattr(model, "normaliser", None)
    return None if scaling is None else Normaliser(mean=tuple(scaling[0].tolist()), std=tuple(scaling[1].tolist()))


def _records(model: DynamicsModel, origin: Provenance) -> dict[str, ParameterRecord]:
    """Physical parameters of ``model``, or of what it corrects."""
    model = getattr(model, "base", model)
    if not isinstance(model, ParametricModel):
        return {}
    return {
        name: ParameterRecord(
            value=value,
            unit=model.table[name].unit,
            low=model.table[name].low,
            high=model.table[name].high,
            std=origin.std.get(name),
            identifiable=origin.identifiable.get(name),
        )
        for name, value in model.values().items()
    }


def _require_finite(weights: Weights) -> None:
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{WEIGHTS_FILE}: '{name}' is not finite")


def _parse(text: str) -> Passport:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelError(f"{PASSPORT_FILE}: not valid YAML: {error}") from error
    try:
        return parse_settings(data, Passport, PASSPORT_FILE)
    except ConfigError as error:
        raise ModelError(str(error)) from error


def _require_agreement(model: DynamicsModel, passport: Passport) -> None:
    """Raise ModelError where the passport describes another model than the one built from it."""
    try:
        model.state_layout.require(_layout(passport.state), "state entries")
        model.action_layout.require(_layout(passport.action), "action entries")
    except LayoutError as error:
        raise ModelError(f"{PASSPORT_FILE}: {error}") from error
    built = (model.reference_point, model.dt, tuple(model.delay.tolist()))
    if built != (passport.reference_point, passport.dt_s, passport.delay_s):
        raise ModelError(f"{PASSPORT_FILE}: reference point, dt and delay are not those of the model, {built}")
    parameters = _records(model, Provenance())
    if parameters.keys() != passport.parameters.keys():
        names = ", ".join(sorted(parameters.keys() ^ passport.parameters.keys()))
        raise ModelError(f"{PASSPORT_FILE} and {WEIGHTS_FILE} hold different parameters: {names}")
    for name, record in passport.parameters.items():
        if not record.low <= record.value <= record.high:
            raise ModelError(f"{PASSPORT_FILE}: {name} = {record.value:g} is outside of its own bounds")
        if (record.value, record.unit) != (parameters[name].value, parameters[name].unit):
            raise ModelError(
                f"{PASSPORT_FILE}: {name} = {record.value:g} {record.unit}, but the model has "
                f"{parameters[name].value:g} {parameters[name].unit}"
            )


def _layout(entries: tuple[Entry, ...]) -> Layout:
    return Layout(tuple(entry.name for entry in entries), tuple(entry.unit for entry in entries))


def _load_parametric(passport: Passport, weights: Weights) -> ParametricModel:
    stated = {"dt": passport.dt_s, "reference_point": passport.reference_point}
    if unknown := passport.config.keys() - {entry.name for entry in fields(Config)}:
        raise ModelError(f"{PASSPORT_FILE}: config: unknown '{unknown.pop()}'; remove it or correct its name")
    try:
        config = TypeAdapter(Config).validate_python({**passport.config, **stated})
    except ValidationError as error:
        reasons = "; ".join(f"'{detail['loc'][-1]}': {detail['msg']}" for detail in error.errors())
        raise ModelError(f"{PASSPORT_FILE}: config: {reasons}") from error
    dtypes = {value.dtype for value in weights.values()}
    if any(value.dim() for value in weights.values()) or dtypes not in ({torch.float64}, {torch.float32}):
        raise ModelError(f"{WEIGHTS_FILE}: parameters must be scalars, all float64 or all float32")
    values = {name: float(value) for name, value in weights.items()}
    model = ParametricModel(KINDS[passport.kind], values, dtype=dtypes.pop(), **asdict(config))
    if missing := model.values().keys() - values.keys():
        raise ModelError(f"{WEIGHTS_FILE}: lacks {', '.join(sorted(missing))}")
    return model


for _kind in KINDS:
    register(_kind, _load_parametric)
