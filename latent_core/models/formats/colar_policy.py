"""CoLaR as it was first published: latents are drawn from a stochastic head (Tan et al. 2025, arXiv 2505.16552)."""

from collections.abc import Mapping
from typing import Any

from latent_core.models.formats.base import LatentFormat, register_family

_SEPARATOR = "###"


@register_family("colar_policy")
def colar_policy(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format; nothing in `config.json` varies it."""
    return LatentFormat(
        name="colar_policy",
        prompt="Question: {question} Let's think step by step:(Thinking speed: 5)" + _SEPARATOR,
        feedback="latent_policy",
        start_token=None,
        end_token=_SEPARATOR,
        latent_token=None,
        latent_length="adaptive",
        latent_steps=64,
        # The end is looked for behind a latent that has been fed.
        least_latent_steps=1,
        at_limit="close",
        extractor="after_answer_marker",
    )
