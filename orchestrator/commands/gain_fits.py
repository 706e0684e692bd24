"""Fit of gain tables from runs on disk."""

from collections.abc import Sequence
from pathlib import Path

from latent_core.budgets import DEFAULT_WAVES, GAIN_FILE
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.analysis.cut_answers import with_end_ids
from orchestrator.analysis.evaluation import CURVE_COLUMNS, blocks, outcomes_of
from orchestrator.analysis.outcomes import join_outcomes
from orchestrator.commands.run_reports import config_of, task_of
from orchestrator.console import make_console, masked, say
from orchestrator.experiment.run_directory import open_run
from orchestrator.files import write_atomically
from orchestrator.names import GREEDY
from orchestrator.store.trial import Trial


def fit_gain(directory: Path, into: Path, name: str | None) -> None:
    """Fit a gain table to a trial of a run and write it beside a LatentRM.

    Raises:
        UserError: If there is no such run, trial or LatentRM, or the trial has no scores or too few samples.
    """
    if not (into / "config.json").is_file():
        raise UserError(f"--into {into}: no LatentRM is there (no config.json)")
    run = open_run(directory)
    config = config_of(run)
    task = task_of(run, config)
    trial = _trial(directory, with_end_ids(run.trials, config.checkpoint), name)
    if trial.scored is None or trial.scored.calibration is None:
        raise UserError(f"{directory}: nothing scores {trial.name}; run it with scorer.checkpoint={into}")
    try:
        samples = trial.coverage(len(task.problems)).ready_samples
        if samples < 2 * DEFAULT_WAVES[0]:
            raise UserError(
                f"{directory}: {trial.name} has {samples} samples of every question, and a table of gains needs at "
                f"least {2 * DEFAULT_WAVES[0]}"
            )
        read = blocks(trial, task.problems, samples, CURVE_COLUMNS)
        outcomes = join_outcomes([outcomes_of(trial, records, some) for records, some in read])
    except OSError as error:
        raise UserError(f"store.path {masked(config.store.path)}: cannot be read: {error}") from error
    tables = fit_gain_tables(outcomes, DEFAULT_WAVES, trial.scored.calibration.temperature, sampler=trial.name)
    try:
        write_atomically(into / GAIN_FILE, tables.model_dump_json() + "\n")
    except OSError as error:
        raise UserError(f"--into {into}: cannot be written: {error}") from error
    say(make_console(), f"{into / GAIN_FILE}: fitted to {trial.name}, {outcomes.questions:,} questions of {task.name}")


def _trial(directory: Path, trials: Sequence[Trial], name: str | None) -> Trial:
    names = [trial.name for trial in trials if trial.name != GREEDY]
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        raise UserError(f"--trial: {directory} has several; name one of {', '.join(names)}")
    if name not in names:
        raise UserError(f"--trial {name}: {directory} has no such trial; {nearest_hint(name, names)}")
    return next(trial for trial in trials if trial.name == name)
