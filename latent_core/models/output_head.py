"""From hidden states to tokens: logits, and the most likely token."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from latent_core.models.invariant_layers import LayerRule, invariant_rows
from latent_core.models.packed_linear import PackedLinear, packable

_PIECE = 2048
"""Tokens per piece. On CPUs the product with all of GPT-2's 50,257 tokens at once takes a third longer, and its result
has to go to memory and back."""
_MULTIPLE = 64
"""On GPUs, matrices whose rows do not begin at multiples of 16 bytes are multiplied by kernels for older ones, at a
third of the speed; vocabularies with latent tokens added seldom fit."""


class OutputHead:
    """The output head of a model that is where it will stay.

    Attributes:
        rules: How its pieces are computed, once `settle` has been called.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Take the model's head; on a GPU its weight is moved to where there are rows of zeros behind it."""
        head: Any = model.get_output_embeddings()
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
        """Return next-token logits, [..., vocabulary], of last hidden states [..., hidden size]."""
        if self._pieces and not hidden.requires_grad:
            # The products that `most_likely` takes; what all tokens at once would need is another matter.
            rows = hidden.reshape(-1, hidden.shape[-1])
            return torch.cat([piece(rows) for piece in self._pieces], dim=-1).unflatten(0, hidden.shape[:-1])
        scores: Tensor = self._head(hidden) if self._padded is None else nn.functional.linear(hidden, self._padded)
        return scores[..., : self._head.weight.shape[0]]

    def most_likely(self, hidden: Tensor) -> Tensor:
        """Return the most likely next token, int64 [rows], of last hidden states [rows, hidden size]."""
        if hidden.device.type == "cpu" and type(self._head) is nn.Linear:
            return largest_output(self._pieces or pieces_of(self._head), hidden)
        return self.logits(hidden).argmax(dim=-1)

    def settle(self) -> None:
        """Cut the head into pieces that give a row the same bits whatever is beside it; on CPUs only.

        They may have a copy of the weight, laid out for speed. The weight itself stays: embeddings may share it.
        """
        if type(self._head) is not nn.Linear or self._head.weight.device.type != "cpu":
            return
        found: dict[LayerRule, None] = {}
        self._pieces = []
        for layer in layers_of(self._head, packed=True):
            rule, product = invariant_rows(layer)
            found[rule] = None
            self._pieces.append(product or layer)
        self.rules = list(found)


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
    best: Tensor | None = None
    index = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
    for number, piece in enumerate(pieces):
        largest, where = piece(hidden).max(dim=-1)
        if best is None:
            best, index = largest, where
            continue
        # What is not a number is larger than any number to `max` and to `argmax` alike.
        better = (largest > best) | (largest.isnan() & ~best.isnan())
        best = torch.where(better, largest, best)
        index = torch.where(better, where + number * _PIECE, index)
    return index
