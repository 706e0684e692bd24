"""No sampling: the greedy trajectory."""

from typing import ClassVar

from latent_core.samplers.base import Sampler, register_sampler


@register_sampler
class NoSampling(Sampler):
    """Deterministic latents and greedy answer tokens; every sample of a question is the same."""

    kind: ClassVar[str] = "none"

    @property
    def deterministic(self) -> bool:
        """True: one sample says it all."""
        return True
