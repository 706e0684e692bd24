"""What an objective of a policy is: the log-likelihood of what was drawn, as a function of the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from latent_core.engine.state import RolloutState
from latent_core.registry import Registry


class Replayed(Protocol):
    """Trajectories that can be replayed, as objectives see them: `latent_core.policy.replay.Replay`."""

    @property
    def answer_ids(self) -> Tensor:
        """Tokens of the sampled answers, int64 [trajectories, answers, longest]."""

    def answer_logprob(self) -> Tensor:
        """Log-probability of the sampled answers behind the replayed latents, [trajectories, answers]."""

    def reference_logprob(self) -> Tensor:
        """Log-probability of the reference answers behind the replayed latents, [trajectories, 1]."""

    def density(self) -> tuple[Tensor, RolloutState]:
        """Log-likelihood of the drawn latents, [trajectories], and the state behind them."""

    def answer_logprob_behind(self, state: RolloutState) -> Tensor:
        """Log-probability of the sampled answers behind such a state, [trajectories, answers]."""


LogLikelihood = Callable[[Replayed], Tensor]
"""Takes the replay of some trajectories to log-likelihoods [trajectories, answers], differentiable."""


@dataclass(frozen=True)
class Objective:
    """A log-likelihood that is weighed by advantages, found by its name. The loss is -mean(advantage x it).

    Attributes:
        name: What settings call it.
        log_likelihood: See `LogLikelihood`.
        uses_rewards: Whether advantages weigh it; otherwise all weights are 1, and it is learnt from references.
        needs_fixed_length: Whether every trajectory has to have the same number of latent steps.
        needs_current_weights: Whether rollouts have to be of the learner's own weights: latents do not travel, and
            other weights would replay others.
    """

    name: str
    log_likelihood: LogLikelihood
    uses_rewards: bool = True
    needs_fixed_length: bool = False
    needs_current_weights: bool = False


OBJECTIVES: Registry[Objective] = Registry("objective", "latent_core.policy.objectives")
"""Objectives by the name that settings call them."""


def register_objective(
    *, uses_rewards: bool = True, needs_fixed_length: bool = False, needs_current_weights: bool = False
) -> Callable[[LogLikelihood], Objective]:
    """Decorator that makes an objective of a function, available under the function's name; see `Objective`."""

    def register(function: LogLikelihood) -> Objective:
        made = Objective(function.__name__, function, uses_rewards, needs_fixed_length, needs_current_weights)
        return OBJECTIVES.register(made.name, made)

    return register
