"""Train a reasoner, stage by stage."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from latent_core.errors import UserError
from latent_core.training.from_base import FromBase
from latent_core.training.from_nothing import FromNothing
from latent_core.training.learner import Learner
from latent_core.training.settings import ReasonerTrainingSettings, StageSettings

Report = Callable[[dict[str, float | int | str]], None]

STATE_FILE = "training_state.pt"
"""Where a training that saves its state goes on; it is removed when the training ends."""


def learning_rate(stage: StageSettings, update: int) -> float:
    """Return the learning rate of an update (0-based): linear warm-up, then a cosine down to the final rate."""
    if update < stage.warmup_updates:
        return stage.learning_rate * (update + 1) / stage.warmup_updates
    progress = (update - stage.warmup_updates) / max(1, stage.updates - stage.warmup_updates)
    share = 0.5 * (1 + math.cos(math.pi * progress))
    return stage.final_learning_rate + (stage.learning_rate - stage.final_learning_rate) * share


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use this many CPU threads, then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_reasoner(settings: ReasonerTrainingSettings, output_dir: Path, report: Report) -> dict[str, float]:
    """Train a reasoner and save it.

    The checkpoint is written at the end of every stage. With `save_every` an interruption costs as many updates, and
    training goes on from there with the same numbers; without it, training begins anew.

    Args:
        settings: The recipe. The same recipe gives the same weights on the same kind of machine.
        output_dir: Where the checkpoint goes, in the Hugging Face layout.
        report: Called with losses every `report_every` updates and with the accuracy every `evaluate_every`.

    Returns:
        Greedy accuracy on validation problems (0..1), the last losses, the number of updates and the seconds taken.

    Raises:
        UserError: If the model or the problems to start from cannot be had, or another training was begun there.
    """
    with _threads(settings.threads):
        learner: Learner[Any] = FromNothing(settings) if settings.base is None else FromBase(settings)
        training = _Training(settings, learner, output_dir, report)
        training.go_on()
        return training.run()


@dataclass(frozen=True)
class _Place:
    """How far a training is: updates done in all, and those of them in the stage that it is in."""

    done: int = 0
    stage: int = 0
    update: int = 0


class _Training:
    """A training in progress."""

    def __init__(
        self, settings: ReasonerTrainingSettings, learner: Learner[Any], output_dir: Path, report: Report
    ) -> None:
        self._began = time.monotonic()
        self._settings, self._learner, self._out, self._report = settings, learner, output_dir, report
        self._weights = list(learner.trained.parameters())
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=1.0, betas=settings.adam_betas, weight_decay=settings.weight_decay
        )
        self._place, self._before = _Place(), 0.0
        self._metrics: dict[str, float] = {}

    @property
    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def run(self) -> dict[str, float]:
        """Do what is left, save the checkpoint, and measure it."""
        for index in range(self._place.stage, len(self._settings.stages)):
            self._run_stage(index, self._settings.stages[index])
            self._learner.save(self._out)
        self._metrics["greedy_accuracy"] = self._learner.accuracy()
        (self._out / STATE_FILE).unlink(missing_ok=True)
        return {**self._metrics, "updates": self._place.done, "seconds": self._seconds}

    def _run_stage(self, index: int, stage: StageSettings) -> None:
        settings, first = self._settings, self._place.update
        for update, batch in enumerate(self._learner.batches(index, stage, first), start=first):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate(stage, update)
            losses = self._add_gradients(batch, stage)
            torch.nn.utils.clip_grad_norm_(self._weights, settings.gradient_clip)
            self._optimizer.step()
            done = self._place.done + 1
            self._place = _Place(done, index, update + 1)
            said: dict[str, float | int | str] = {"stage": stage.name, "update": done}
            if done % settings.report_every == 0:
                self._metrics = {name: float(value) for name, value in losses.items()}
                self._report({**said, "seconds": self._seconds, **self._metrics})
            if done % settings.evaluate_every == 0:
                self._report({**said, "greedy_accuracy": self._learner.accuracy()})
            if settings.save_every is not None and done % settings.save_every == 0:
                self._save_state()
        self._place = _Place(self._place.done, index + 1)

    def _add_gradients(self, batch: Any, stage: StageSettings) -> dict[str, float | torch.Tensor]:
        """Leave the gradients of a batch in the weights, some rows at a time; return the losses of all."""
        self._optimizer.zero_grad()
        rows = len(batch)
        at_once = self._settings.micro_batch or rows
        sums: dict[str, float | torch.Tensor] = {}
        for start in range(0, rows, at_once):
            part = batch if at_once >= rows else batch.rows(start, min(start + at_once, rows))
            share = len(part) / rows
            losses = self._learner.losses(part, stage)
            torch.autograd.backward(losses.total if share == 1 else losses.total * share)
            for name, value in losses.parts.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * share
        return sums

    def _save_state(self) -> None:
        """Write down all that the rest of the training depends on."""
        self._out.mkdir(parents=True, exist_ok=True)
        file, device = self._out / STATE_FILE, self._settings.device
        state = {
            "recipe": self._settings.model_dump_json(),
            "place": (self._place.done, self._place.stage, self._place.update),
            "seconds": self._seconds,
            "weights": self._learner.trained.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "noise": self._learner.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if device == "cuda" else None,
        }
        partial = file.with_name(file.name + ".partial")
        torch.save(state, partial)
        os.replace(partial, file)

    def go_on(self) -> None:
        """Go back to the state that was saved last, if there is one.

        Raises:
            UserError: If it is that of another recipe.
        """
        file = self._out / STATE_FILE
        if self._settings.save_every is None or not file.is_file():
            return
        state = torch.load(file, map_location=self._settings.device, weights_only=True)
        if state["recipe"] != self._settings.model_dump_json():
            raise UserError(f"--out {self._out}: holds a training with another recipe; name another directory")
        self._place, self._before = _Place(*state["place"]), float(state["seconds"])
        self._learner.trained.load_state_dict(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._learner.generator.set_state(state["noise"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"].cpu())
        self._report({"stage": "going on", "update": self._place.done})
