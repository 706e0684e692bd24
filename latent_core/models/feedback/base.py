"""What a feedback head is, and how it is made from the tensors of a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

from torch import Tensor, nn

from latent_core.errors import UserError
from latent_core.mixtures import MixtureSettings
from latent_core.randomness import Streams
from latent_core.registry import Registry
from latent_core.samplers.base import Sampler

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the tensors of a checkpoint by name."""


@dataclass(frozen=True)
class Moment:
    """What a head can look at when it makes the next input of a batch of rows.

    Attributes:
        hidden: Last hidden states, [rows, hidden size].
        logits: Returns their next-token logits, [rows, vocabulary].
        embed: Returns input embeddings, [..., hidden size], of ids [...].
        sampler: What may draw.
        streams: The random streams of the rows.
        step: The step of the next input, from 1 on.
        stop_id: Token that ends thinking.
        calm: Steps in a row on which each row has been sure, int64 [rows].
    """

    hidden: Tensor
    logits: Callable[[], Tensor]
    embed: Callable[[Tensor], Tensor]
    sampler: Sampler
    streams: Streams
    step: int
    stop_id: int
    calm: Tensor


@dataclass(frozen=True)
class Thought:
    """What rows would think next, and whether they end thinking instead.

    Attributes:
        latents: The next inputs, [rows, hidden size].
        stops: Which rows end thinking, bool [rows]; None where the head does not decide it.
        token_ids: The token that stands for each latent, int64 [rows]; None where none does.
        calm: `Moment.calm` with this step; None where it does not change.
    """

    latents: Tensor
    stops: Tensor | None = None
    token_ids: Tensor | None = None
    calm: Tensor | None = None

    def take(self, rows: Tensor) -> "Thought":
        """Return the thoughts of some rows, int64 [n]."""
        others = (None if one is None else one[rows] for one in (self.stops, self.token_ids, self.calm))
        return Thought(self.latents[rows], *others)


class Feedback(nn.Module):
    """Maps last hidden states [rows, hidden size] to the next inputs [rows, hidden size], before any sampling.

    Attributes:
        kind: Its name.
        scaled: Whether it multiplies by `latent_embedding_std` of the configuration, which then has to be there.
        reads_logits: Whether it needs the next-token logits at every step, for what that costs.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised with the behaviour of a shipped head, so that what an older one has fed back is not taken for its own."""
    scaled: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False

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

    def configured(self, mixture: MixtureSettings | None) -> Self:
        """Return it as the conventions of a checkpoint want it."""
        return self

    def think(self, moment: Moment) -> Thought:
        """Return what the rows think next; samplers that perturb any latent come behind it."""
        return Thought(self(moment.hidden))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the next inputs, without what samplers draw."""
        raise NotImplementedError


def check_draws(source: str, kind: str, sampler: Sampler) -> None:
    """Refuse a sampler that draws from what a feedback head does not have: all its samples would be the same.

    Raises:
        UserError: If it needs another head.
    """
    if sampler.feedbacks and kind not in sampler.feedbacks:
        raise UserError(
            f"sampler {sampler.describe()!r}: it draws from the {' or '.join(sampler.feedbacks)} feedback, but "
            f"{source} feeds back by {kind}; use another sampler, such as gaussian"
        )


FEEDBACKS: Registry[type[Feedback]] = Registry("feedback", "latent_core.models.feedback", group="feedback")

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
