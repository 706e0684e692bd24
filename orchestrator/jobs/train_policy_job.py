"""Job of `train-policy`: actors that roll out, a Ray Train learner, and a checkpoint; it survives being killed."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import ray
import ray.train
from rich.console import Console

from latent_core.errors import UserError
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.console import masked, masked_values, say
from orchestrator.experiment.lease import Lease
from orchestrator.experiment.run_directory import POLICY_FOLDER, SUMMARY_FILE
from orchestrator.experiment.tracking_end import end_tracking
from orchestrator.experiment.training_directory import claim, is_begun
from orchestrator.files import write_json
from orchestrator.pipeline.cluster import check_policy_resources, connect, disconnect, policy_pool
from orchestrator.pipeline.training_job import HISTORY_FILE, TrainingWorkers, fit_and_follow, prepare_ray_train
from orchestrator.policy_training.export import export_policy
from orchestrator.policy_training.job import PolicyJob
from orchestrator.policy_training.picture import PICTURE_FILE, draw_training
from orchestrator.policy_training.plan import PolicyPlan, plan_policy
from orchestrator.policy_training.report import print_report, summarize, write_card
from orchestrator.policy_training.tracking import UPDATES_FILE, PolicyTracking
from orchestrator.policy_training.worker import KEEP_BY, train_worker
from orchestrator.tracking.server import check_tracking, tracking_uri

_STATE = "training-state"


def train_policy(config: TrainPolicyConfig, out: Path, console: Console, *, dry_run: bool = False) -> None:
    """Train, or go on training, the policy of a run directory; a dry run prints the plan and leaves all alone.

    Raises:
        UserError: If the configuration or the questions are wrong, or the directory holds another training.
    """
    plan = plan_policy(config)
    if dry_run:
        _show(plan, out, console)
        return
    with Lease(out, "train-policy"):
        _train_or_go_on(plan, out, console)


def show_policy(out: Path) -> None:
    """Print what a finished training has come to, and draw its picture anew; `report` of its directory.

    Raises:
        UserError: If it has not finished.
    """
    file = out / SUMMARY_FILE
    if not file.is_file():
        raise UserError(f"{out}: an unfinished training of a policy; `latentswarm status {out}` says how far it is")
    summary = json.loads(file.read_text(encoding="utf-8"))
    _draw(summary, _history(out), out)
    print_report(summary, Console())


def _train_or_go_on(plan: PolicyPlan, out: Path, console: Console) -> None:
    config = plan.config
    resumes = _is_begun(out, plan)
    if not resumes:
        claim(out, "train-policy", config, _facts(plan), config.updates)
    if (out / SUMMARY_FILE).is_file():
        say(console, _finished(out))
        show_policy(out)
        return
    say(console, plan.describe())
    check_tracking(tracking_uri(config.tracking, out))
    tracking: PolicyTracking | None = None
    try:
        learner = config.learner
        connect(config.cluster, config.actors * config.actor.cpus + learner.workers * learner.threads + 1, console)
        prepare_ray_train()
        check_policy_resources(config)
        tracking = PolicyTracking(config, out, _params(plan), console)
        with policy_pool(config, plan.reasoner.fingerprint) as actors:
            result = _train(PolicyJob.of(plan, actors), out, tracking, console, resumes)
        summary = _finish(plan, out, result, tracking, console)
    except BaseException as error:
        if tracking is not None:
            end_tracking(tracking.tracker, error)
        raise
    finally:
        disconnect()
    print_report(summary, Console())


def _finished(out: Path) -> str:
    return f"{out} holds the finished training of this configuration; nothing to do"


def _show(plan: PolicyPlan, out: Path, console: Console) -> None:
    begun = _is_begun(out, plan)
    for line in (*plan.lines(), f"results     {out}"):
        say(console, line)
    if (out / SUMMARY_FILE).is_file():
        say(console, _finished(out))
    elif begun:
        say(console, "it has been begun there, and goes on from its last checkpoint")


def _facts(plan: PolicyPlan) -> dict[str, Any]:
    return {
        "questions": plan.digest,
        "train_questions": len(plan.train),
        "validation_questions": len(plan.validation),
        "start": plan.reasoner.fingerprint,
    }


def _is_begun(out: Path, plan: PolicyPlan) -> bool:
    return is_begun(out, plan.config, _facts(plan), "start or other questions (the files have changed)")


def _train(job: PolicyJob, out: Path, tracking: PolicyTracking, console: Console, resumes: bool) -> ray.train.Result:
    """Run the Ray Train job, which goes on from its last checkpoint by itself, and follow it."""
    learner, history = job.config.learner, out.absolute() / HISTORY_FILE
    workers = TrainingWorkers(learner.workers, learner.threads, learner.gpus)
    if resumes:
        say(console, "going on from the last checkpoint, if there is one")
    return fit_and_follow(
        lambda: workers.trainer(train_worker, job, "train-policy", out / _STATE, history, KEEP_BY),
        lambda: tracking.follow(history),
        console,
        losses=job.config.max_failures,
        needs_less="policy.trajectories or policy.answers, which changes the training, or add memory",
    )


def _finish(
    plan: PolicyPlan, out: Path, result: ray.train.Result, tracking: PolicyTracking, console: Console
) -> dict[str, Any]:
    """Save the best policy, and write what there is to say about the training."""
    history = _history(out)
    if "diverged" in history[-1]:
        raise UserError(
            f"policy.learning_rate {plan.config.policy.learning_rate:g}: the loss is not a number at update "
            f"{history[-1]['update']}; lower it, and choose another --out"
        )
    best, _ = max(result.best_checkpoints or [], key=lambda kept: kept[1][KEEP_BY])
    policy = out / POLICY_FOLDER
    export_policy(PolicyJob.of(plan), Path(best.path), policy)
    versions = {name: importlib.metadata.version(name) for name in ("latentswarm", "torch", "transformers", "ray")}
    summary = summarize(plan, policy, history) | {
        "mlflow": {"uri": masked(tracking.tracker.uri), "run_id": tracking.run_id()},
        "versions": versions,
    }
    write_card(summary, policy)
    _draw(summary, history, out)
    measured = summary["validation"]["policy"]
    # Last of all, since it says that everything is there.
    write_json(out / SUMMARY_FILE, summary)
    files = [out / name for name in (SUMMARY_FILE, "config.yaml", UPDATES_FILE, PICTURE_FILE)]
    tracking.conclude(measured, summary["best_update"], files)
    if measured[f"{summary['stopped_on']}_gain"] <= 0:
        say(console, f"no update was better than the start by validation {summary['stopped_on']}; this is the best one")
    return summary


def _draw(summary: dict[str, Any], history: list[dict[str, Any]], out: Path) -> None:
    title = f"{summary['objective']} on {summary['task']}, from {summary['start']['source']}"
    draw_training(history, summary["validation_samples"], title, out / PICTURE_FILE)


def _history(out: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = json.loads((out / HISTORY_FILE).read_text(encoding="utf-8"))
    return history


def _params(plan: PolicyPlan) -> dict[str, Any]:
    params: dict[str, Any] = masked_values(plan.config.model_dump(mode="json", exclude={"tracking", "cluster"}))
    return params | {
        "train_questions": len(plan.train),
        "validation_questions": len(plan.validation),
        "rollouts_per_update": plan.rollouts_per_update,
        "start": plan.reasoner.fingerprint,
    }
