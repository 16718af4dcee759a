"""An adaptation in a process of its own, beside a server that must answer meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from mbrl_ros.bringup.adapting import Adaptation, run_adaptation
from mbrl_ros.bringup.child import Advanced, Child, Failed, ended_by_itself, serve, tell
from mbrl_ros.core.errors import MbrlError
from mbrl_ros.learning.adaptation import AdaptationSettings


@dataclass(frozen=True)
class Adapted:
    """The end of an adaptation.

    Args:
        model_id: of the model that was written.
        better: False where no step was worth taking.
        words: what changed, with figures, in a sentence.
    """

    model_id: str
    better: bool
    words: str


Event = Advanced | Adapted | Failed


class AdaptationProcess:
    """An `Adaptation` that runs in a child process, which goes when its parent goes.

    Args:
        adaptation: its reading options have to be plain values.
        niceness: by how much others go first, from 0 to 19.
    """

    def __init__(self, adaptation: Adaptation, niceness: int = 10) -> None:
        plain = {
            "model": str(adaptation.model),
            "new": [str(path) for path in adaptation.new],
            "replay": [str(path) for path in adaptation.replay],
            "out": str(adaptation.out),
            "settings": adaptation.settings.model_dump(),
            "reading": dict(adaptation.reading),
        }
        self._child = Child(__name__, plain, get_args(Event), niceness)

    def events(self) -> Iterator[Event]:
        """What happens, as it happens; the last is `Adapted` or `Failed`, and then the process is gone."""
        last: Event | None = None
        for last in self._child.events():
            yield last
        if not isinstance(last, Adapted | Failed):
            yield Failed(ended_by_itself("adaptation", self._child.status, "replay less"))

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()


def _run(plain: dict[str, Any]) -> None:
    adaptation = Adaptation(
        Path(plain["model"]),
        [Path(path) for path in plain["new"]],
        [Path(path) for path in plain["replay"]],
        Path(plain["out"]),
        AdaptationSettings.model_validate(plain["settings"]),
        plain["reading"],
    )
    try:
        outcome = run_adaptation(adaptation, lambda what, share: tell(Advanced(what, share)))
    except MbrlError as error:
        tell(Failed(str(error)))
    except OSError as error:
        tell(Failed(f"{error.filename}: {error.strerror}; check the path"))
    else:
        tell(Adapted(outcome.model.id, outcome.better, outcome.words))


if __name__ == "__main__":
    serve(_run)
