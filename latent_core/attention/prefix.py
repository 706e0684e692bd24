"""Shared prefix (prompt KV): keys and values of prompts that many rows share, stored once per question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import Cache


@dataclass(frozen=True)
class PrefixPart:
    """Keys and values of some prompts, right-padded to the same length.

    Attributes:
        keys: One tensor per layer, [questions, key-value heads, P, head size].
        values: Same shapes as the keys.
        lengths: Tokens of each prompt, int64 [questions].
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def padded_length(self) -> int:
        """P, the length in tokens that its prompts are padded to."""
        return int(self.keys[0].shape[2])

    @cached_property
    def padding(self) -> Tensor:
        """Which positions hold no token, bool [questions, P]."""
        return torch.arange(self.padded_length, device=self.lengths.device) >= self.lengths[:, None]

    def take(self, questions: Sequence[int]) -> Self:
        """Return some of the prompts, in the given order."""
        if list(questions) == list(range(len(self))):
            return self
        index = torch.tensor(questions, device=self.lengths.device)
        return type(self)(
            tuple(keys[index] for keys in self.keys),
            tuple(values[index] for values in self.values),
            self.lengths[index],
        )


@dataclass(frozen=True)
class SharedPrefix:
    """B prompts, each shared by `group` consecutive rows.

    Prompts of different padded lengths are parts of their own: sums over another padding would be rounded in another
    way, so a trajectory would depend on its neighbours' prompts.

    Attributes:
        parts: The prompts, in the order of the rows.
        group: Rows per prompt.
    """

    parts: tuple[PrefixPart, ...]
    group: int = 1

    @classmethod
    def from_cache(cls, cache: Cache, lengths: Tensor) -> Self:
        """Take over what a forward pass over prompts of one padded length has left in its cache."""
        layers: list[Any] = cache.layers
        part = PrefixPart(tuple(layer.keys for layer in layers), tuple(layer.values for layer in layers), lengths)
        return cls((part,))

    @classmethod
    def joined(cls, prefixes: Sequence[Self]) -> Self:
        """Return the prompts of several prefixes, one row each."""
        return cls(tuple(part for prefix in prefixes for part in prefix.parts))

    @cached_property
    def lengths(self) -> Tensor:
        """Tokens of each prompt, int64 [B]."""
        return torch.cat([part.lengths for part in self.parts])

    @property
    def padded_length(self) -> int:
        """The longest padded length of its prompts, in tokens."""
        return max(part.padded_length for part in self.parts)

    @cached_property
    def row_lengths(self) -> Tensor:
        """The prompt length of each row, int64 [B * group]."""
        return self.lengths.repeat_interleave(self.group)

    def rows_by_part(self) -> Iterator[tuple[PrefixPart, slice]]:
        """Go through the parts and the rows that share their prompts."""
        first = 0
        for part in self.parts:
            last = first + len(part) * self.group
            yield part, slice(first, last)
            first = last

    def regroup(self, group: int) -> Self:
        """Return the same prompts shared by another number of rows."""
        return type(self)(self.parts, group)

    def take(self, questions: Tensor, group: int) -> Self:
        """Return the prompts of the given questions (int64 [n]), each shared by `group` rows.

        Nothing is copied where a part stays whole.
        """
        places = [(part, question) for part in self.parts for question in range(len(part))]
        chosen = [places[question] for question in questions.tolist()]
        runs = (list(run) for _, run in groupby(chosen, key=lambda place: id(place[0])))
        return type(self)(tuple(run[0][0].take([question for _, question in run]) for run in runs), group)
