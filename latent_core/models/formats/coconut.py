"""COCONUT: the last hidden state itself is fed back (Hao et al. 2024, arXiv 2412.06769)."""

from collections.abc import Mapping
from typing import Any

from latent_core.models.formats.base import LatentFormat, register_format

# Published evaluation calls the tokenizer with its defaults: GPT-2's adds nothing, Llama's opens the text.
COCONUT = LatentFormat(
    name="coconut", prompt="{question}\n<|start-latent|>", opening_token=True, extractor="after_last_hash"
)


@register_format("COCONUTGPT2", "COCONUTLlama")
def coconut(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format; nothing in `config.json` varies it."""
    return COCONUT
