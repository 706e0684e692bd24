"""Latent-SFT: trained to think in mixtures of the ten most probable tokens' embeddings."""

from collections.abc import Mapping
from typing import Any

from latent_core.mixtures import MixtureSettings
from latent_core.models.formats.base import Chat, LatentFormat, register_family

REQUEST = "Please reason step by step, and put your final answer within \\boxed{}.\n{question}"
BEGIN, END = "<think>", "</think>"
_TURN = "<|start_header_id|>user<|end_header_id|>\n\n{turn}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
_SMALL, _LARGE = 128, 4096
_SMALL_WIDTH = 2048
"""Hidden size of the 1B checkpoints, which were evaluated with the smaller budget."""


@register_family("latent_sft")
def latent_sft(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format as the published plain evaluator has it.

    It writes Llama's turn by hand, without begin-of-text and system turn; other models get their chat template.
    """
    by_hand = config.get("model_type") == "llama"
    return LatentFormat(
        name="latent_sft",
        prompt=_TURN.replace("{turn}", REQUEST) + BEGIN if by_hand else REQUEST,
        chat=None if by_hand else Chat(tail=BEGIN),
        feedback="vocabulary_mixture",
        mixture=MixtureSettings(width=10, stop="clean"),
        start_token=None,
        end_token=None,
        latent_token=None,
        end_text=END,
        latent_length="adaptive",
        latent_steps=published_budget(config),
        answer_tokens=published_budget(config),
        at_limit="close",
        extractor="boxed",
    )


def published_budget(config: Mapping[str, Any]) -> int:
    """Return the tokens that published evaluations allow: 128 for 1B checkpoints, 4096 for 7B."""
    width = config.get("hidden_size")
    return _LARGE if isinstance(width, int) and width > _SMALL_WIDTH else _SMALL
