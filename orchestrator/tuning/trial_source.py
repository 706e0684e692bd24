"""Trial source: a list of trials that are all known beforehand, or Optuna, which learns from results."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.store.trial import Trial


@dataclass(frozen=True)
class SuggestedTrial:
    """A trial that is to be run, as a trial source suggests it.

    Attributes:
        id: The source's own name for it.
        config: What Tune hands to the trial: `trial`, a name, and `planned`, the trial as plain data.
        key: What it samples; trials with equal keys sample the same trajectories.
    """

    id: str
    config: dict[str, Any]
    key: str


class TrialSource(Protocol):
    """Hands out trials one by one."""

    def ask(self, busy: Collection[str]) -> SuggestedTrial | None:
        """Return a trial whose key is not among those that are being sampled, or None as long as there is none."""

    def tell(self, asked: SuggestedTrial, result: Mapping[str, Any] | None, error: bool) -> None:
        """Hear of a trial that has ended: its last report, or None if it has made none."""

    def state(self) -> Any:
        """Return what `restore` needs in order to go on in another process."""

    def restore(self, state: Any) -> None:
        """Go on from a state."""


def trial_config(trial: Trial) -> dict[str, Any]:
    """Return what Tune hands to the process of a trial."""
    return {"setting": trial.name, "planned": trial.to_plain()}


class ListedTrials:
    """All trials of a list, in its order, but for those that have to wait for a twin."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        """Keep the list."""
        self._waiting = [SuggestedTrial(one.name, trial_config(one), one.store.spec.key) for one in trials]

    def ask(self, busy: Collection[str]) -> SuggestedTrial | None:
        """Return the first waiting trial that does not sample what another one is sampling."""
        found = next((one for one in self._waiting if one.key not in busy), None)
        if found is not None:
            self._waiting.remove(found)
        return found

    def tell(self, asked: SuggestedTrial, result: Mapping[str, Any] | None, error: bool) -> None:
        """Results change nothing here."""

    def state(self) -> list[str]:
        """Return the names of the trials that are still waiting."""
        return [one.id for one in self._waiting]

    def restore(self, state: list[str]) -> None:
        """Leave out what is not waiting any more."""
        self._waiting = [one for one in self._waiting if one.id in state]


Plan = Callable[[int, Mapping[str, Any]], Trial]
"""Makes a trial of a choice from a grid of the space."""
