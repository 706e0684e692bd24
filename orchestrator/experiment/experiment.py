"""Experiment: a checked run or sweep, as data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestrator.config.objective import Objective
from orchestrator.experiment.fingerprint import fingerprint_of
from orchestrator.experiment.plan import Plan
from orchestrator.experiment.run_directory import read_run_file, write_run_file
from orchestrator.names import GREEDY
from orchestrator.pipeline.rereading import reread
from orchestrator.store.folder import ShardFolder
from orchestrator.store.retries import examine, retry_lines, take_out
from orchestrator.store.trial import Coverage, Trial


@dataclass(frozen=True)
class Experiment:
    """A checked run or sweep.

    Attributes:
        name: What MLflow calls it.
        plan: The plan.
        trials: The sampled trials, greedy not among them.
        out: The run directory.
        command: "run" or "sweep".
        objectives: What the trials of a sweep are compared by.
        trial_limit: Number of trials in the end where a searcher chooses them while it runs; None where all are known.
        retry_failed: Whether to try rows again that have failed for good, as all commands do where the reason passes.
    """

    name: str
    plan: Plan
    trials: tuple[Trial, ...]
    out: Path
    command: str = "run"
    objectives: tuple[Objective, ...] = ()
    trial_limit: int | None = None
    retry_failed: bool = False

    @property
    def open_ended(self) -> bool:
        """Whether further trials are chosen while it runs."""
        return self.trial_limit is not None

    @property
    def unplanned(self) -> int:
        """Number of trials that are still to be chosen."""
        return 0 if self.trial_limit is None else max(0, self.trial_limit - len(self.trials))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that its curves depend on (16 hexadecimal digits)."""
        # What a searcher has chosen so far does not make it another experiment.
        return fingerprint_of(self.plan, () if self.open_ended else self.all_trials())

    def sampled_trials(self) -> tuple[Trial, ...]:
        """Greedy first, unless it is what was asked for, then the sampled trials."""
        greedy = self.plan.greedy()
        others = [trial for trial in self.trials if trial.store.spec != greedy.store.spec]
        return (greedy, *others)

    def all_trials(self) -> tuple[Trial, ...]:
        """The sampled trials, each followed by its beam searches."""
        return tuple(one for trial in self.sampled_trials() for one in trial.with_searches)

    def coverage(self, trials: Iterable[Trial] | None = None) -> dict[str, Coverage]:
        """Take a snapshot of what the store holds, by the name of the trial; by default of all trials."""
        questions = len(self.plan.problems)
        return {trial.name: trial.coverage(questions) for trial in trials or self.all_trials()}

    def coverage_of_sound(self) -> tuple[dict[str, Coverage], list[str]]:
        """Take the same snapshot as it will be once `mend` has been called, and leave everything alone.

        Returns:
            The snapshot, and a line for each damaged shard and for what is to be tried again.
        """
        trials, lasting = self.all_trials(), self.retry_failed
        retries, lines = examine(trials, self._question_ids, ShardFolder.disregard_damaged, lasting=lasting)
        found = {name: retries[name].without(one) for name, one in self.coverage(trials).items()}
        return found, [*lines, *retry_lines(retries.values(), lasting=lasting)]

    def mend(self, coverage: Mapping[str, Coverage]) -> list[str]:
        """Rename shards that are damaged, and take rows out that are tried again; says so, a line for each kind.

        Raises:
            UserError: If the store cannot be written.
        """
        # A listing of a remote folder takes time, and a fresh run has nothing to look at.
        present = [trial for trial in self.all_trials() if coverage[trial.name].sampled.any()]
        lasting = self.retry_failed
        retries, lines = examine(present, self._question_ids, ShardFolder.set_aside_damaged, lasting=lasting)
        for trial in present:
            take_out(trial, retries[trial.name], lasting=lasting)
        return [*lines, *retry_lines(retries.values(), lasting=lasting)]

    @property
    def _question_ids(self) -> list[str]:
        return [problem.question_id for problem in self.plan.problems]

    def reread(self, trials: Iterable[Trial], coverage: Mapping[str, Coverage]) -> dict[str, Coverage]:
        """Take what the store holds of trials under other readings; returns what is there afterwards.

        Raises:
            UserError: If the store cannot be written.
        """
        extract = self.plan.checkpoint.format.extract_answer
        problems = self.plan.problems
        return {trial.name: reread(trial, coverage[trial.name], problems, extract) for trial in trials}

    def is_resumed(self) -> bool:
        """Whether the run directory holds what an earlier command has done of the same experiment."""
        return self.recorded_trials() is not None

    def recorded_trials(self) -> list[Trial] | None:
        """Return the trials, greedy not among them, that an earlier command has recorded of the same experiment.

        None where the run directory is empty, or that of another experiment.
        """
        record = read_run_file(self.out, self.plan.config.store.path)
        if record is None or record.fingerprint != self.fingerprint:
            return None
        return [trial for trial in record.trials if trial.name != GREEDY]

    def record(self) -> None:
        """Write down which trials the run directory is about."""
        questions = len(self.plan.problems)
        write_run_file(self.out, self.command, self.fingerprint, questions, self.sampled_trials())


def missing(coverage: Mapping[str, Coverage]) -> int:
    """Return how many trajectories the store lacks; a scheduler may leave some out for good."""
    return sum(one.missing for one in coverage.values())
