"""The places of a model where samplers act: module outputs by site, and weights of projections by their factors."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from latent_core.models.backbones import find_backbone
from latent_core.models.backbones.base import Part
from latent_core.models.packed_linear import PackedLinear
from latent_core.models.packing import without_activation
from latent_core.samplers.base import ModulePerturbation, Phase, Projection, Sampler, SingularFactors, Site


class PerturbedModules:
    """Hooks of one model. A module is hooked when a sampler first acts on it, so that others cost nothing.

    Attributes:
        backbone: The family that says where things are.
    """

    def __init__(self, source: str, model: PreTrainedModel) -> None:
        """Find the modules of a model.

        Raises:
            UserError: If its blocks are laid out like those of no known backbone.
        """
        base: Any = model.base_model
        self.backbone = find_backbone(source, base)
        self._blocks = list(self.backbone.blocks(base))
        self._current: ModulePerturbation | None = None
        self._hooked: set[Site | Projection] = {Site.ATTENTION_WEIGHTS}
        self._factors: dict[tuple[Projection, int], SingularFactors] = {}

    @contextmanager
    def forward_hooks(self, perturbation: ModulePerturbation | None) -> Iterator[None]:
        """Let a perturbation act in forward passes within."""
        if perturbation is not None:
            for site in perturbation.sites - self._hooked:
                self._hook_site(site)
            for projection in perturbation.projections - self._hooked:
                self._hook_projection(projection)
        self._current = perturbation
        try:
            with ExitStack() as stack:
                # What acts on a layer's outputs acts before its activation.
                for path in self._paths(perturbation):
                    for block in self._blocks:
                        stack.enter_context(without_activation(block.get_submodule(path)))
                yield
        finally:
            self._current = None

    def _paths(self, perturbation: ModulePerturbation | None) -> set[str]:
        """Return where in a block a perturbation acts."""
        if perturbation is None:
            return set()
        sites = (self.backbone.sites[site] for site in perturbation.sites if site in self.backbone.sites)
        return {*sites, *(self.backbone.projections[one].path for one in perturbation.projections)}

    def factors(self, projection: Projection, layer: int) -> SingularFactors:
        """Return the singular value decomposition of a projection's weight, computed when it is first asked for."""
        if (projection, layer) not in self._factors:
            part = self.backbone.projections[projection]
            module = self._blocks[layer].get_submodule(part.path)
            # Tensors of inference mode could not be used where gradients are built later.
            with torch.inference_mode(False), torch.no_grad():
                self._factors[projection, layer] = _decomposed(_weight(module, part))
        return self._factors[projection, layer]

    def forget_factors(self) -> None:
        """Let factors be computed anew, after the weights have changed."""
        self._factors.clear()

    def perturbation_flops(self, sampler: Sampler, prompt_tokens: int, latent_steps: int) -> float:
        """Return the FLOPs that a sampler's matrix products add to a trajectory; an own prompt is part of it."""
        total = 0.0
        read = ((Phase.PROMPT, prompt_tokens), (Phase.BOUNDARY, min(prompt_tokens, 1)), (Phase.LATENT, latent_steps))
        for phase, positions in read:
            for projection in sampler.projections(phase):
                part = self.backbone.projections[projection]
                inputs, outputs = _weight(self._blocks[0].get_submodule(part.path), part).shape
                total += 2.0 * positions * len(self._blocks) * min(inputs, outputs) * (inputs + outputs)
        return total

    def _hook_site(self, site: Site) -> None:
        self._hooked.add(site)
        if site is Site.EMBEDDING:
            self._blocks[0].register_forward_pre_hook(self._on_embedding, with_kwargs=True)
            return
        for layer, block in enumerate(self._blocks):
            module = block.get_submodule(self.backbone.sites[site])
            module.register_forward_hook(self._on_output(site, layer))

    def _on_embedding(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Perturb what enters the first block."""
        perturbation = self._current
        if perturbation is None or Site.EMBEDDING not in perturbation.sites:
            return None
        if args:
            return (perturbation.on_output(Site.EMBEDDING, 0, args[0]), *args[1:]), kwargs
        hidden = perturbation.on_output(Site.EMBEDDING, 0, kwargs["hidden_states"])
        return args, {**kwargs, "hidden_states": hidden}

    def _on_output(self, site: Site, layer: int) -> Any:
        def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
            perturbation = self._current
            if perturbation is None or site not in perturbation.sites:
                return None
            return perturbation.on_output(site, layer, output)

        return hook

    def _hook_projection(self, projection: Projection) -> None:
        self._hooked.add(projection)
        part = self.backbone.projections[projection]
        for layer, block in enumerate(self._blocks):
            block.get_submodule(part.path).register_forward_hook(self._on_projection(projection, layer, part))

    def _on_projection(self, projection: Projection, layer: int, part: Part) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
            perturbation = self._current
            if perturbation is None or projection not in perturbation.projections:
                return None
            parts = list(output.chunk(part.of, dim=-1))
            factors = self.factors(projection, layer)
            parts[part.index] = perturbation.on_projection(projection, layer, inputs[0], parts[part.index], factors)
            return parts[0] if part.of == 1 else torch.cat(parts, dim=-1)

        return hook


def _weight(module: nn.Module, part: Part) -> Tensor:
    """Return the weight of a projection as [inputs, outputs]."""
    stored: Any = module.unpacked_weight() if isinstance(module, PackedLinear) else module.weight
    weight: Tensor = stored if isinstance(module, Conv1D) else stored.T
    return weight.chunk(part.of, dim=1)[part.index]


def _decomposed(weight: Tensor) -> SingularFactors:
    """Decompose a weight in double precision on the CPU, so that every device and precision has the same basis."""
    left, values, right = torch.linalg.svd(weight.detach().cpu().double(), full_matrices=False)
    device, dtype = weight.device, weight.dtype
    return SingularFactors(*(factor.to(device=device, dtype=dtype) for factor in (left, values, right)))
