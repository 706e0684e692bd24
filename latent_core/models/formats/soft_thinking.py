"""Soft Thinking: any chat model thinks in mixtures of token embeddings, without training (arXiv 2505.15778)."""

from collections.abc import Mapping
from typing import Any

from latent_core.mixtures import ColdStop, MixtureSettings
from latent_core.models.formats.base import Chat, LatentFormat, register_family
from latent_core.models.formats.latent_sft import BEGIN, END, REQUEST

TOKENS = 4096
"""Tokens that thoughts and answer may have together; what a description says otherwise counts."""


@register_family("soft_thinking")
def soft_thinking(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format with the published filters; nothing in `config.json` varies it."""
    return LatentFormat(
        name="soft_thinking",
        prompt=REQUEST,
        chat=Chat(tail=f"{BEGIN}\n"),
        feedback="vocabulary_mixture",
        mixture=MixtureSettings(
            temperature=0.6, top_k=30, top_p=0.95, width=10, cold_stop=ColdStop(entropy=0.01, steps=256)
        ),
        start_token=None,
        end_token=None,
        latent_token=None,
        end_text=END,
        stop_at="last",
        end_fed="stop",
        latent_length="adaptive",
        latent_steps=TOKENS - 1,
        answer_tokens=TOKENS,
        at_limit="close",
        budget="shared",
        extractor="boxed",
    )
