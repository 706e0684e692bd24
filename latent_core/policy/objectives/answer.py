"""Answer: log p(answer | replayed draws), pathwise through latents and prompt."""

from typing import TYPE_CHECKING

from torch import Tensor

from latent_core.policy.objectives.base import register_objective

if TYPE_CHECKING:
    from latent_core.policy.replay import Replay


@register_objective()
def answer(replay: "Replay") -> Tensor:
    """Return the log-probability of every sampled answer, [trajectories, answers].

    A trajectory is a function of its draws and the weights; the draws do not depend on the weights. So the answer is
    all that is random given them, and -A log p(answer | draws) has the whole gradient of the expected reward.
    """
    return replay.answers(replay.replayed()).logprob
