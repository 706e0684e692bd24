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
        movable: Whether its owner bears that the buffers are exchanged for larger ones.
    """

    keys: Tensor
    values: Tensor
    filled: int
    movable: bool = True

    @property
    def capacity(self) -> int:
        """Positions that there is room for."""
        return int(self.keys.shape[2])

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Write behind what is filled."""
        first, self.filled = self.filled, self.filled + keys.shape[2]
        self.keys[:, :, first : self.filled] = keys
        self.values[:, :, first : self.filled] = values

    def part(self, length: int, capacity: int) -> "KVBuffer":
        """Return a buffer of its own that has the first positions and more room."""
        keys, values = self.keys[:, :, :length], self.values[:, :, :length]
        return KVBuffer(_with_capacity(keys, capacity), _with_capacity(values, capacity), length)

    def grow(self, capacity: int) -> None:
        """Make room; whoever looks into it sees what was there before.

        Older states look at the larger buffers from now on: what they alone would hold is a second copy of everything.
        """
        self.keys = _with_capacity(self.keys[:, :, : self.filled], capacity)
        self.values = _with_capacity(self.values[:, :, : self.filled], capacity)


def _with_capacity(source: Tensor, capacity: int) -> Tensor:
    rows, heads, length, size = source.shape
    buffer = source.new_empty(rows, heads, capacity, size)
    buffer[:, :, :length] = source
    return buffer


def _whole(keys: Tensor, values: Tensor) -> KVBuffer:
    """Return a buffer that is full; one that a backward pass will read stays what it is."""
    return KVBuffer(keys, values, keys.shape[2], movable=not (keys.requires_grad or values.requires_grad))


class SuffixLayer(DynamicLayer):
    """One layer of a suffix: the first positions of a buffer, as many as it has seen."""

    _buffer: KVBuffer | None = None
    _length = 0

    @classmethod
    def within(cls, buffer: KVBuffer) -> Self:
        """Return a layer that sees what has been written into a buffer."""
        layer = cls()
        layer.dtype, layer.device, layer.is_initialized = buffer.keys.dtype, buffer.keys.device, True
        layer._look_at(buffer)
        return layer

    def _look_at(self, buffer: KVBuffer) -> None:
        self._buffer, self._length = buffer, buffer.filled

    @property
    def keys(self) -> Tensor | None:
        """The keys, [rows, key-value heads, positions, head size]; None before the first position."""
        return None if self._buffer is None else self._buffer.keys[:, :, : self._length]

    @keys.setter
    def keys(self, keys: Tensor | None) -> None:
        assert keys is None, "a suffix grows by `update`"
        self._buffer, self._length = None, 0

    @property
    def values(self) -> Tensor | None:
        """The values, in the shape of the keys."""
        return None if self._buffer is None else self._buffer.values[:, :, : self._length]

    @values.setter
    def values(self, values: Tensor | None) -> None:
        assert values is None, "a suffix grows by `update`"
        self._buffer, self._length = None, 0

    @property
    def buffer(self) -> KVBuffer | None:
        """The buffer whose end is the end of this layer, so that it can grow there; None where there is none."""
        return self._buffer if self._buffer is not None and self._buffer.filled == self._length else None

    def get_seq_length(self) -> int:
        """Return the number of positions."""
        return self._length

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
        self._extend(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def _extend(self, keys: Tensor, values: Tensor) -> None:
        if self._buffer is None:
            self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
            self._look_at(_whole(keys, values))
            return
        assert self.keys is not None
        assert self.values is not None
        length = self._length + keys.shape[2]
        if torch.is_grad_enabled() and any(one.requires_grad for one in (keys, values, self.keys, self.values)):
            # What a backward pass will read must not be written over.
            self._look_at(_whole(torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)))
            return
        buffer = self.buffer
        if buffer is None or (length > buffer.capacity and not buffer.movable):
            buffer = self._buffer.part(self._length, length + _SPARE)
        elif length > buffer.capacity:
            buffer.grow(length + _SPARE)
        buffer.append(keys, values)
        self._look_at(buffer)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        if self.keys is not None and self.values is not None:
            keys, values = (one.repeat_interleave(repeats, dim=0) for one in (self.keys, self.values))
            self._look_at(_whole(keys, values))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        if self.keys is not None and self.values is not None:
            self._look_at(_whole(self.keys[indices, ...], self.values[indices, ...]))


class StaticSuffixLayer(SuffixLayer):
    """A layer that writes each new position to a place that the device knows, and returns its whole buffers."""

    def __init__(self, keys: Tensor, values: Tensor, place: Tensor) -> None:
        """Write into buffers [rows, key-value heads, capacity, head size], at a position that is an int64 [1]."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._look_at(KVBuffer(keys, values, keys.shape[2], movable=False))
        self._place = place

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
