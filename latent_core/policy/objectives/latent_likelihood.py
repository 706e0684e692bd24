"""Latent likelihood: log N(z_t; h_t, sigma^2) of the latents that were fed back (as in arXiv 2607.19691)."""

from torch import Tensor

from latent_core.policy.objectives.base import Replayed, register_objective


@register_objective(needs_fixed_length=True, needs_current_weights=True)
def latent_likelihood(replay: Replayed) -> Tensor:
    """Return sum_t log N(z_t; h_t, sigma^2) of every trajectory, for each of its answers, [trajectories, answers].

    z_t is what the sampler has made of a latent and does not depend on the weights here; h_t is what the model thinks
    undisturbed behind z_1..t-1. Under Gaussian noise that is the likelihood; under other samplers a surrogate of it.
    """
    density, _ = replay.density()
    return density[:, None].expand(-1, replay.answer_ids.shape[1])
