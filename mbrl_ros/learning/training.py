"""From recordings and a recipe to a model: physics identified, then a network trained on what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mbrl_ros.core.errors import ModelError, StoppedError
from mbrl_ros.core.layout import drive_command
from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.alternation import alternate
from mbrl_ros.learning.calibration import calibrated, whiten
from mbrl_ros.learning.driving import find_stretches, guard_for
from mbrl_ros.learning.examples import scaling_of
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.residual import Round, Scaling, fingerprint, learn, untrained, with_elites
from mbrl_ros.learning.trainer import Epoch, Stop, never
from mbrl_ros.models import passport
from mbrl_ros.models.identification import Options, identify
from mbrl_ros.models.learned import Base, Config, LearnedModel, Network
from mbrl_ros.models.parametric import ParametricModel, build
from mbrl_ros.models.passport import Provenance

PHYSICS_FOLDER = "physics"


@dataclass(frozen=True)
class Progress:
    """Whom a training tells how far it is.

    Args:
        identified: (what is being done beside the epochs, share of it that is done).
        trained: every epoch.
        stop: asked all the time whether to stop before the end.
    """

    identified: Callable[[str, float], None] = lambda what, share: None
    trained: Callable[[Epoch], None] = lambda epoch: None
    stop: Stop = never


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Args:
        model: in float64.
        provenance: what its passport is to say of the physics; bags, split and scores are for the caller to add.
        finished: False for the best that was found until the training was stopped.
    """

    model: ParametricModel | LearnedModel
    provenance: Provenance
    finished: bool = True


def train(
    parts: Sequence[Drive], recipe: Recipe, work: Path, progress: Progress | None = None, group: Group = ALONE
) -> Trained:
    """Train on ``parts`` as ``recipe`` says.

    What was done is kept in ``work``: called again after an interruption it goes on from there.

    Args:
        parts: driving at one rate and with the same actions.
        recipe: what and how.
        work: folder for the physics and the checkpoint.
        progress: told how far it is.
        group: processes that do the same; only its leader's model says how uncertain it is.

    Raises:
        DataError: there is too little driving, or it lacks something.
        ConfigError: ``work`` holds another training.
        ModelError: the loss is not finite, or there is too little memory.
        StoppedError: it was stopped before the physics was identified.
    """
    progress = progress or Progress()
    work.mkdir(parents=True, exist_ok=True)
    with _little_memory_explained():
        if group.leads:
            physics, provenance = _physics(parts, recipe, work, progress)
        group.wait()
        if not group.leads:
            physics, provenance = _physics(parts, recipe, work, progress)
        if recipe.network is None:
            return Trained(physics, provenance)
        return _network_on(Trained(physics, provenance), parts, recipe, work, progress, group)


@contextmanager
def _little_memory_explained() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise ModelError(
            f"out of memory ({str(error).splitlines()[0]}): lower batch, hidden, members or horizon_s of the recipe, "
            "or max_windows of its identification; the same command goes on where it was"
        ) from error


def _physics(
    parts: Sequence[Drive], recipe: Recipe, work: Path, progress: Progress
) -> tuple[ParametricModel, Provenance]:
    """The identified physics, found in ``work`` where an interrupted training left it."""
    folder = work / f"{PHYSICS_FOLDER}-{fingerprint(parts, recipe)[:12]}"
    if folder.exists():
        loaded = passport.load(folder)
        records = loaded.passport.parameters
        known = {name: record for name, record in records.items() if record.std is not None}
        provenance = Provenance(
            std={name: record.std for name, record in known.items() if record.std is not None},
            identifiable={name: bool(record.identifiable) for name, record in known.items()},
            notes=loaded.passport.notes,
        )
        assert isinstance(loaded.model, ParametricModel)  # noqa: S101
        return loaded.model, provenance
    start = build(
        recipe.physics or "kinematic_bicycle",  # without physics it is asked for the delays alone
        recipe.identification.parameters if recipe.physics else {},
        dt=parts[0].dt,
        drive=drive_command(parts[0].segments[0].action_layout),
        reference_point=parts[0].reference_point,
        integrator=recipe.identification.integrator,
    )
    options = Options(
        horizon_s=recipe.identification.horizon_s,
        max_windows=recipe.identification.max_windows,
        min_speed=recipe.training.min_speed,
        seed=recipe.training.seed,
    )

    def tell(what: str, share: float) -> None:
        if progress.stop():
            raise StoppedError("stopped while the physics was identified: nothing is learned yet, nothing was written")
        progress.identified(what, share)

    found = identify(parts, start, options, tell)
    provenance = Provenance(
        std={name: estimate.std for name, estimate in found.estimates.items()},
        identifiable={name: estimate.identifiable for name, estimate in found.estimates.items()},
        notes=found.statements,
    )
    passport.save(found.model, folder, provenance)
    return found.model, provenance


def _network_on(
    base: Trained, parts: Sequence[Drive], recipe: Recipe, work: Path, progress: Progress, group: Group
) -> Trained:
    physics, wanted, settings = base.model, recipe.network, recipe.training
    assert wanted is not None and isinstance(physics, ParametricModel)  # noqa: S101
    network = Network(**wanted.model_dump(exclude={"headroom", "least_grip_mps2", "elites"}))
    stretches = find_stretches(parts, physics.delay.detach(), network.history_s, settings)
    driving = stretches.sample()
    config = Config(
        dt=physics.dt,
        reference_point=physics.reference_point,
        base=_base_of(physics, recipe),
        network=network,
        guard=guard_for(driving, physics.dt, wanted),
    )
    exact = untrained(config, physics, Scaling(torch.zeros(0), torch.zeros(0)), settings.seed)
    scaling = Scaling(*scaling_of(exact, driving, settings.mirror))
    del driving
    how = Round(work, fingerprint(parts, recipe), progress.identified, progress.trained, progress.stop, group)
    learned = learn(physics, config, scaling, stretches, recipe, how)
    provenance = replace(base.provenance, notes=(*base.provenance.notes, *learned.notes))
    if learned.finished and recipe.alternations:
        turns = alternate(learned, parts, stretches, provenance, recipe, how)
        learned, provenance = turns.learned, replace(provenance, notes=(*provenance.notes, *turns.notes))
    if not learned.finished:
        note = f"stopped after {learned.done} of {settings.epochs} epochs: each member is at its best so far"
        provenance = replace(provenance, notes=(*provenance.notes, note))
    whiten(learned.single, learned.examples)
    learned.model.whitening.copy_(learned.single.whitening)
    model = learned.model if wanted.elites is None else with_elites(learned, wanted.elites)
    uncertainty = calibrated(learned.single, learned.examples) if group.leads else None
    return Trained(model, replace(provenance, uncertainty=uncertainty), learned.finished)


def _base_of(physics: ParametricModel, recipe: Recipe) -> Base:
    if recipe.physics is None:
        return Base("inertia", physics.config.drive, delay_s=tuple(physics.delay.tolist()))
    config = physics.config
    return Base(physics.kind, config.drive, integrator=config.integrator, substeps=config.substeps)
