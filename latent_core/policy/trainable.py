"""What is trained of a reasoner: all weights of its blocks, their value projections, or low-rank updates (LoRA).

Embeddings and output head stay as they are, and so do feedback heads and gates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers.pytorch_utils import Conv1D

from latent_core.errors import UserError
from latent_core.models.backbones.base import Part
from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.checks import check_reasoner
from latent_core.policy.settings import PolicySettings
from latent_core.samplers.base import Projection

_LORA_STD = 0.02


class LowRank(nn.Module):
    """A weight plus B A alpha / r (Hu et al. 2021, arXiv 2106.09685); B begins as zeros."""

    def __init__(self, layer: nn.Module, rank: int, alpha: float, generator: torch.Generator) -> None:
        """Begin with an update of nothing.

        Args:
            layer: A linear layer.
            rank: r.
            alpha: Numerator of the factor.
            generator: Source of A.
        """
        super().__init__()
        weight = _weight_of(layer)
        self._transposed = isinstance(layer, Conv1D)
        outputs, inputs = weight.shape[::-1] if self._transposed else weight.shape
        drawn = torch.randn(rank, inputs, generator=generator) * _LORA_STD
        self.first = nn.Parameter(drawn.to(device=weight.device, dtype=weight.dtype))
        self.second = nn.Parameter(weight.new_zeros(outputs, rank))
        self._factor, self.enabled = alpha / rank, True

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its update, in the layer's own layout."""
        if not self.enabled:
            return weight
        update = self.second @ self.first * self._factor
        return weight + (update.T if self._transposed else update)


class TrainableWeights:
    """The weights of a reasoner that are trained, and how they reach the model.

    Attributes:
        parameters: What an optimizer changes, by name: the model's own parameters, or copies in single precision where
            these have less, because small steps would be lost in them.
    """

    def __init__(self, reasoner: LatentReasoner, settings: PolicySettings, seed: int) -> None:
        """Choose the weights, and let gradients reach them.

        Args:
            reasoner: One that can be trained; under LoRA its layers get updates.
            settings: Which weights.
            seed: Seed of the first factors of LoRA.

        Raises:
            UserError: If the reasoner's weights can be neither trained nor replaced, or its value projections are not
                known.
        """
        check_reasoner(reasoner)
        self._reasoner = reasoner
        self._low_rank: dict[str, LowRank] = {}
        self._masks: dict[str, Tensor] = {}
        chosen = getattr(self, f"_{settings.trainable}")(settings, torch.Generator().manual_seed(seed))
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        self._own: dict[str, nn.Parameter] = chosen
        self.parameters = {name: _master(one) for name, one in chosen.items()}
        kept = {} if self._low_rank else {name: one.detach().clone() for name, one in chosen.items()}
        self._start: dict[str, Tensor] = kept

    @property
    def names(self) -> list[str]:
        """Names in the model of the tensors that training changes."""
        return [f"{path}.weight" for path in self._low_rank] or [*self._own]

    def gradients_of(self, loss: Tensor) -> dict[str, Tensor]:
        """Return the gradient of a scalar by every weight; zeros where it does not depend on one."""
        found = torch.autograd.grad(loss, list(self._own.values()), allow_unused=True)
        result = {}
        for (name, parameter), gradient in zip(self._own.items(), found, strict=True):
            one = torch.zeros_like(parameter) if gradient is None else gradient
            one = one.to(self.parameters[name].dtype)
            result[name] = one * self._masks[name] if name in self._masks else one
        return result

    @torch.no_grad()
    def publish(self) -> None:
        """Let the model compute with the parameters as they are now."""
        for name, master in self.parameters.items():
            if master is not self._own[name]:
                self._own[name].copy_(master)
        self._reasoner.modules.forget_factors()

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the model's tensors that training changes, by their names in the model, updates merged."""
        if not self._low_rank:
            return {name: parameter.detach().clone() for name, parameter in self._own.items()}
        modules = dict(self._reasoner.model.named_modules())
        return {f"{path}.weight": _weight_of(modules[path]).detach().clone() for path in self._low_rank}

    @contextmanager
    def at_start(self) -> Iterator[None]:
        """Let the model compute with the weights that training began with."""
        now = {name: self._own[name].detach().clone() for name in self._start}
        self._put(self._start, enabled=False)
        try:
            yield
        finally:
            self._put(now, enabled=True)

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor], *, enabled: bool) -> None:
        for name, tensor in tensors.items():
            self._own[name].copy_(tensor)
        for update in self._low_rank.values():
            update.enabled = enabled
        self._reasoner.modules.forget_factors()

    def _all(self, _settings: PolicySettings, _generator: torch.Generator) -> dict[str, nn.Parameter]:
        frozen = {id(one) for one in _embeddings(self._reasoner)}
        named = self._reasoner.model.named_parameters()
        return {name: parameter for name, parameter in named if id(parameter) not in frozen}

    def _value_projections(self, _settings: PolicySettings, _generator: torch.Generator) -> dict[str, nn.Parameter]:
        backbone, source = self._reasoner.modules.backbone, self._reasoner.checkpoint.source
        if Projection.ATTENTION_VALUE not in backbone.projections:
            raise UserError(
                f"trainable value_projections: the blocks of {source} are laid out like those of no known backbone; "
                "use all or lora, or describe the layout in a new file in latent_core/models/backbones"
            )
        part = backbone.projections[Projection.ATTENTION_VALUE]
        found: dict[str, nn.Parameter] = {}
        for path, layer in _linear_layers(self._reasoner):
            if path.endswith(f".{part.path}"):
                name = f"{path}.weight"
                found[name] = _parameter(layer)
                if part.of > 1:
                    self._masks[name] = _mask(layer, part)
        return found

    def _lora(self, settings: PolicySettings, generator: torch.Generator) -> dict[str, nn.Parameter]:
        found: dict[str, nn.Parameter] = {}
        for path, layer in _linear_layers(self._reasoner):
            update = LowRank(layer, settings.lora_rank, settings.lora_alpha, generator)
            parametrize.register_parametrization(layer, "weight", update)
            self._low_rank[path] = update
            found[f"{path}.lora_A"], found[f"{path}.lora_B"] = update.first, update.second
        return found


@torch.no_grad()
def load_weights(reasoner: LatentReasoner, weights: Mapping[str, Tensor]) -> None:
    """Replace weights of a reasoner that can be trained, by what `PolicyLearner.weights` has returned.

    Raises:
        UserError: If its weights cannot be replaced.
        KeyError: If it has no such weight.
    """
    check_reasoner(reasoner)
    own = dict(reasoner.model.named_parameters())
    for name, tensor in weights.items():
        own[name].copy_(tensor)
    reasoner.modules.forget_factors()


def _embeddings(reasoner: LatentReasoner) -> Iterator[nn.Parameter]:
    for module in reasoner.model.modules():
        if isinstance(module, nn.Embedding):
            yield from module.parameters()
    head = reasoner.model.get_output_embeddings()
    if head is not None:
        yield from head.parameters()


def _linear_layers(reasoner: LatentReasoner) -> Iterator[tuple[str, nn.Module]]:
    """Go through the linear layers of the blocks, by their names in the model."""
    head = reasoner.model.get_output_embeddings()
    for path, module in list(reasoner.model.named_modules()):
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            yield path, module


def _parameter(layer: nn.Module) -> nn.Parameter:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def _weight_of(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _mask(layer: nn.Module, part: Part) -> Tensor:
    """Return 1 where the weight of a fused layer is that of a part, else 0."""
    weight = _weight_of(layer)
    mask = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
    mask.chunk(part.of, dim=1 if isinstance(layer, Conv1D) else 0)[part.index].fill_(1.0)
    return mask


def _master(parameter: nn.Parameter) -> nn.Parameter:
    exact = torch.promote_types(parameter.dtype, torch.float32)
    return parameter if parameter.dtype == exact else nn.Parameter(parameter.detach().to(exact).clone())
