"""GPT-2: the sites are where the architecture has its own residual dropout."""

from latent_core.models.backbones.base import Backbone, register_backbone
from latent_core.samplers.base import Site

GPT2 = register_backbone(
    Backbone(
        model_type="gpt2",
        layers="h",
        embedding="drop",
        block_sites={Site.FEED_FORWARD: "mlp.c_proj", Site.ATTENTION: "attn.c_proj"},
    )
)
