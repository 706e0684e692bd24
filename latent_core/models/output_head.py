"""From hidden states to tokens: logits, and the most likely token."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from latent_core.models.invariant_layers import LayerRule, invariant_rows
from latent_core.models.packed_linear import PackedLinear, packable
from latent_core.models.token_confidence import TokenConfidence, exponential_sums

_PIECE = 2048
"""Tokens per piece. On CPUs the product with all of GPT-2's 50,257 tokens at once takes a third longer, and its result
has to go to memory and back."""
_MULTIPLE = 64
"""On GPUs, matrices whose rows do not begin at multiples of 16 bytes are multiplied by kernels for older ones, at a
third of the speed; vocabularies with latent tokens added seldom fit."""


class OutputHead:
    """The output head of a model that is where it will stay, and what the model does to logits behind it.

    Granite divides logits, Cohere multiplies them, Gemma caps them, MiniCPM scales what the head reads. Where a model
    does such a thing its own class computes the logits; where it does not, the head alone is as good, and faster.

    Attributes:
        rules: How its pieces are computed, once `settle` has been called.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Take the model's head; on a GPU its weight is moved to where there are rows of zeros behind it."""
        head: Any = model.get_output_embeddings()
        self._own, self._keeps_order = _logits_of_class(model, head)
        self._head = head
        self._padded: Tensor | None = None
        self._pieces: list[Piece] = []
        self.rules: list[LayerRule] = []
        if type(head) is nn.Linear and head.weight.is_cuda and head.bias is None and len(head.weight) % _MULTIPLE:
            tokens, width = head.weight.shape
            padded = head.weight.detach().new_zeros(-(-tokens // _MULTIPLE) * _MULTIPLE, width)
            padded[:tokens] = head.weight.detach()
            # The same parameter as before, so that embeddings that share it go on sharing it.
            head.weight.data = padded[:tokens]
            self._padded = padded

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the model's own next-token logits, [..., vocabulary], of last hidden states [..., hidden size]."""
        return self._head_alone(hidden) if self._own is None else self._own(hidden)

    def _head_alone(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self._head(hidden) if self._padded is None else nn.functional.linear(hidden, self._padded)
        return scores[..., : self._head.weight.shape[0]]

    def most_likely(self, hidden: Tensor) -> Tensor:
        """Return the most likely next token, int64 [rows], of last hidden states [rows, hidden size]."""
        if hidden.device.type == "cpu" and type(self._head) is nn.Linear and self._keeps_order:
            return largest_output(self._pieces or pieces_of(self._head), hidden)
        return _first_largest(self._head_alone(hidden) if self._keeps_order else self.logits(hidden))

    def most_likely_with_confidence(self, hidden: Tensor) -> tuple[Tensor, TokenConfidence]:
        """Return what `most_likely` does, and how sure the model's own logits are of it."""
        if hidden.device.type == "cpu" and type(self._head) is nn.Linear and self._own is None:
            return largest_output_with_confidence(self._pieces or pieces_of(self._head), hidden)
        logits = self.logits(hidden)
        # What a class does to logits may make two of them equal that the head tells apart.
        by_head = self._own is not None and self._keeps_order
        tokens = self.most_likely(hidden) if by_head else _first_largest(logits)
        return tokens, TokenConfidence.of_logits(logits, tokens)

    def settle(self, *, packed: bool = True) -> None:
        """Cut the head into pieces that give a row the same bits whatever is beside it; on CPUs only.

        They may have a copy of the weight, laid out for speed. The weight itself stays: embeddings may share it.

        Args:
            packed: Whether a layout may be taken in which gradients do not reach what the head reads.
        """
        if type(self._head) is not nn.Linear or self._head.weight.device.type != "cpu":
            return
        found: dict[LayerRule, None] = {}
        self._pieces = []
        for layer in layers_of(self._head, packed=packed):
            rule, product = invariant_rows(layer, live=not packed)
            found[rule] = None
            self._pieces.append(product or layer)
        self.rules = list(found)
        # Of the instance: the class whose logits are asked for calls it too.
        setattr(self._head, "forward", self._in_pieces)  # noqa: B010

    def _in_pieces(self, hidden: Tensor) -> Tensor:
        """Return the outputs of all pieces, [..., vocabulary], of inputs [..., hidden size]."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        outputs = torch.cat([piece(rows) for piece in self._pieces], dim=-1)
        logits: Tensor = outputs.unflatten(0, hidden.shape[:-1])
        return logits


class _Output(BaseModelOutputWithPast):
    """What a backbone returns, with nothing in all places that some classes look at."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _Given(nn.Module):
    """Stands for a backbone whose last hidden states are known."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        # In a tuple, so that it is no part of this module.
        self._base = (base,)
        self.hidden: Tensor | None = None
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Some classes keep factors there that they need behind the head.
            return getattr(self._base[0], name)

    def forward(self, *_args: Any, **_kwargs: Any) -> _Output:
        self.calls += 1
        return _Output(last_hidden_state=self.hidden)


class _ClassLogits:
    """What a causal language model's own `forward` makes of last hidden states."""

    def __init__(self, model: PreTrainedModel) -> None:
        # A copy that shares everything but the backbone.
        self._model: Any = copy.copy(model)
        self._model._modules = dict(model._modules)
        self.given = _Given(model.base_model)
        self._model._modules[model.base_model_prefix] = self.given

    def __call__(self, hidden: Tensor) -> Tensor:
        self.given.hidden = rows = hidden.reshape(1, -1, hidden.shape[-1])
        try:
            logits: Tensor = self._model(inputs_embeds=rows, use_cache=False).logits
        finally:
            self.given.hidden = None
        return logits.reshape(*hidden.shape[:-1], -1)


def _logits_of_class(model: PreTrainedModel, head: Any) -> tuple[_ClassLogits | None, bool]:
    """Find out whether a model's logits are those of its head.

    Returns:
        What computes them where they are not, else None; and whether the largest one is the head's largest one.
    """
    if model.base_model_prefix not in model._modules:
        return None, True
    own = _ClassLogits(model)
    weight: Tensor = head.weight
    generator = torch.Generator().manual_seed(0)
    # From small to large: caps show at large ones only, sums at small ones.
    sizes = torch.tensor([[0.1], [1.0], [10.0], [100.0]])
    hidden = sizes * torch.randn(len(sizes), weight.shape[-1], generator=generator)
    hidden = hidden.to(device=weight.device, dtype=weight.dtype)
    with torch.inference_mode():
        theirs, plain = own(hidden), head(hidden[None])[0]
        # The same product of the same numbers: the least that a class does to it shows.
        if not own.given.calls or torch.equal(theirs, plain.to(theirs.dtype)):
            return None, True
        if theirs.shape != plain.shape:
            return own, False
        in_order = theirs.gather(-1, plain.argsort(dim=-1)).diff(dim=-1) >= 0
    return own, bool(in_order.all())


def _first_largest(logits: Tensor) -> Tensor:
    """Return the place of the largest logit of each row, the first of equals: int64 [rows] of [rows, vocabulary]."""
    # On a CPU `argmax` takes two to five times as long (`findings/argmax-slower-than-max.sh`).
    return logits.max(dim=-1).indices if logits.device.type == "cpu" else logits.argmax(dim=-1)


Piece = Callable[[Tensor], Tensor]
"""Takes inputs, [rows, in_features], to some successive outputs of a layer, [rows, outputs]."""


def layers_of(head: nn.Linear, *, packed: bool = False) -> list[nn.Linear | PackedLinear]:
    """Cut a linear layer into layers of few outputs each."""
    weights = head.weight.detach().split(_PIECE)
    biases = [None] * len(weights) if head.bias is None else head.bias.detach().split(_PIECE)
    return [
        PackedLinear(weight, bias) if packed and packable(weight) else _linear(weight, bias)
        for weight, bias in zip(weights, biases, strict=True)
    ]


def pieces_of(head: nn.Linear, *, packed: bool = False) -> list[Piece]:
    """Cut a linear layer into products of few outputs each."""
    return [*layers_of(head, packed=packed)]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer that shares a weight, [out_features, in_features]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)  # type: ignore[assignment]
    return layer


def largest_output(pieces: Sequence[Piece], hidden: Tensor) -> Tensor:
    """Return the index of the largest output of a layer in pieces, the first of equals.

    Args:
        pieces: The layer, see `pieces_of`.
        hidden: What it reads, [rows, in_features].

    Returns:
        int64 [rows].
    """
    return _largest_output(pieces, hidden, lambda _outputs, _largest: None)[1]


def largest_output_with_confidence(pieces: Sequence[Piece], hidden: Tensor) -> tuple[Tensor, TokenConfidence]:
    """Return what `largest_output` does, and the confidence of the distribution whose logits are the outputs."""
    largest: list[Tensor] = []
    sums: list[Tensor] = []

    def add(outputs: Tensor, highest: Tensor) -> None:
        largest.append(highest)
        sums.append(exponential_sums(outputs, highest))

    best, index = _largest_output(pieces, hidden, add)
    return index, TokenConfidence.of_pieces(largest, sums, best)


def _largest_output(
    pieces: Sequence[Piece], hidden: Tensor, look_at: Callable[[Tensor, Tensor], None]
) -> tuple[Tensor, Tensor]:
    """Return the largest output and its index, [rows] each; `look_at` sees each piece's outputs and their largest."""
    best, index = None, torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
    for number, piece in enumerate(pieces):
        outputs = piece(hidden)
        largest, where = outputs.max(dim=-1)
        look_at(outputs, largest)
        if best is None:
            best, index = largest, where
            continue
        # What is not a number is larger than any number to `max` and to `argmax` alike.
        better = (largest > best) | (largest.isnan() & ~best.isnan())
        best = torch.where(better, largest, best)
        index = torch.where(better, where + number * _PIECE, index)
    assert best is not None
    return best, index
