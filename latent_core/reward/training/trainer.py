"""The training loop of a LatentRM, one update at a time; it can be stopped and resumed anywhere to the bit."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latent_core.flops import FlopModel
from latent_core.reward.losses import LOSSES
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import Rewards, score_candidates
from latent_core.reward.training.batches import LabelledQuestion, RewardBatch, collate
from latent_core.reward.training.settings import RewardTrainingSettings

_BACKWARD = 2.0
"""Cost of a backward pass in forward passes: one product for the inputs' gradients and one for the weights'."""


class RewardLoss(nn.Module):
    """From a batch to its loss in one forward pass, as data-parallel wrappers want it."""

    def __init__(self, model: LatentRewardModel, objective: str) -> None:
        """Wrap a model.

        Raises:
            UserError: If there is no such objective.
        """
        super().__init__()
        self.model = model
        self._loss = LOSSES[objective]

    def forward(self, batch: RewardBatch) -> Tensor:
        """Return the loss, a scalar."""
        rewards = step_rewards(score_candidates(self.model, batch.prompts, batch.candidates))
        loss: Tensor = self._loss(rewards.reshape(batch.labels.shape), batch.labels, batch.mask)
        return loss


def step_rewards(rewards: Rewards) -> Tensor:
    """Return the rewards of all steps, the written answer being one more, float32 [rows, S]."""
    if rewards.answer is None:
        return rewards.steps
    return torch.cat([rewards.steps, rewards.answer[:, None]], dim=1)


def learning_rate(settings: RewardTrainingSettings, update: int, updates: int) -> float:
    """Return the learning rate of an update (0-based): linear warm-up, then a cosine down to the final rate."""
    if update < settings.warmup_updates:
        return settings.learning_rate * (update + 1) / settings.warmup_updates
    progress = (update - settings.warmup_updates) / max(1, updates - settings.warmup_updates)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * share


def planned_updates(settings: RewardTrainingSettings, questions: int, workers: int = 1) -> tuple[int, int]:
    """Return the questions of a batch, and the number of updates, for so many training questions.

    Workers take equal parts of a batch, so there have to be as many questions as workers at least.
    """
    per_batch = min(settings.questions_per_batch, questions)
    per_batch -= per_batch % workers
    return per_batch, settings.updates or max(1, round(settings.epochs * (questions // per_batch)))


class RewardTrainer:
    """A model in training.

    Attributes:
        model: The model.
        loss: What an update calls; several workers put a data-parallel wrapper of it in its place.
        update: Updates done.
        flops: FLOPs of the updates done by this worker.
    """

    def __init__(self, model: LatentRewardModel, settings: RewardTrainingSettings, updates: int, rank: int = 0) -> None:
        """Prepare training.

        Args:
            model: What is trained; on its device.
            settings: The recipe.
            updates: Updates in all, for the learning rate.
            rank: Which of several workers this is; they draw different dropout.
        """
        self.model, self.settings, self.updates = model, settings, updates
        self.loss: nn.Module = RewardLoss(model, settings.objective)
        self.update, self.flops = 0, 0.0
        self._rank = rank
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [one for one in trained if one.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.adam_betas)

    def step(self, questions: Sequence[LabelledQuestion]) -> Tensor:
        """Do one update on mixed questions; returns the loss, a scalar on the model's device."""
        batch = collate(
            questions,
            score_answer=self.settings.score_answer,
            filler_id=self.model.end_of_text_id,
            device=self.model.device,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.update, self.updates)
        self.model.train(self.settings.dropout > 0)
        with _dropout_of(self.settings.seed, self.update, self._rank, self.model.device):
            loss: Tensor = self.loss(batch)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self._optimizer.step()
        self.model.train(False)
        self.update += 1
        self.flops += (1 + _BACKWARD) * forward_flops(self.model.flops, questions, self.settings.score_answer)
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, apart from settings and data."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "update": self.update,
            "flops": self.flops,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.update, self.flops = int(state["update"]), float(state["flops"])


def forward_flops(flops: FlopModel, questions: Sequence[LabelledQuestion], score_answer: bool) -> float:
    """FLOPs of scoring all candidates of questions once, each prompt being read once; padding is not counted."""
    total = 0.0
    for question in questions:
        total += flops.prompt(len(question.prompt))
        for candidate in question.candidates:
            if candidate.latents is not None:
                written = 1 + len(candidate.answer_ids) if score_answer else 0
                total += flops.suffix(len(question.prompt), len(candidate.latents) + written)
    return total


@contextmanager
def _dropout_of(seed: int, update: int, rank: int, device: torch.device) -> Iterator[None]:
    """Make dropout a function of seed, update and worker, so that a resumed training draws the same."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((seed * 1_000_003 + update) * 1_009 + rank)
        yield
