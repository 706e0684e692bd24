"""Latent-GRPO: mixtures of vocabulary embeddings trained by reinforcement with Gumbel noise."""

from collections.abc import Mapping
from typing import Any

from latent_core.mixtures import MixtureSettings
from latent_core.models.formats.base import Chat, LatentFormat, register_family
from latent_core.models.formats.latent_sft import BEGIN, END, REQUEST, published_budget


@register_family("latent_grpo")
def latent_grpo(config: Mapping[str, Any]) -> LatentFormat:
    """Return the format as the published inference engine has it.

    It compares the clean most probable token with the stop id of Llama, whatever the model is: elsewhere only the token
    that is the most probable one with noise ends thinking.
    """
    return LatentFormat(
        name="latent_grpo",
        prompt=REQUEST,
        chat=Chat(tail=BEGIN),
        feedback="vocabulary_mixture",
        mixture=MixtureSettings(
            top_p=0.95,
            at_least=10,
            width=10,
            noise_before_width=True,
            noise_range=(-1.5, 3.0),
            stop="either" if config.get("model_type") == "llama" else "noisy",
        ),
        start_token=None,
        end_token=None,
        latent_token=None,
        end_text=END,
        end_fed="stop",
        latent_length="adaptive",
        # The end takes one token of the budget.
        latent_steps=published_budget(config) - 1,
        answer_tokens=published_budget(config),
        at_limit="close",
        budget="shared",
        extractor="boxed",
    )
