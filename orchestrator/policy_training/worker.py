"""Training loop of a Ray Train worker: the first one asks the actors, every one learns from its part."""

import math
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import ray.train
import ray.train.torch
import torch
import torch.distributed
from torch import nn

from latent_core.policy.accuracy import compare
from latent_core.policy.rollouts import RolloutBatch
from latent_core.tasks.base import Problem
from orchestrator.policy_training.asking import RolloutDesk
from orchestrator.policy_training.busy import Interval, busy_shares
from orchestrator.policy_training.job import PolicyJob
from orchestrator.policy_training.order import QuestionOrder, parts_of
from orchestrator.policy_training.state import TrainingState, read_state, write_state

T = TypeVar("T")

KEEP_BY = "best_update"
"""Metric that tells Ray Train which checkpoint to keep besides the last: higher for every better one."""

Entry = dict[str, Any]
"""What one update came to: `update`, the number of updates done with it; `numbers` by name; behind a validation also
`quality`, `seconds` so far, and whether it is `better` than all trained before; `diverged` where the loss was not a
number. The first one is that of the start, update 0."""


def train_worker(config: dict[str, Any]) -> None:
    """Train until the end or until nothing gets better; runs in each worker of a Ray Train job.

    Args:
        config: The `PolicyJob` under "job".
    """
    job: PolicyJob = config["job"]
    torch.set_num_threads(job.config.learner.threads)
    context = ray.train.get_context()
    _Loop(job, context.get_world_rank(), context.get_world_size()).run()


class _Loop:
    def __init__(self, job: PolicyJob, rank: int, workers: int) -> None:
        self._job, self._config, self._rank, self._workers = job, job.config, rank, workers
        self._device = ray.train.torch.get_device()
        self._learner = job.new_learner(str(self._device))
        self._order = QuestionOrder(job.train, self._config.seed, self._config.policy.questions_per_update)
        self._desk = RolloutDesk(self._config, job.actors) if rank == 0 else None
        self._state = TrainingState()
        self._learning: list[Interval] = []
        self._rolled, self._since, self._before, self._began = 0, time.time(), 0.0, time.time()

    def run(self) -> None:
        """Train from the last checkpoint on."""
        self._resume()
        if self._is_over():
            # Whoever died right behind the last report may not have passed it on.
            self._say(None)
            return
        self._prepare_actors()
        while not self._is_over():
            self._update()
            version = self._learner.version
            if version % self._config.validation.every == 0 or version == self._config.updates or self._diverged():
                self._validate()
        if self._desk is not None:
            self._desk.close()

    def _prepare_actors(self) -> None:
        """Give the actors the weights, judge the start, and ask for what the next updates need."""
        desk, version = self._desk, self._learner.version
        if desk is not None:
            desk.publish(version, self._weights())
            for update, rollouts in self._state.pending.items():
                desk.keep(update, rollouts)
            first = version + (self._config.staleness if version else 0)
            for update in range(first, version + self._config.staleness + 1):
                self._ask(update)
        if not self._state.history:
            entry: Entry = {}
            if desk is not None:
                self._state.start = desk.validate(self._job.validation)
                found = compare(self._state.start, None)
                numbers = {f"validation/{name}": value for name, value in found.items()}
                entry = {"update": 0, "numbers": numbers, "quality": self._quality(numbers), "seconds": 0.0}
            self._state.history.append(self._from_first(entry))
            self._say(None)
        self._since = time.time()

    def _update(self) -> None:
        update = self._learner.version
        problems = self._order.questions(update)
        own = parts_of(problems, self._workers)[self._rank]
        rollouts = self._from_first(None if self._desk is None else self._desk.rollouts(update))
        self._rolled += len(rollouts)
        began = time.time()
        numbers = self._learner.update(own, _of(rollouts, own), self._average if self._workers > 1 else None)
        self._learning.append(Interval(began, time.time()))
        if self._desk is not None:
            self._desk.publish(self._learner.version, self._weights())
            self._ask(self._learner.version + self._config.staleness)
            self._desk.forget(update)
        entry: Entry = {"update": self._learner.version, "numbers": self._mean(numbers)}
        if not (math.isfinite(entry["numbers"]["loss"]) and math.isfinite(entry["numbers"]["grad_norm"])):
            entry["diverged"] = True
        self._state.history.append(entry)

    def _ask(self, update: int) -> None:
        if self._desk is not None and update < self._config.updates:
            self._desk.ask(update, self._order.questions(update))

    def _validate(self) -> None:
        """Judge the policy, and report it with a checkpoint."""
        entry = self._state.history[-1]
        if self._diverged():
            self._say(None)
            return
        found: Entry = {}
        if self._desk is not None:
            desk = self._desk
            now = desk.validate(self._job.validation)
            numbers = {f"validation/{name}": value for name, value in compare(now, self._state.start).items()}
            whole = Interval(self._since, time.time())
            numbers |= busy_shares(whole, self._learning, desk.computing(), self._config.actors)
            numbers["rollouts_per_second"] = self._rolled / (whole.ended - whole.began)
            numbers["bytes_per_rollout"] = desk.bytes_per_rollout or math.nan
            seconds = self._before + time.time() - self._began
            found = {"numbers": numbers, "quality": self._quality(numbers), "seconds": round(seconds, 3)}
        # Every worker has to come to the same conclusion.
        found = self._from_first(found)
        trained = self._state.history[1:]
        best = max((one["quality"] for one in trained if "quality" in one), default=float("-inf"))
        entry["numbers"] |= found["numbers"]
        entry |= {"quality": found["quality"], "better": found["quality"] > best, "seconds": found["seconds"]}
        self._rolled, self._learning, self._since = 0, [], time.time()
        self._report()

    def _quality(self, numbers: dict[str, float]) -> float:
        return numbers[f"validation/{self._config.validation.stop_on}"]

    def _report(self) -> None:
        if self._desk is None:
            self._say(None)
            return
        version = self._learner.version
        # What actors have been asked for with weights that are gone after a restart.
        waiting = range(version, min(version + self._config.staleness, self._config.updates))
        self._state.pending = {update: self._desk.rollouts(update) for update in waiting}
        self._state.learner = self._learner.state_dict()
        with tempfile.TemporaryDirectory() as directory:
            write_state(self._state, Path(directory))
            self._say(ray.train.Checkpoint.from_directory(directory))

    def _say(self, checkpoint: ray.train.Checkpoint | None) -> None:
        history = self._state.history
        metrics = {KEEP_BY: history[-1]["update"] if history[-1].get("better") else 0, "history": history}
        ray.train.report(metrics, checkpoint=checkpoint)

    def _resume(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as directory:
            self._state = read_state(Path(directory))
        self._learner.load_state_dict(self._state.learner)
        self._before = float(self._state.history[-1]["seconds"])

    def _diverged(self) -> bool:
        return bool(self._state.history) and "diverged" in self._state.history[-1]

    def _is_over(self) -> bool:
        if self._diverged() or self._learner.version >= self._config.updates:
            return True
        return out_of_patience(self._state.history, self._config.validation.patience)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: one.cpu() for name, one in self._learner.weights().items()}

    def _average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over workers."""
        for parameter in parameters:
            assert parameter.grad is not None
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self._workers

    def _mean(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return means over workers of what each has measured; not all measure the same."""
        if self._workers == 1:
            return numbers
        every: list[Any] = [None] * self._workers
        torch.distributed.all_gather_object(every, numbers)
        names = {name: None for one in every for name in one}
        known = {name: [one[name] for one in every if name in one] for name in names}
        return {name: sum(values) / len(values) for name, values in known.items()}

    def _from_first(self, value: T | None) -> T:
        """Return what the first worker holds."""
        box: list[Any] = [value]
        if self._workers > 1:
            torch.distributed.broadcast_object_list(box, device=self._device)
        held: T = box[0]
        return held


def out_of_patience(history: list[Entry], patience: int | None) -> bool:
    """Whether so many validations have passed since the best one, the start's included."""
    qualities = [one["quality"] for one in history if "quality" in one]
    if patience is None or not qualities:
        return False
    best = max(range(len(qualities)), key=lambda index: (qualities[index], -index))
    return len(qualities) - 1 - best >= patience


def _of(rollouts: RolloutBatch, problems: tuple[Problem, ...]) -> RolloutBatch:
    """Return the rollouts of some questions."""
    names = {problem.question_id for problem in problems}
    rows = [index for index, name in enumerate(rollouts.question_id) if name in names]
    return rollouts if len(rows) == len(rollouts) else rollouts.take(torch.tensor(rows).numpy())
