"""Ray Train job in a thread: it goes on through lost workers, and the driver follows what workers report."""

import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.train import UserCallback
from ray.train.torch import TorchTrainer
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
