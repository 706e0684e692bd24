"""Vocabulary mixture: the weighted mean of the embeddings of the most probable next tokens is the next input.

Soft Thinking (arXiv 2505.15778), Latent-SFT, Latent-GRPO, Multiplex Thinking. It has no tensors of its own, so that any
causal language model can be read with it; what it merges, and when it ends, is said by `MixtureSettings`.
"""

from typing import ClassVar

import torch
from torch import Tensor

from latent_core.mixtures import Candidates, MixtureSettings
from latent_core.models.feedback.base import Feedback, Moment, Thought, register_feedback


@register_feedback
class VocabularyMixture(Feedback):
    """Merges token embeddings; the sampler may change the weights, or draw the tokens."""

    kind: ClassVar[str] = "vocabulary_mixture"
    reads_logits: ClassVar[bool] = True

    def __init__(self) -> None:
        """Start with the default settings; `configured` gives others."""
        super().__init__()
        self.settings = MixtureSettings()

    def configured(self, mixture: MixtureSettings | None) -> "VocabularyMixture":
        """Return it with the settings of a checkpoint."""
        self.settings = mixture or MixtureSettings()
        return self

    def think(self, moment: Moment) -> Thought:
        """Return the mixture of every row, the token that stands for it, and whether it ends thinking."""
        candidates = Candidates.of(moment.logits(), self.settings)
        merged = moment.sampler.merge(candidates, moment.streams, moment.step)
        latents = merged.embedded(moment.embed(merged.ids))
        stops = torch.zeros_like(candidates.clean, dtype=torch.bool)
        if self.settings.stop != "noisy":
            stops = stops | (candidates.clean == moment.stop_id)
        if self.settings.stop != "clean":
            stops = stops | (merged.best == moment.stop_id)
        token_ids = candidates.clean if self.settings.stop == "clean" else merged.best
        if candidates.entropy is None:
            return Thought(latents, stops, token_ids)
        cold = self.settings.cold_stop
        calm = torch.where(candidates.entropy < cold.entropy, moment.calm + 1, 0)
        return Thought(latents, stops | (calm >= cold.steps), token_ids, calm)

    def forward(self, hidden: Tensor) -> Tensor:
        """Refuse: a hidden state alone does not say what is merged.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a vocabulary mixture is made of logits and embeddings: call `think`")
