"""GPT-2: the sites are where the architecture has its own residual dropout; query, key and value are one module."""

from latent_core.models.backbones.base import Backbone, Part, register_backbone
from latent_core.samplers.base import Projection, Site

GPT2 = register_backbone(
    Backbone(
        name="gpt2",
        layers="h",
        sites={Site.FEED_FORWARD: "mlp.c_proj", Site.ATTENTION: "attn.c_proj"},
        projections={
            Projection.ATTENTION_QUERY: Part("attn.c_attn", 0, 3),
            Projection.ATTENTION_KEY: Part("attn.c_attn", 1, 3),
            Projection.ATTENTION_VALUE: Part("attn.c_attn", 2, 3),
            Projection.ATTENTION_OUTPUT: Part("attn.c_proj"),
            Projection.FEED_FORWARD_INPUT: Part("mlp.c_fc"),
            Projection.FEED_FORWARD_OUTPUT: Part("mlp.c_proj"),
        },
    )
)
