"""Physics identified anew with what the network learned in its place, then the network trained on, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.driving import Stretches
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.reidentification import reidentified
from mbrl_ros.learning.residual import Learned, Round, Scaling, learn
from mbrl_ros.models import passport
from mbrl_ros.models.identification.fit import Knowledge
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.passport import Provenance

_REACH = 10.0  # standard deviations of the identification that a parameter may move by in one turn
_LEAST_SHARE = 0.05  # of its value, where the identification was very sure
_RATE = 0.3  # of the recipe's learning rate: what was learned is to be kept


@dataclass(frozen=True)
class Alternated:
    """What turns ended with.

    Args:
        learned: the best round.
        notes: what each turn brought, each a sentence.
    """

    learned: Learned
    notes: tuple[str, ...]


def alternate(
    first: Learned,
    parts: Sequence[Drive],
    stretches: Stretches,
    provenance: Provenance,
    recipe: Recipe,
    how: Round,
) -> Alternated:
    """Take ``recipe.alternations`` turns, as long as each makes held-out driving better predicted; keep the best.

    In a turn the physical parameters that the first identification could determine are fitted anew with the networks
    as they are, but for the delays, which both would have to agree on; then the networks go on learning, more slowly.

    Args:
        first: the round to begin with.
        parts: the driving.
        stretches: the same, cut.
        provenance: of the first identification.
        recipe: what and how.
        how: of the first round; turns have folders of their own in its folder.
    """
    notes: list[str] = []
    rate = _RATE * recipe.training.learning_rate
    slower = recipe.model_copy(update={"training": recipe.training.model_copy(update={"learning_rate": rate})})
    best = first
    for turn in range(1, recipe.alternations + 1):
        if how.stop():
            return Alternated(replace(best, finished=False), tuple(notes))
        how.tell(f"physics again, turn {turn}", 0.0)
        mine = replace(how, work=how.work / f"turn-{turn}", fingerprint=f"{how.fingerprint}-{turn}")
        physics = _physics(best, parts, provenance, recipe, mine)
        model = best.model
        again = learn(physics, model.config, Scaling(model.mean, model.std), stretches, slower, mine, begin=model)
        notes += again.notes
        words = f"turn {turn} of physics and network: held-out error {best.error:.4g} to {again.error:.4g} m"
        if again.error >= best.error:
            notes.append(f"{words}; not kept")
            break
        notes.append(words)
        best = again
        if not best.finished:
            break
    return Alternated(best, tuple(notes))


def _physics(
    best: Learned, parts: Sequence[Drive], provenance: Provenance, recipe: Recipe, how: Round
) -> ParametricModel:
    """The physics of a turn, found in its folder where an interrupted training left it."""
    folder = how.work / f"physics-{how.fingerprint[:12]}"
    if how.group.leads and not folder.exists():
        how.work.mkdir(parents=True, exist_ok=True)
        base = best.model.base
        assert isinstance(base, ParametricModel)  # noqa: S101
        knowledge = _knowledge(base, provenance)
        members = best.model.config.network.members
        values = reidentified(best.model, parts, knowledge, recipe.training, members) if knowledge.names else {}
        passport.save(base.with_parameters(values), folder)
    how.group.wait()
    loaded = passport.load(folder).model
    assert isinstance(loaded, ParametricModel)  # noqa: S101
    return loaded


def _knowledge(physics: ParametricModel, provenance: Provenance) -> Knowledge:
    """Parameters that the identification could determine, within reach of what it found."""
    values = physics.values()
    sure = [name for name, determined in provenance.identifiable.items() if determined and name in values]
    names = tuple(name for name in sure if not name.endswith("_delay"))
    centre = np.array([values[name] for name in names])
    reach = np.array([_REACH * provenance.std[name] for name in names])
    reach = np.maximum(reach, _LEAST_SHARE * np.abs(centre))
    low = np.maximum(centre - reach, [physics.table[name].low for name in names])
    high = np.minimum(centre + reach, [physics.table[name].high for name in names])
    return Knowledge(names, low, high, centre, reach)
