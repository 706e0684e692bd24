"""The most likely token without all logits: the output head piece by piece, each still in the processor's cache."""

import torch
from torch import Tensor, nn

_PIECE = 2048
"""Tokens per piece. On CPUs the product with all of GPT-2's 50,257 tokens at once takes a third longer, and its result
has to go to memory and back."""


def largest_output(head: nn.Linear, hidden: Tensor) -> Tensor:
    """Return the index of the largest output of a linear layer, the first of equals.

    Args:
        head: The layer, [hidden size] to [outputs].
        hidden: What it reads, [rows, hidden size].

    Returns:
        int64 [rows].
    """
    biases = [None] * len(head.weight.split(_PIECE)) if head.bias is None else head.bias.split(_PIECE)
    best: Tensor | None = None
    index = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
    for number, (weight, bias) in enumerate(zip(head.weight.split(_PIECE), biases, strict=True)):
        largest, where = nn.functional.linear(hidden, weight, bias).max(dim=-1)
        if best is None:
            best, index = largest, where
            continue
        # What is not a number is larger than any number to `max` and to `argmax` alike.
        better = (largest > best) | (largest.isnan() & ~best.isnan())
        best = torch.where(better, largest, best)
        index = torch.where(better, where + number * _PIECE, index)
    return index
