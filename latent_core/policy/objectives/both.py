"""Both: the joint log-likelihood of latents and answer, log p(answer | z) + sum_t log N(z_t; h_t, sigma^2)."""

from torch import Tensor

from latent_core.policy.objectives.base import Replayed, register_objective


@register_objective(needs_fixed_length=True, needs_current_weights=True)
def both(replay: Replayed) -> Tensor:
    """Return the joint log-likelihood of every trajectory and each of its answers, [trajectories, answers].

    The latents are held fixed in either term, so that no gradient is counted twice: with `answer` the effect of a
    latent on the answer comes through the latent, here through its likelihood.
    """
    density, state = replay.density()
    return density[:, None] + replay.answer_logprob_behind(state)
