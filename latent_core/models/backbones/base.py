"""Where the sites and projections that samplers perturb are found in an architecture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from latent_core.errors import UserError
from latent_core.registry import Registry
from latent_core.samplers.base import Phase, Projection, Sampler, Site


@dataclass(frozen=True)
class Part:
    """A projection within a block: a module, or one of the equal parts that are fused in its output.

    Attributes:
        path: Attribute path from the block to the module.
        index: Which of the parts, counted from 0.
        of: Number of parts.
    """

    path: str
    index: int = 0
    of: int = 1


@dataclass(frozen=True)
class Backbone:
    """Module names of a family of architectures, by role. An architecture belongs to it if it has them all.

    Attributes:
        name: Name of the family.
        layers: Attribute path from the base model to its list of blocks.
        sites: For each site within a block, the attribute path to the module whose output is the site.
        projections: For each projection of a block, where it is.
        version: Raised where a shipped family names other modules than before.
    """

    name: str
    layers: str
    sites: Mapping[Site, str]
    projections: Mapping[Projection, Part] = field(default_factory=dict)
    version: int = 1

    def fits(self, base: nn.Module) -> bool:
        """Whether all blocks of a base model have the modules that are named here."""
        paths = {*self.sites.values(), *(part.path for part in self.projections.values())}
        try:
            blocks = list(self.blocks(base))
            for block in blocks:
                for path in paths:
                    block.get_submodule(path)
        except AttributeError:
            return False
        return bool(blocks)

    def blocks(self, base: nn.Module) -> Iterator[nn.Module]:
        """Return the blocks in order."""
        return base.get_submodule(self.layers).children()


BACKBONES: Registry[Backbone] = Registry("backbone", "latent_core.models.backbones")
"""Families of architectures by name."""


def register_backbone(backbone: Backbone) -> Backbone:
    """Make a family of architectures known."""
    return BACKBONES.register(backbone.name, backbone)


def find_backbone(source: str, base: nn.Module) -> Backbone:
    """Return the family that a base model belongs to; one without sites and projections if it belongs to none.

    Raises:
        UserError: If the base model has no list of blocks at all.
    """
    for name in BACKBONES:
        if BACKBONES[name].fits(base):
            return BACKBONES[name]
    layers = next((path for path, module in base.named_modules() if isinstance(module, nn.ModuleList)), None)
    if layers is None:
        raise UserError(f"checkpoint {source}: {type(base).__name__} has no list of blocks")
    return Backbone(name="unlisted", layers=layers, sites={})


def check_sampler(source: str, backbone: Backbone, sampler: Sampler) -> None:
    """Refuse a sampler that acts where nobody knows what to act on.

    Raises:
        UserError: If a site or a projection that it needs is not known in this family.
    """
    wanted = {*sampler.module_sites, *(one for phase in Phase for one in sampler.projections(phase))}
    unknown = sorted(wanted - {Site.EMBEDDING, Site.ATTENTION_WEIGHTS, *backbone.sites, *backbone.projections})
    if unknown:
        raise UserError(
            f"sampler {sampler.describe()!r}: {source} has blocks of a layout in which {', '.join(unknown)} is "
            "not known; describe the layout in a new file in latent_core/models/backbones, or use another sampler"
        )
