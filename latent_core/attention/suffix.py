"""Suffix KV cache, the rows' own keys and values, grown in place: appending a position copies that position only."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from latent_core.kernels import use_kernels

_SPARE = 8
"""Positions that a buffer gets beyond those it is made for. More would scatter the rows over more memory, fewer would
copy more often."""


@dataclass(eq=False)
class KVBuffer:
    """Keys and values of one layer, in buffers that several suffixes may look into.

    Attributes:
        keys: [rows, key-value heads, capacity, head size].
        values: The same shape.
        filled: Positions that some suffix has written. One that ends earlier must not write here: it would change what
            another one sees.
    """

    keys: Tensor
    values: Tensor
    filled: int

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write behind what is filled; returns everything up to there."""
        first, self.filled = self.filled, self.filled + keys.shape[2]
        self.keys[:, :, first : self.filled] = keys
        self.values[:, :, first : self.filled] = values
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]


def _with_capacity(source: Tensor, capacity: int) -> Tensor:
    rows, heads, length, size = source.shape
    buffer = source.new_empty(rows, heads, capacity, size)
    buffer[:, :, :length] = source
    return buffer


class SuffixLayer(DynamicLayer):
    """One layer of a suffix. Its keys and values are views of a buffer, or tensors of their own."""

    _buffer: KVBuffer | None = None

    @classmethod
    def within(cls, buffer: KVBuffer) -> Self:
        """Return a layer that sees what has been written into a buffer."""
        layer = cls()
        layer.dtype, layer.device, layer.is_initialized = buffer.keys.dtype, buffer.keys.device, True
        layer.keys, layer.values = buffer.keys[:, :, : buffer.filled], buffer.values[:, :, : buffer.filled]
        layer._buffer = buffer
        return layer

    @property
    def buffer(self) -> KVBuffer | None:
        """The buffer whose end is the end of this layer, so that it can grow there; None where there is none."""
        buffer = self._buffer
        return buffer if buffer is not None and self.keys is not None and buffer.filled == self.keys.shape[2] else None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append positions; other layers that look into the same buffer see no change.

        Args:
            key_states: [rows, key-value heads, new positions, head size].
            value_states: The same shape.
            *args: Unused, as in the library's own layers.
            **kwargs: Unused.

        Returns:
            All keys and values.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        assert self.keys is not None
        assert self.values is not None
        length, more = self.keys.shape[2], key_states.shape[2]
        if torch.is_grad_enabled() and (key_states.requires_grad or self.keys.requires_grad):
            # What a backward pass will read must not be written over.
            self._buffer = None
            self.keys = torch.cat([self.keys, key_states], dim=2)
            self.values = torch.cat([self.values, value_states], dim=2)
            return self.keys, self.values
        buffer = self.buffer
        if buffer is None or length + more > buffer.keys.shape[2]:
            capacity = length + more + _SPARE
            buffers = _with_capacity(self.keys, capacity), _with_capacity(self.values, capacity)
            buffer = self._buffer = KVBuffer(*buffers, length)
        self.keys, self.values = buffer.append(key_states, value_states)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        self._buffer = None
        super().batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        self._buffer = None
        super().batch_select_indices(indices)


class StaticSuffixLayer(SuffixLayer):
    """A layer that writes each new position to a place that the device knows, and returns its whole buffers."""

    def __init__(self, keys: Tensor, values: Tensor, place: Tensor) -> None:
        """Write into buffers [rows, key-value heads, capacity, head size], at a position that is an int64 [1]."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values, self._place = keys, values, place

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write one position of every row. See `SuffixLayer.update`."""
        assert self.keys is not None
        assert self.values is not None
        if use_kernels(self.keys.device):
            from latent_core.kernels.append import append

            append(self.keys, self.values, key_states, value_states, self._place)
            return self.keys, self.values
        self.keys.index_copy_(2, self._place, key_states)
        self.values.index_copy_(2, self._place, value_states)
        return self.keys, self.values


class SuffixCache(DynamicCache):
    """A cache for the positions behind shared prompts, made of `SuffixLayer`s."""

    def __init__(self) -> None:
        """Start without any position."""
        super().__init__()
        self.layer_class_to_replicate = SuffixLayer

    @classmethod
    def within(cls, buffers: Iterable[KVBuffer]) -> Self:
        """Return a suffix that sees what has been written into buffers, one per layer."""
        suffix = cls()
        suffix.layers = [SuffixLayer.within(buffer) for buffer in buffers]
        return suffix

    def copied(self) -> Self:
        """Return a cache that can grow without changing this one; nothing is copied until it has to be."""
        suffix = copy.copy(self)
        suffix.layers = [copy.copy(layer) for layer in self.layers]
        return suffix
