"""Gain tables: fitted to a trial over validation questions, and written beside the LatentRM that scores it."""

from collections.abc import Sequence
from pathlib import Path

from latent_core.budgets import DEFAULT_WAVES, GAIN_FILE
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from latent_core.tasks.base import Task
from orchestrator.analysis.evaluation import CURVE_COLUMNS, blocks
from orchestrator.analysis.outcomes import join_outcomes, outcomes_of
from orchestrator.files import write_atomically
from orchestrator.names import GREEDY
from orchestrator.store.trial import Trial

_FEWEST_SAMPLES = 2 * DEFAULT_WAVES[0]


def fit_gain(trials: Sequence[Trial], task: Task, into: Path, name: str | None = None) -> str:
    """Fit a gain table to a trial and write it beside a LatentRM, which changes no score and no key of a store.

    Args:
        trials: Of a run over questions that nothing is reported of and that the LatentRM was not trained on.
        task: These questions.
        into: Directory of the LatentRM.
        name: Which trial, where there are several.

    Returns:
        What was written, as a line.

    Raises:
        UserError: If there is no such trial or LatentRM, or the trial has no scores or too few samples.
    """
    if not (into / "config.json").is_file():
        raise UserError(f"--fit-gain {into}: no LatentRM is there (no config.json)")
    trial = _trial(trials, name)
    if trial.scored is None or trial.scored.calibration is None:
        raise UserError(f"--fit-gain {into}: nothing scores {trial.name}; run it with scorer.checkpoint={into}")
    samples = trial.coverage(len(task.problems)).ready_samples
    if samples < _FEWEST_SAMPLES:
        raise UserError(
            f"--fit-gain {into}: {trial.name} has {samples} samples of every question, and a table of gains needs at "
            f"least {_FEWEST_SAMPLES}"
        )
    read = blocks(trial, task.problems, samples, CURVE_COLUMNS)
    outcomes = join_outcomes([outcomes_of(trial, records, some) for records, some in read])
    tables = fit_gain_tables(outcomes, DEFAULT_WAVES, trial.scored.calibration.temperature, sampler=trial.name)
    try:
        write_atomically(into / GAIN_FILE, tables.model_dump_json() + "\n")
    except OSError as error:
        raise UserError(f"--fit-gain {into}: cannot be written: {error}") from error
    return f"{into / GAIN_FILE}: fitted to {trial.name}, {outcomes.questions:,} questions of {task.name}"


def _trial(trials: Sequence[Trial], name: str | None) -> Trial:
    names = [trial.name for trial in trials if trial.name != GREEDY]
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        raise UserError(f"--fit-gain-trial: the run has several trials; name one of {', '.join(names)}")
    if name not in names:
        raise UserError(f"--fit-gain-trial {name}: the run has no such trial; {nearest_hint(name, names)}")
    return next(trial for trial in trials if trial.name == name)
