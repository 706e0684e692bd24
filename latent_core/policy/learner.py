"""The learner of a policy: one update at a time from rollouts; it can be stopped and resumed anywhere to the bit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from latent_core.engine.gradients import gradients
from latent_core.engine.micro_batches import MicroBatch, RowLimit
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.checks import check_policy
from latent_core.policy.objectives import OBJECTIVES
from latent_core.policy.replay import Replay, WrittenAnswers
from latent_core.policy.rollouts import RolloutBatch, batches_of
from latent_core.policy.saving import check_saveable, save_policy
from latent_core.policy.settings import PolicySettings
from latent_core.policy.surrogate import Surrogate
from latent_core.policy.trainable import TrainableWeights
from latent_core.policy.update_batch import UpdateBatch
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem

Reduce = Callable[[Iterable[nn.Parameter]], None]
"""Averages the gradients of parameters over workers, in place."""


class PolicyLearner:
    """A policy in training.

    Attributes:
        reasoner: What is trained.
        settings: The recipe.
        version: Version of its weights: the updates done.
    """

    def __init__(self, reasoner: LatentReasoner, sampler: Sampler, settings: PolicySettings, seed: int) -> None:
        """Prepare training.

        Args:
            reasoner: One that can be trained; see `LatentReasoner.from_pretrained`.
            sampler: What has made the trajectories differ that it learns from.
            settings: The recipe.
            seed: Seed of what training itself draws, the first factors of LoRA.

        Raises:
            UserError: If reasoner, sampler and settings do not fit together.
        """
        check_policy(reasoner.checkpoint, sampler, settings)
        self.reasoner, self.settings, self.version = reasoner, settings, 0
        self._engine = RolloutEngine(reasoner, sampler)
        self._trained = TrainableWeights(reasoner, settings, seed)
        check_saveable(reasoner.checkpoint, self._trained.names)
        self._limit = RowLimit()
        self._optimizer = torch.optim.AdamW(
            list(self._trained.parameters.values()),
            lr=settings.learning_rate,
            betas=settings.adam_betas,
            weight_decay=0.0,
        )

    def update(
        self, problems: Sequence[Problem], rollouts: RolloutBatch, reduce: Reduce | None = None
    ) -> dict[str, float]:
        """Do one update.

        Args:
            problems: The questions.
            rollouts: G x K rollouts of every question, in any order; of one seed.
            reduce: Averages gradients over workers before the step.

        Returns:
            `loss`; `kl` to the start, where it has a coefficient; `ratio` and `ratio_clipped`, mean importance ratio
            and the share of those that are not followed, where rollouts are of older weights; `stale`, the share of
            such rollouts; what `UpdateBatch.numbers` says; `grad_norm` before it is clipped; `learning_rate`.

        Raises:
            ValueError: If a question lacks rollouts, or rollouts are of several seeds or of later weights.
            RuntimeError: If memory does not even suffice for one question.
        """
        update = UpdateBatch.of(self.reasoner.checkpoint, problems, rollouts, self.settings)
        if int(rollouts.version.max()) > self.version:
            raise ValueError(f"rollouts of version {rollouts.version.max()}, but the learner is at {self.version}")
        stale = float((rollouts.version != self.version).mean())
        surrogate = self._backward(update)
        if reduce is not None:
            reduce(self._trained.parameters.values())
        return {**surrogate.numbers(update.answers), **update.numbers, "stale": stale, **self._step()}

    def weights(self) -> dict[str, Tensor]:
        """Return copies of all weights that training changes, for `load_weights`."""
        return self._trained.tensors()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, apart from settings and questions."""
        return {
            "parameters": {name: one.detach().clone() for name, one in self._trained.parameters.items()},
            "optimizer": self._optimizer.state_dict(),
            "version": self.version,
            "rows": self._limit.rows,
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was taken."""
        for name, parameter in self._trained.parameters.items():
            parameter.copy_(state["parameters"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self.version, self._limit.rows = int(state["version"]), state["rows"]
        self._trained.publish()

    def save(self, directory: Path) -> None:
        """Write a checkpoint in the layout of the one that training began with. See `save_policy`."""
        save_policy(self.reasoner, self.weights(), directory)

    def _backward(self, update: UpdateBatch) -> Surrogate:
        """Put the gradient of the loss into the parameters; returns what was measured on the way."""
        parameters, surrogate = self._trained.parameters, Surrogate(self.settings)
        for parameter in parameters.values():
            parameter.grad = torch.zeros_like(parameter)

        def compute(batch: MicroBatch) -> None:
            part, measured = update.part(batch.questions), Surrogate(self.settings)
            replay = self._replay(part)
            # First, since it changes weights for a moment, which a backward pass would notice.
            start = self._start_likelihood(replay) if self.settings.kl else None
            with gradients(), parametrize.cached():
                loss = self._loss(replay, part, start, measured)
                found = self._trained.gradients_of(loss / update.answers)
            # Only now, so that a part that runs out of memory has left nothing behind.
            surrogate.add(measured)
            for name, gradient in found.items():
                total = parameters[name].grad
                assert total is not None
                total += gradient

        if len(update):
            self._limit.run(batches_of(len(update), self.settings), divisible=False, compute=compute)
        return surrogate

    def _loss(self, replay: Replay, part: UpdateBatch, start: Tensor | None, measured: Surrogate) -> Tensor:
        """Return the sum of the losses of all answers to some questions, a scalar."""
        device = self.reasoner.device
        likelihood = OBJECTIVES[self.settings.objective].log_likelihood(replay)
        advantages = torch.from_numpy(part.advantages).to(device=device, dtype=likelihood.dtype)
        behaviour = None
        if (part.version != self.version).any():
            behaviour = torch.from_numpy(part.logprob).to(device=device, dtype=likelihood.dtype)
        return measured.loss(likelihood, advantages.reshape(len(likelihood), -1), behaviour, start)

    def _replay(self, part: UpdateBatch) -> Replay:
        device = self.reasoner.device
        written = WrittenAnswers(torch.from_numpy(part.ids).to(device), torch.from_numpy(part.lengths).to(device))
        samples = range(self.settings.trajectories)
        prompt_batch = PromptBatch.of(self.reasoner, part.problems)
        return Replay(self._engine, prompt_batch, samples, part.seed, self.settings, written)

    def _start_likelihood(self, replay: Replay) -> Tensor:
        """Return the log-likelihood of the same draws under the weights of the start, without gradients."""
        objective = OBJECTIVES[self.settings.objective]
        if objective.needs_current_weights:
            _ = replay.drawn_latents  # Those of the policy, not of its start.
        with self._trained.at_start(), gradients(False):
            found = objective.log_likelihood(replay)
        return found.clone()

    def _step(self) -> dict[str, float]:
        rate = self.settings.learning_rate_of(self.version)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self._trained.parameters.values(), self.settings.gradient_clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._trained.publish()
        self.version += 1
        return {"grad_norm": float(norm), "learning_rate": rate}
