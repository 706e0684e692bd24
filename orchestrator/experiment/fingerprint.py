"""Fingerprint of an experiment: what makes two commands the same one, what `--resume` refuses, and MLflow's tags."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from orchestrator.analysis.cut_answers import as_begun
from orchestrator.config.loading import parse_config, read_yaml
from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import Plan
from orchestrator.experiment.run_directory import check_run_file
from orchestrator.store.specs import PRUNE_FROM_BEFORE
from orchestrator.store.trial import CUT_ANSWERS_BEFORE, Trial

NO_INFLUENCE: Mapping[str, Any] = {
    **dict.fromkeys(("tracking", "cluster", "actors", "actor", "micro_batch", "store"), True),
    "sweep": {"max_concurrent_trials"},
    "task": {"trust_grader"},
    # What plugins decide is named by the kinds that are theirs.
    "plugins": True,
}
"""What pydantic leaves out of a configuration so that only what curves depend on is left."""

_OBJECTIVE_OF_RUNS = ["coverage"]
"""Nothing of a single run depends on an objective; this was once the default of all, and stands in their hash."""


def fingerprint_of(plan: Plan, trials: Sequence[Trial]) -> str:
    """Return a hash of everything that the curves of an experiment depend on (16 hexadecimal digits).

    Where and on how many actors it runs is left out: a command that goes on elsewhere continues the same experiment.

    Args:
        plan: Its plan.
        trials: Its trials, greedy and the beam searches among them; none where a searcher chooses them.
    """
    content = plan.config.model_dump(mode="json", exclude={**NO_INFLUENCE, "scorer": True})
    if content["budget"] is None:
        # Left out where every question gets the same number, as it always was.
        del content["budget"]
    content["search"] = _search(plan)
    if not plan.config.sweep.space:
        content["sweep"]["objective"] = _OBJECTIVE_OF_RUNS
    content["checkpoint"] = plan.checkpoint.fingerprint
    content["task"] = [plan.task_fingerprint, len(plan.task.problems)]
    if plan.config.task.cut_answers != CUT_ANSWERS_BEFORE:
        # Left out where it says what was always so: runs that were begun before it go on with it.
        content["cut_answers"] = plan.config.task.cut_answers
    content |= _code(plan, trials)
    content["settings"] = [trial.name for trial in trials]
    fitted = [one.budget.to_plain()["fitted"] for one in trials if one.budget is not None and one.budget.fitted]
    if fitted:
        content["fitted"] = fitted
    if plan.scorer is not None:
        calibrations = [plan.scorer.calibration, plan.scorer.answer_calibration]
        content["scorer"] = [
            plan.scorer.reward.fingerprint,
            plan.scorer.score_answer,
            [str(one) for one in calibrations],
        ]
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def _search(plan: Plan) -> dict[str, Any]:
    """Return the configuration of the search; what says what was always so is left out, as in runs begun before it."""
    content = plan.config.search.model_dump(mode="json")
    prune_from, temperature = content.pop("prune_from"), content.pop("temperature")
    if plan.config.search.kind == "none":
        return content
    if plan.scorer is not None:
        prune_from = plan.scorer.prune_from(plan.config.search, plan.latent_steps)
    content |= {"prune_from": prune_from} if prune_from != PRUNE_FROM_BEFORE else {}
    return content | ({"temperature": temperature} if plan.config.search.kind == "smc" else {})


def _code(plan: Plan, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return what trials say of the code that decides their rows; nothing where it is as it always was."""
    own = plan.trial_without_searches(plan.config.sampler.describe(), plan.config.sampler)
    said = [[part for part in _unusual(trial) if part] for trial in (own, *trials)]
    return {"code": said} if any(said) else {}


def _unusual(trial: Trial) -> list[Any]:
    spec = trial.store.spec
    parts = [spec.extras, spec.reading, spec.beam.extras if spec.beam else {}]
    return [*parts, trial.scored.store.spec.extras if trial.scored else {}]


def check_resume(out: Path, config: RunConfig) -> None:
    """Refuse to go on with a run directory that belongs to another configuration.

    Where and on how many actors it runs may change.

    Raises:
        UserError: If there is no such run directory, a newer version has written it, or its configuration would give
            other curves.
    """
    file = out / "config.yaml"
    if not file.is_file():
        raise UserError(f"--resume {out}: no config.yaml there; name the directory that an earlier --out made")
    check_run_file(out)
    begun = parse_config(RunConfig, as_begun(read_yaml(file)))
    no_sweep = not begun.sweep.space and not config.sweep.space
    exclude = {**NO_INFLUENCE, "sweep": {*NO_INFLUENCE["sweep"], "objective"}} if no_sweep else NO_INFLUENCE
    before, now = (one.model_dump(mode="json", exclude=exclude) for one in (begun, config))
    key = _first_difference(before, now)
    if key is not None:
        raise UserError(
            f"--resume {out}: it was begun with another {key}, and its curves would be mixed with others; leave "
            "--resume out and choose another --out, where everything that both have in common is taken from the store"
        )


def _first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Return the dotted key of the first value that differs, or None."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            found = _first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
            if found is not None:
                return found
        return None
    return None if before == now else path


def run_tags(plan: Plan) -> dict[str, str]:
    """Return the tags of all MLflow runs of a plan."""
    tags = {
        "checkpoint": plan.config.checkpoint,
        "checkpoint_fingerprint": plan.checkpoint.fingerprint,
        "task": plan.task.name,
        "task_fingerprint": plan.task_fingerprint,
        "cluster": plan.config.cluster.address or os.environ.get("RAY_ADDRESS") or "local",
    }
    if plan.scorer is not None:
        tags["latent_rm"] = str(plan.config.scorer.checkpoint)
        tags["latent_rm_fingerprint"] = plan.scorer.reward.fingerprint
    commit = _git_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _git_commit() -> str | None:
    """Return the commit of the repository that the command is run in, if it is run in one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
