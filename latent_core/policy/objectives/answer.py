"""Answer: log p(answer | replayed draws), pathwise through latents and prompt."""

from torch import Tensor

from latent_core.policy.objectives.base import Replayed, register_objective


@register_objective()
def answer(replay: Replayed) -> Tensor:
    """Return the log-probability of every sampled answer, [trajectories, answers].

    A trajectory is a function of its draws and the weights; the draws do not depend on the weights. So the answer is
    all that is random given them, and -A log p(answer | draws) has the whole gradient of the expected reward.
    """
    return replay.answer_logprob()
