"""Supervised: cross-entropy on the reference answers of the same questions under the same draws; the control."""

from torch import Tensor

from latent_core.policy.objectives.base import Replayed, register_objective


@register_objective(uses_rewards=False)
def supervised(replay: Replayed) -> Tensor:
    """Return the log-probability of each question's reference answer behind every trajectory, [trajectories, 1]."""
    return replay.reference_logprob()
