"""CoLaR: latents from a head of their own, as many as the model wants (Tan et al. 2025, arXiv 2505.16552)."""

from collections.abc import Mapping
from typing import Any

from latent_core.models.formats.base import LatentFormat, register_format

_SEPARATOR = "###"


@register_format("ColarLlama")
def colar(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format; where `config.json` names the end token by its id, that one stops the latent steps."""
    return LatentFormat(
        name="colar",
        prompt="Question: {question} Let's think step by step:(Thinking speed: 2)" + _SEPARATOR,
        feedback="latent_head",
        start_token=None,
        end_token=None if _is_id(config.get("latent_end_id")) else _SEPARATOR,
        latent_token=None,
        latent_length="adaptive",
        latent_steps=64,
        extractor="after_answer_marker",
    )


def _is_id(value: object) -> bool:
    return isinstance(value, int) and value >= 0
