"""Who an experiment is: what makes two commands the same one, and the tags by which it is found again."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.analysis.cut_answers import CUT_ANSWERS_BEFORE
from orchestrator.experiment.plan import Plan

if TYPE_CHECKING:
    from orchestrator.experiment.experiment import Experiment
    from orchestrator.store.trial import Trial

NO_INFLUENCE: Mapping[str, Any] = {
    **dict.fromkeys(("tracking", "cluster", "actors", "actor", "micro_batch", "store"), True),
    "sweep": {"max_concurrent_trials"},
    "task": {"trust_grader"},
}
"""What pydantic leaves out of a configuration so that only what curves depend on is left."""


def identity(experiment: "Experiment") -> str:
    """Return a hash of everything that its curves depend on (16 hexadecimal digits).

    Where and on how many actors it runs is left out: a command that goes on elsewhere continues the same experiment.
    """
    plan = experiment.plan
    content = plan.config.model_dump(mode="json", exclude={**NO_INFLUENCE, "scorer": True})
    content["checkpoint"] = plan.checkpoint.fingerprint
    content["task"] = [plan.task_fingerprint, len(plan.task.problems)]
    if plan.config.task.cut_answers != CUT_ANSWERS_BEFORE:
        # Left out where it says what was always so: runs that were begun before it go on with it.
        content["cut_answers"] = plan.config.task.cut_answers
    content |= _code(experiment)
    # What a searcher has chosen so far does not make it another experiment.
    content["settings"] = [] if experiment.open_ended else [trial.name for trial in experiment.all_trials()]
    if plan.scorer is not None:
        calibrations = [plan.scorer.calibration, plan.scorer.answer_calibration]
        content["scorer"] = [
            plan.scorer.reward.fingerprint,
            plan.scorer.score_answer,
            [str(one) for one in calibrations],
        ]
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def _code(experiment: "Experiment") -> dict[str, Any]:
    """Return what its trials say of the code that decides their rows; nothing where it is as it always was."""
    plan = experiment.plan
    own = plan.trial(plan.config.sampler.describe(), plan.config.sampler)
    trials = [own, *(() if experiment.open_ended else experiment.all_trials())]
    said = [[part for part in _unusual(trial) if part] for trial in trials]
    return {"code": said} if any(said) else {}


def _unusual(trial: "Trial") -> list[Any]:
    spec = trial.store.spec
    parts = [spec.extras, spec.reading, spec.beam.extras if spec.beam else {}]
    return [*parts, trial.scored.store.spec.extras if trial.scored else {}]


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
