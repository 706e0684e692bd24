"""Ray Train job of a LatentRM on labelled candidates, which survives being killed."""

import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
from rich.console import Console

from latent_core.errors import UserError
from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.console import masked, masked_values, say
from orchestrator.experiment.lease import Lease
from orchestrator.experiment.run_directory import TRAINING_FILE
from orchestrator.experiment.tracking_end import end_tracking
from orchestrator.experiment.training_directory import claim, is_begun
from orchestrator.files import write_json
from orchestrator.pipeline.cluster import connect, disconnect
from orchestrator.pipeline.training_job import HISTORY_FILE, TrainingWorkers, fit_and_follow, prepare_ray_train
from orchestrator.reward_training.export import finish_training
from orchestrator.reward_training.job import RewardJob
from orchestrator.reward_training.plan import RewardPlan, plan_training
from orchestrator.reward_training.report import print_report, summarize
from orchestrator.reward_training.tracking import RewardTracking
from orchestrator.reward_training.worker import KEEP_BY, train_worker
from orchestrator.tracking.server import check_tracking, tracking_uri

MODEL_FOLDER = "latent-rm"
_CHECKPOINTS = "checkpoints"


def train_reward_model(config: TrainRewardConfig, out: Path, console: Console, *, dry_run: bool = False) -> None:
    """Train, or go on training, the LatentRM of a run directory; a dry run prints the plan and leaves all alone.

    Raises:
        UserError: If the configuration or the data are wrong, or the directory holds another training.
    """
    plan = plan_training(config)
    if dry_run:
        _show(plan, out, console)
        return
    with Lease(out, "train-rm"):
        _train_or_go_on(plan, out, console)


def _train_or_go_on(plan: RewardPlan, out: Path, console: Console) -> None:
    config = plan.config
    resumes = _is_begun(out, plan)
    if not resumes:
        claim(out, "train-rm", config, _facts(plan), plan.updates)
    if (out / TRAINING_FILE).is_file():
        say(console, _finished(out))
        print_report(json.loads((out / TRAINING_FILE).read_text(encoding="utf-8")), Console())
        return
    say(console, plan.describe())
    check_tracking(tracking_uri(config.tracking, out))
    tracking: RewardTracking | None = None
    try:
        _connect(config, console)
        tracking = RewardTracking(config, out, _params(plan), console)
        result = _train(plan, out, tracking, console, resumes)
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


def _show(plan: RewardPlan, out: Path, console: Console) -> None:
    """Print what a training would do."""
    config, training = plan.config, plan.config.training
    begun = _is_begun(out, plan)
    places = [config.data, *([config.validation_data] if config.validation_data else [])]
    for line in (
        f"reasoner    {plan.reasoner.source}  ({plan.reasoner.format.name}, {plan.reasoner.fingerprint})",
        f"labels      {', '.join(places)}  ({plan.manifest.task}, {plan.manifest.rollouts} completions per step)",
        f"data        {plan.describe()}",
        f"start       {training.init or plan.reasoner.source}, objective {training.objective}, seed {training.seed}",
        f"workers     {config.workers} x ({training.threads} CPUs, {config.gpus:g} GPUs), and one CPU that reads",
        f"results     {out}",
    ):
        say(console, line)
    if (out / TRAINING_FILE).is_file():
        say(console, _finished(out))
    elif begun:
        say(console, "it has been begun there, and goes on from its last checkpoint")


def _facts(plan: RewardPlan) -> dict[str, Any]:
    return {"data": plan.digest, "questions": len(plan.train), "validation_questions": len(plan.validation)}


def _is_begun(out: Path, plan: RewardPlan) -> bool:
    return is_begun(out, plan.config, _facts(plan), "data (the labelled sets have changed)")


def _connect(config: TrainRewardConfig, console: Console) -> None:
    threads = config.training.threads
    cpus = config.workers * threads + 1  # One reads the data.
    connect(config.cluster, cpus, console)
    prepare_ray_train()
    whole = ray.cluster_resources()
    for resource, needed in (("CPU", cpus), ("GPU", config.workers * config.gpus)):
        if needed > whole.get(resource, 0):
            raise UserError(
                f"workers: {config.workers} workers need {needed:g} {resource}s, one CPU for reading included, but the "
                f"cluster has {whole.get(resource, 0):g}; lower workers, gpus or training.threads, or add nodes"
            )


def _train(plan: RewardPlan, out: Path, tracking: RewardTracking, console: Console, resumes: bool) -> ray.train.Result:
    """Run the Ray Train job, which goes on from its last checkpoint by itself, and follow it."""
    config = plan.config
    history = out.absolute() / HISTORY_FILE
    workers = TrainingWorkers(config.workers, config.training.threads, config.gpus)
    if resumes:
        console.print("going on from the last checkpoint, if there is one")
    return fit_and_follow(
        lambda: workers.trainer(train_worker, RewardJob.of(plan), "train-rm", out / _CHECKPOINTS, history, KEEP_BY),
        lambda: tracking.follow(history),
        console,
        losses=config.max_failures,
        needs_less="training.questions_per_batch, which changes the training, or add workers or memory",
    )


def _finish(
    plan: RewardPlan, out: Path, result: ray.train.Result, tracking: RewardTracking, console: Console
) -> dict[str, Any]:
    """Save the best weights, and write what there is to say about the training."""
    history = json.loads((out / HISTORY_FILE).read_text(encoding="utf-8"))
    if "diverged" in history[-1]:
        raise UserError(
            f"training.learning_rate {plan.config.training.learning_rate:g}: the loss is not a number at update "
            f"{history[-1]['update']}; lower it, or training.gradient_clip, and choose another --out"
        )
    best, _ = max(result.best_checkpoints or [], key=lambda kept: kept[1][KEEP_BY])
    console.print("measuring the best checkpoint")
    config, began = plan.config, time.monotonic()
    where = (best.path, str(out.absolute() / MODEL_FOLDER), plan.manifest.latent_steps, plan.answer_tokens)
    if config.gpus:
        task = ray.remote(finish_training).options(num_cpus=config.training.threads, num_gpus=config.gpus)
        measured = ray.get(task.remote(RewardJob.of(plan), *where))
    else:
        # This process has everything loaded that a task would have to load first.
        measured = finish_training(RewardJob.of(plan), *where)
    versions = {name: importlib.metadata.version(name) for name in ("latentswarm", "torch", "transformers", "ray")}
    summary = summarize(plan, out / MODEL_FOLDER, history, measured, time.monotonic() - began) | {
        "mlflow": {"uri": masked(tracking.tracker.uri), "run_id": tracking.run_id()},
        "versions": versions,
    }
    final = {name: float(value) for name, value in summary["final"].items()}
    write_json(out / TRAINING_FILE, summary)
    tracking.conclude(final, summary["best_update"], [out / TRAINING_FILE, out / "config.yaml"])
    return summary


def _params(plan: RewardPlan) -> dict[str, Any]:
    params: dict[str, Any] = masked_values(plan.config.model_dump(mode="json", exclude={"tracking", "cluster"}))
    return params | {
        "updates": plan.updates,
        "train_questions": len(plan.train),
        "validation_questions": len(plan.validation),
        "candidates": plan.manifest.candidates,
        "rollouts": plan.manifest.rollouts,
        "reasoner": plan.reasoner.fingerprint,
    }
