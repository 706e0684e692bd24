"""How far a run is, read from its directory and its store. Starts nothing, imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from latent_core.errors import UserError
from latent_core.failures import is_transient
from orchestrator.console import masked

if TYPE_CHECKING:
    from orchestrator.experiment.run_directory import RunDirectory
    from orchestrator.store.trial import Trial
    from orchestrator.tracking.state import Unsent

FINISHED, ENDED_EARLY, UNFINISHED = "finished", "ended_early", "unfinished"


@dataclass(frozen=True)
class TrialStatus:
    """What the store has of one trial or of one beam search.

    Attributes:
        trial: Its name.
        ready: Samples that every question has, scored where the trial is scored.
        samples: Samples per question that are wanted; with a budget rule, the most that one may have.
        stored: Trajectories in the store.
        wanted: Trajectories that are wanted; of questions that a budget rule has not settled, all that may come to be.
        scored: Trajectories with a score; None where nothing scores them, or where scores come with the trajectories.
        done: Trajectories of which nothing is missing: stored, and scored where that is wanted.
        failed: Stored trajectories that failed.
        transient: Those of them that the same command tries again, because the reason may have passed.
        unparsable: Stored trajectories whose answer could not be read, though it was not cut off.
        last_written: When its last shard was written.
        tune: What Ray Tune says of it, where Ray Tune ran it.
        cut: Stored trajectories whose answer was cut off; None where an older store does not tell.
        open: Questions that its budget rule has not settled; None where it has no rule.
    """

    trial: str
    ready: int
    samples: int
    stored: int
    wanted: int
    scored: int | None
    done: int
    failed: int
    unparsable: int
    last_written: datetime | None
    tune: str | None
    cut: int | None
    transient: int = 0
    open: int | None = None

    @property
    def share(self) -> float:
        """How much of what is wanted is done, as a fraction of 1."""
        return self.done / self.wanted


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        out: The run directory.
        command: "run" or "sweep".
        checkpoint: What was named as the checkpoint.
        questions: Number of questions.
        state: "finished": nothing is missing and the results are written; "ended_early": the results of the last
            command are written, and trajectories were left out for good, as a scheduler does; else "unfinished".
        trials: Its trials, each followed by its beam searches.
        remark: What makes these numbers doubtful, if anything does.
        running: Who is at work on it, for people; None where nobody is.
        leased: Whether the directory tells at all whether somebody is at work.
        damaged: A line for each damaged shard.
        tracking: What has been tracked and MLflow does not have; None where nothing has been tracked.
    """

    out: Path
    command: str
    checkpoint: str
    questions: int
    state: str
    trials: tuple[TrialStatus, ...]
    remark: str | None
    running: str | None = None
    leased: bool = False
    damaged: tuple[str, ...] = ()
    tracking: "Unsent | None" = None

    @property
    def done(self) -> int:
        """Trajectories of which nothing is missing."""
        return sum(one.done for one in self.trials)

    @property
    def wanted(self) -> int:
        """Trajectories that are wanted."""
        return sum(one.wanted for one in self.trials)

    @property
    def last_written(self) -> datetime | None:
        """When the last shard was written."""
        return max((one.last_written for one in self.trials if one.last_written), default=None)


def run_status(out: Path) -> RunStatus:
    """Look at a run directory and its store.

    Raises:
        UserError: If it is no run directory, or one of a newer version, or its store cannot be read.
    """
    from orchestrator.experiment.lease import read_owner
    from orchestrator.experiment.run_directory import TUNE_FOLDER, open_run
    from orchestrator.jobs.status_of_work import running_owner
    from orchestrator.store.trial import around_damage
    from orchestrator.tracking.state import unsent
    from orchestrator.tuning.state import trial_states

    run = open_run(out)
    tune = trial_states(out / TUNE_FOLDER)
    try:
        known = run.all_trials()
        trials, damaged = around_damage(known, lambda: tuple(_trial_status(one, run.questions, tune) for one in known))
    except OSError as error:
        raise UserError(f"store.path {masked(str(run.config['store']['path']))}: cannot be read: {error}") from error
    return RunStatus(
        out,
        run.command,
        str(run.config.get("checkpoint")),
        run.questions,
        _state(run, missing=sum(one.wanted - one.done for one in trials)),
        trials,
        run.lost_store(),
        running_owner(out),
        read_owner(out) is not None,
        tuple(damaged),
        unsent(out),
    )


def _trial_status(trial: "Trial", questions: int, tune: Mapping[str, str]) -> TrialStatus:
    found = trial.coverage(questions)
    written = [trial.store.last_written(), *([] if trial.scored is None else [trial.scored.store.last_written()])]
    records = trial.store.read(questions, trial.samples, ["answer", "error", "cut"])
    failed, unknown = records["error"].notna(), bool(records["cut"].isna().any())
    cut = records["cut"].fillna(False).astype(bool)
    return TrialStatus(
        trial=trial.name,
        ready=found.ready_samples,
        samples=trial.samples,
        stored=int(found.sampled.sum()),
        wanted=int(found.wanted.sum()),
        scored=None if found.scored is None else int(found.scored.sum()),
        done=int((found.ready & found.wanted).sum()),
        failed=int(failed.sum()),
        unparsable=int((records["answer"].isna() & ~failed & ~cut).sum()),
        last_written=max((time.astimezone(UTC) for time in written if time is not None), default=None),
        tune=tune.get(trial.name),
        cut=None if unknown else int(cut.sum()),
        transient=sum(map(is_transient, records["error"].dropna())),
        open=None if found.decisions is None else found.decisions.open,
    )


def _state(run: "RunDirectory", missing: int) -> str:
    if run.summary() is None:
        return UNFINISHED
    if not missing:
        return FINISHED
    # A command writes the configuration when it starts and the summary when it ends: one that has been started again,
    # or that is still at work, has a summary older than its configuration.
    ended = (run.out / "summary.json").stat().st_mtime_ns >= (run.out / "config.yaml").stat().st_mtime_ns
    return ENDED_EARLY if ended else UNFINISHED
