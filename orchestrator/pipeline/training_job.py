"""Ray Train job in a thread: it goes on through lost workers, and the driver follows what workers report."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import ray.train
from ray.train import UserCallback
from ray.train.torch import TorchConfig, TorchTrainer
from rich.console import Console

from orchestrator.console import say
from orchestrator.files import write_json
from orchestrator.pipeline.training_failures import fit_through_losses

HISTORY_FILE = "history.json"
_POLL_SECONDS = 0.5


class WriteHistory(UserCallback):
    """Writes what workers report where the driver finds it.

    Ray Train calls it in its controller, a process of its own on the driver's node.
    """

    def __init__(self, file: Path) -> None:
        """Name the file."""
        self._file = file

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: ray.train.Checkpoint | None
    ) -> None:
        """Replace the file; `metrics` holds one dictionary per worker, all with the same history."""
        write_json(self._file, metrics[0]["history"])


@dataclass(frozen=True)
class TrainingWorkers:
    """Data-parallel workers of a training.

    Attributes:
        count: How many there are.
        threads: CPUs of each.
        gpus: GPUs of each; 0 trains on the CPU.
    """

    count: int
    threads: int
    gpus: float

    def trainer(
        self, loop: Callable[[dict[str, Any]], None], job: object, name: str, state: Path, history: Path, keep_by: str
    ) -> TorchTrainer:
        """Return a Ray Train job, which goes on from its last checkpoint by itself.

        Args:
            loop: What a worker runs, with the job under "job".
            job: What is trained.
            name: Name of the training.
            state: Folder of its checkpoints, of which the best and the last are kept.
            history: File to which the history that workers report is written.
            keep_by: The metric of a report by which a checkpoint is the best.
        """
        resources = {"CPU": float(self.threads)} | ({"GPU": self.gpus} if self.gpus else {})
        return TorchTrainer(
            loop,
            train_loop_config={"job": job},
            scaling_config=ray.train.ScalingConfig(
                num_workers=self.count, use_gpu=self.gpus > 0, resources_per_worker=resources
            ),
            torch_config=TorchConfig(backend="nccl" if self.gpus else "gloo"),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=str(state.absolute()),
                # Ray Train would try again whatever has happened; here only what a lost worker has ended.
                failure_config=ray.train.FailureConfig(max_failures=0),
                checkpoint_config=ray.train.CheckpointConfig(
                    num_to_keep=1, checkpoint_score_attribute=keep_by, checkpoint_score_order="max"
                ),
                # Ray Train names its own callbacks where Tune's used to be.
                callbacks=cast(Any, [WriteHistory(history)]),
            ),
        )


def prepare_ray_train() -> None:
    """Let Ray Train notice reports and deaths soon, and say only what matters; before the first job."""
    # How often Ray Train looks for reports, and with them for the death of a worker; workers wait for that.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
    for name in ("ray.train", "ray.train.v2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def fit_and_follow(
    trainer: Callable[[], TorchTrainer],
    follow: Callable[[], None],
    console: Console,
    *,
    losses: int,
    needs_less: str,
) -> ray.train.Result:
    """Run a job to its end, through the losses of workers.

    Args:
        trainer: Makes the job, which goes on from its last checkpoint by itself.
        follow: Looks at what workers have reported; called in this thread.
        console: Where a loss is said.
        losses: How many losses of workers are borne.
        needs_less: What to lower where memory does not suffice, in words.

    Raises:
        UserError: As `fit_through_losses`.
    """
    box: dict[str, Any] = {}

    def fit() -> None:
        try:
            box["result"] = fit_through_losses(lambda: trainer().fit(), losses, partial(say, console), needs_less)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            box["error"] = error

    # In a thread of its own, because the driver alone writes to MLflow, and does so while training goes on.
    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        follow()
    if "error" in box:
        raise box["error"]
    follow()
    result: ray.train.Result = box["result"]
    return result
