"""Multiplex Thinking: a few tokens are drawn at each step and merged; the sampler `multiplex` draws them."""

from collections.abc import Mapping
from typing import Any

from latent_core.mixtures import MixtureSettings
from latent_core.models.formats.base import LatentFormat, register_family
from latent_core.models.formats.soft_thinking import soft_thinking


@register_family("multiplex")
def multiplex(config: Mapping[str, Any]) -> LatentFormat:
    """Return Soft Thinking's conventions without filters; samplers that draw nothing merge the three likeliest ids."""
    return soft_thinking(config).model_copy(update={"name": "multiplex", "mixture": MixtureSettings(width=3)})
