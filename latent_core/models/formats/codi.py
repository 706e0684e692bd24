"""CODI: a small projector maps the last hidden state to the next input (Shen et al. 2025, arXiv 2502.21074)."""

from collections.abc import Mapping
from typing import Any

from latent_core.models.formats.base import LatentFormat, register_format


@register_format("CODIGPT2", "CODILlama")
def codi(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format; `projector` of `config.json` says whether there is a projector."""
    feedback = "projector" if config.get("projector") else "identity"
    # As COCONUT's: published evaluation calls the tokenizer with its defaults.
    return LatentFormat(
        name="codi",
        prompt="{question}<|start-latent|>",
        opening_token=True,
        feedback=feedback,
        extractor="last_number",
    )
