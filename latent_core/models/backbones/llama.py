"""Llama and everything laid out like it (Qwen, Mistral, SmolLM, Gemma): no dropout of its own, sites on projections."""

from latent_core.models.backbones.base import Backbone, Part, register_backbone
from latent_core.samplers.base import Projection, Site

LLAMA = register_backbone(
    Backbone(
        name="llama",
        layers="layers",
        sites={Site.FEED_FORWARD: "mlp.down_proj", Site.ATTENTION: "self_attn.o_proj"},
        projections={
            Projection.ATTENTION_QUERY: Part("self_attn.q_proj"),
            Projection.ATTENTION_KEY: Part("self_attn.k_proj"),
            Projection.ATTENTION_VALUE: Part("self_attn.v_proj"),
            Projection.ATTENTION_OUTPUT: Part("self_attn.o_proj"),
            Projection.FEED_FORWARD_INPUT: Part("mlp.up_proj"),
            Projection.FEED_FORWARD_OUTPUT: Part("mlp.down_proj"),
        },
    )
)
