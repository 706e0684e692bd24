"""Both: the joint log-likelihood of latents and answer, log p(answer | z) + sum_t log N(z_t; h_t, sigma^2)."""

from typing import TYPE_CHECKING

from torch import Tensor

from latent_core.policy.objectives.base import register_objective

if TYPE_CHECKING:
    from latent_core.policy.replay import Replay


@register_objective(needs_fixed_length=True, needs_current_weights=True)
def both(replay: "Replay") -> Tensor:
    """Return the joint log-likelihood of every trajectory and each of its answers, [trajectories, answers].

    The latents are held fixed in either term, so that no gradient is counted twice: with `answer` the effect of a
    latent on the answer comes through the latent, here through its likelihood.
    """
    density, state = replay.density()
    return density[:, None] + replay.answers_behind(state).logprob
