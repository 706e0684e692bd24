"""Supervised: cross-entropy on the reference answers of the same questions under the same draws; the control."""

from typing import TYPE_CHECKING

from torch import Tensor

from latent_core.policy.objectives.base import register_objective

if TYPE_CHECKING:
    from latent_core.policy.replay import Replay


@register_objective(uses_rewards=False)
def supervised(replay: "Replay") -> Tensor:
    """Return the log-probability of each question's reference answer behind every trajectory, [trajectories, 1]."""
    return replay.answers(replay.replayed(), replay.references()).logprob
