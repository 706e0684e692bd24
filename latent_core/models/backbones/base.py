"""Where the sites that samplers perturb are found in an architecture."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from latent_core.registry import Registry
from latent_core.samplers.base import Site

if TYPE_CHECKING:
    # Importing model code takes seconds, and looking at a checkpoint needs none of it.
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Backbone:
    """Module names of an architecture, by role.

    Attributes:
        model_type: The `model_type` of the transformers configuration.
        layers: Attribute path from the base model to its list of blocks.
        embedding: Attribute path from the base model to the module whose output enters the first block.
        block_sites: For each site within a block, the attribute path to the module whose output is the site.
    """

    model_type: str
    layers: str
    embedding: str
    block_sites: dict[Site, str]

    def site_modules(self, model: "PreTrainedModel") -> list[tuple[Site, int, nn.Module]]:
        """Return every (site, layer, module) whose output can be perturbed."""
        base = model.base_model
        blocks = base.get_submodule(self.layers)
        found = [(Site.EMBEDDING, 0, base.get_submodule(self.embedding))]
        for layer, block in enumerate(blocks.children()):
            found.extend((site, layer, block.get_submodule(path)) for site, path in self.block_sites.items())
        return found


BACKBONES: Registry[Backbone] = Registry("backbone", "latent_core.models.backbones")
"""Backbones by `model_type`."""


def register_backbone(backbone: Backbone) -> Backbone:
    """Make a backbone available under its model type."""
    return BACKBONES.register(backbone.model_type, backbone)
