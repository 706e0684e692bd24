"""Training loop of a Ray Train worker: resume, train, evaluate, and report checkpoints."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import ray.train
import ray.train.torch
import torch
import torch.distributed

from latent_core.reward.training.trainer import RewardTrainer
from orchestrator.reward_training.data import stream_batches
from orchestrator.reward_training.job import RewardJob
from orchestrator.reward_training.order import QuestionOrder

STATE_FILE = "state.pt"
KEEP_BY = "best_update"
"""Metric that tells Ray Train which checkpoint to keep besides the last: higher for every better one."""

Entry = dict[str, Any]
"""What one evaluation found: `update`; `seconds` and `flops` so far; `quality`, and whether it is `better` than all
before; `losses` as [update, mean loss] pairs; `numbers` by name; `diverged` in place of these where the loss was not a
number."""


def train_worker(config: dict[str, Any]) -> None:
    """Train until the end or until nothing gets better; runs in each worker of a Ray Train job.

    Args:
        config: The `RewardJob` under "job".
    """
    job: RewardJob = config["job"]
    torch.set_num_threads(job.settings.threads)
    _Loop(job, ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()).run()


class _Loop:
    def __init__(self, job: RewardJob, rank: int, workers: int) -> None:
        self._job, self._rank, self._workers = job, rank, workers
        self._device = ray.train.torch.get_device()
        model = job.new_model().to(self._device)
        self._trainer = RewardTrainer(model, job.settings, job.updates, rank)
        self._encode = job.encoder()
        self._validation, self._watched = None, None
        if rank == 0:
            self._validation, self._watched = job.load_validation(self._encode), job.load_watched(self._encode)
        self._history: list[Entry] = []
        self._seconds = 0.0

    def run(self) -> None:
        """Train from the last checkpoint on."""
        self._resume()
        if self._workers > 1:
            self._trainer.loss = ray.train.torch.prepare_model(self._trainer.loss, move_to_device=False)
        if self._is_over():
            # Whoever died right behind the last report may not have passed it on.
            self._say(None)
            return
        job, trainer = self._job, self._trainer
        order = QuestionOrder(job.train, job.settings.seed, job.window, job.per_batch)
        batches = stream_batches(
            order, job.candidates, self._encode, trainer.update, job.updates, self._rank, self._workers
        )
        began, losses = time.monotonic(), []
        for questions in batches:
            losses.append(trainer.step(questions))
            if trainer.update % job.settings.evaluate_every == 0 or trainer.update == job.updates:
                entry = self._evaluate(losses, self._seconds + time.monotonic() - began)
                self._history.append(entry)
                self._report()
                losses = []
                if self._is_over():
                    return

    def _is_over(self) -> bool:
        if not self._history:
            return False
        patience = self._job.settings.patience
        since_best = next((age for age, entry in enumerate(reversed(self._history)) if entry.get("better")), 0)
        out_of_patience = patience is not None and since_best >= patience
        return out_of_patience or "diverged" in self._history[-1] or self._trainer.update >= self._job.updates

    def _evaluate(self, losses: Sequence[torch.Tensor], seconds: float) -> Entry:
        update = self._trainer.update
        means = self._over_workers(torch.stack(list(losses)))
        every = self._job.settings.report_every
        points = [
            [update - len(means) + end, float(means[start:end].mean())]
            for start in range(0, len(means), every)
            for end in [min(start + every, len(means))]
        ]
        flops = torch.tensor(self._trainer.flops, dtype=torch.float64, device=self._device)
        entry: Entry = {
            "update": update,
            "seconds": round(seconds, 3),
            "flops": float(self._over_workers(flops) * self._workers),
            "losses": points,
        }
        if not bool(torch.isfinite(means).all()):
            return entry | {"losses": [], "diverged": True}
        if self._validation is not None and self._watched is not None:
            report = self._validation.measure(self._trainer.model)
            watched = self._watched.measure(self._trainer.model)
            numbers = {f"validation/{name}": value for name, value in report.numbers.items()}
            numbers |= {f"train/{name}": value for name, value in watched.numbers.items() if name.startswith("auc")}
            entry |= {"quality": report.quality(self._job.settings.stop_on), "numbers": numbers}
        # Every worker has to come to the same conclusion.
        entry = self._from_first(entry)
        best = max((past["quality"] for past in self._history), default=float("-inf"))
        return entry | {"better": entry["quality"] > best}

    def _report(self) -> None:
        entry = self._history[-1]
        if self._rank > 0 or "diverged" in entry:
            self._say(None)
            return
        with tempfile.TemporaryDirectory() as directory:
            trainer = self._trainer.state_dict() | {"flops": entry["flops"]}
            state = {"trainer": trainer, "history": self._history}
            torch.save(state, Path(directory) / STATE_FILE)
            self._say(ray.train.Checkpoint.from_directory(directory))

    def _say(self, checkpoint: ray.train.Checkpoint | None) -> None:
        better = self._history[-1].get("better")
        metrics = {KEEP_BY: self._history[-1]["update"] if better else 0, "history": self._history}
        ray.train.report(metrics, checkpoint=checkpoint)

    def _resume(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        state = read_state(checkpoint)
        self._trainer.load_state_dict(state["trainer"])
        # What all workers computed is in the books of the first.
        self._trainer.flops *= self._rank == 0
        self._history = state["history"]
        self._seconds = float(self._history[-1]["seconds"])

    def _over_workers(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over workers of each value."""
        if self._workers > 1:
            torch.distributed.all_reduce(values)
            values = values / self._workers
        return values.cpu()

    def _from_first(self, entry: Entry) -> Entry:
        """Return what the first worker holds."""
        if self._workers == 1:
            return entry
        box = [entry]
        torch.distributed.broadcast_object_list(box, device=self._device)
        return box[0]


def read_state(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    """Read a checkpoint of the training: `trainer` and `history`."""
    with checkpoint.as_directory() as directory:
        state = torch.load(Path(directory) / STATE_FILE, map_location="cpu", weights_only=True)
    return cast(dict[str, Any], state)
