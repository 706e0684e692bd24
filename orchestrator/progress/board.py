"""Run-wide progress counters, as a Ray actor that every process of a command reports to."""

from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@dataclass(frozen=True)
class TrialProgress:
    """Progress of one trial of a sweep.

    Attributes:
        name: Name of its trial.
        reached: Samples per question that it has reported on.
        value: The objective there; None before the first report.
        ended: Whether it has ended, at its largest budget or because a scheduler stopped it.
    """

    name: str
    reached: int = 0
    value: float | None = None
    ended: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The counters at one moment.

    Attributes:
        done: Trajectories finished since the start.
        correct: How many of them are right.
        errors: How many of them failed.
        unparsable: How many of them have an answer that could not be read.
        cut: How many of them have an answer that was cut off.
        running: Names of trials that are being sampled.
        trials: The trials of a sweep that have begun, in that order.
        spared: Trajectories that might have been asked for, until a budget rule had settled their questions.
        open: Questions that the budget rules of running trials have not settled; None where no trial has a rule.
    """

    done: int
    correct: int
    errors: int
    running: tuple[str, ...]
    trials: tuple[TrialProgress, ...] = ()
    unparsable: int = 0
    cut: int = 0
    spared: int = 0
    open: int | None = None


class ProgressBoard:
    """Progress counters that pipelines in any process add to; runs as a Ray actor."""

    def __init__(self) -> None:
        """Start at zero."""
        self._done = self._correct = self._errors = self._unparsable = self._cut = 0
        self._spared = 0
        self._open: dict[str, int] = {}
        self._running: dict[str, None] = {}
        self._trials: dict[str, TrialProgress] = {}

    def begin(self, trial: str, open_questions: int | None = None) -> None:
        """Say that a trial is being sampled; with a budget rule, how many questions are not settled."""
        self._running[trial] = None
        if open_questions is not None:
            self._open[trial] = open_questions

    def end(self, trial: str) -> None:
        """Say that a trial is not being sampled any more."""
        self._running.pop(trial, None)
        self._open.pop(trial, None)

    def settle(self, trial: str, questions: int, spared: int) -> None:
        """Say that the budget rule of a trial has settled questions, and how many trajectories that has spared."""
        if trial in self._open:
            self._open[trial] -= questions
        self._spared += spared

    def advance(self, rows: int, correct: int, errors: int, unparsable: int = 0, cut: int = 0) -> None:
        """Add finished trajectories."""
        self._done += rows
        self._correct += correct
        self._errors += errors
        self._unparsable += unparsable
        self._cut += cut

    def begin_trial(self, trial: str) -> None:
        """Say that a trial has begun, or begun again."""
        self._trials[trial] = replace(self._trials.get(trial, TrialProgress(trial)), ended=False)

    def report_trial(self, trial: str, reached: int, value: float) -> None:
        """Say what the objective of a trial is after so many samples per question."""
        self._trials[trial] = TrialProgress(trial, reached, value)

    def end_trial(self, trial: str) -> None:
        """Say that a trial has ended."""
        self._trials[trial] = replace(self._trials.get(trial, TrialProgress(trial)), ended=True)
        # A trial that is stopped from outside has no time to say so itself.
        self.end(trial)

    def snapshot(self) -> Snapshot:
        """Return the current state."""
        return Snapshot(
            self._done,
            self._correct,
            self._errors,
            tuple(self._running),
            tuple(self._trials.values()),
            self._unparsable,
            self._cut,
            self._spared,
            sum(self._open.values()) if self._open else None,
        )


def create_board() -> ActorHandle[Any]:
    """Start a board beside the driver, so that no other node takes it along when it dies; it costs no logical CPU."""
    actor: Any = ray.remote(ProgressBoard)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    handle: ActorHandle[Any] = actor.options(num_cpus=0, scheduling_strategy=here).remote()
    return handle
