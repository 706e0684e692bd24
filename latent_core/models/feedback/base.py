"""What a feedback head is, and how it is made from the tensors of a checkpoint."""

from collections.abc import Mapping
from typing import ClassVar, Self, TypeVar

from torch import Tensor, nn

from latent_core.registry import Registry

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the tensors of a checkpoint by name."""


class Feedback(nn.Module):
    """Maps last hidden states [rows, hidden size] to the next inputs [rows, hidden size], before any sampling.

    Attributes:
        kind: Its name.
        scaled: Whether it multiplies by `latent_embedding_std` of the configuration, which then has to be there.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised with the behaviour of a shipped head, so that what an older one has fed back is not taken for its own."""
    scaled: ClassVar[bool] = False

    @classmethod
    def prefixes(cls) -> tuple[str, ...]:
        """Return how the names of its tensors begin."""
        return ()

    @classmethod
    def wanted(cls, hidden_size: int, shapes: Shapes) -> Shapes:
        """Return the tensors that it needs, given those that are there.

        Raises:
            KeyError: If a tensor from which a width is read is missing.
        """
        return {}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], scale: float) -> Self:
        """Make it from its tensors.

        Args:
            tensors: Those whose names begin with one of the prefixes.
            scale: `latent_embedding_std` of the configuration; 1 for heads that are not scaled.
        """
        return cls()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the next inputs."""
        raise NotImplementedError


FEEDBACKS: Registry[type[Feedback]] = Registry("feedback", "latent_core.models.feedback")

F = TypeVar("F", bound=type[Feedback])


def register_feedback(cls: F) -> F:
    """Class decorator that makes a feedback head available under its `kind`."""
    FEEDBACKS.register(cls.kind, cls)
    return cls


def linear(tensors: Mapping[str, Tensor], name: str) -> nn.Linear:
    """Return a linear layer that holds `name.weight` and `name.bias`."""
    weight = tensors[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]}, assign=True)
    return layer


def layer_norm(tensors: Mapping[str, Tensor], name: str) -> nn.LayerNorm:
    """Return a layer normalisation that holds `name.weight` and `name.bias`."""
    weight = tensors[f"{name}.weight"]
    layer = nn.LayerNorm(weight.shape[0], device="meta")
    layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]}, assign=True)
    return layer


def layer_shapes(name: str, out_width: int, in_width: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a linear layer's tensors, or of a normalisation's where there is no width it reads."""
    weight = (out_width,) if in_width is None else (out_width, in_width)
    return {f"{name}.weight": weight, f"{name}.bias": (out_width,)}
