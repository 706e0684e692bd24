"""The draws of `latent_core.randomness` in one kernel each: the same bits, without intermediate tensors."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 128
"""Counters per program; each of them yields four words."""


@triton.jit
def _drawn(key, sample, rollout, place, place_stride, row, counter):
    """Return four words of 32 bits for each counter of a row."""
    zero = counter * 0
    return tl.philox_impl(
        counter.to(tl.uint32),
        (tl.load(sample + row) + zero).to(tl.uint32),
        (tl.load(rollout + row) + zero).to(tl.uint32),
        (tl.load(place + row * place_stride) + zero).to(tl.uint32),
        (tl.load(key + 2 * row) + zero).to(tl.uint32),
        (tl.load(key + 2 * row + 1) + zero).to(tl.uint32),
        10,
    )


@triton.jit
def _words(key, sample, rollout, place, place_stride, out, count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    counter = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    w0, w1, w2, w3 = _drawn(key, sample, rollout, place, place_stride, row, counter)
    first = 4 * counter
    out += row * count
    tl.store(out + first, w0.to(tl.int64), mask=first < count)
    tl.store(out + first + 1, w1.to(tl.int64), mask=first + 1 < count)
    tl.store(out + first + 2, w2.to(tl.int64), mask=first + 2 < count)
    tl.store(out + first + 3, w3.to(tl.int64), mask=first + 3 < count)


@triton.jit
def _store_halves(out, first, word, count, threshold, scale):
    """Store what the two 16-bit halves of each word say: the lower one first."""
    low, high = word & 0xFFFF, word >> 16
    tl.store(out + first, tl.where(low >= threshold, scale, 0.0), mask=first < count)
    tl.store(out + first + 1, tl.where(high >= threshold, scale, 0.0), mask=first + 1 < count)


@triton.jit
def _keep_mask(key, sample, rollout, place, place_stride, out, count, threshold, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    counter = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    w0, w1, w2, w3 = _drawn(key, sample, rollout, place, place_stride, row, counter)
    first = 8 * counter
    out += row * count
    _store_halves(out, first, w0, count, threshold, scale)
    _store_halves(out, first + 2, w1, count, threshold, scale)
    _store_halves(out, first + 4, w2, count, threshold, scale)
    _store_halves(out, first + 6, w3, count, threshold, scale)


def words(key: Tensor, sample: Tensor, rollout: Tensor, place: Tensor, count: int) -> Tensor:
    """Draw uniform 32-bit words.

    Args:
        key: Key words, int64 [rows, 2].
        sample: Second word of the counter, int64 [rows].
        rollout: Third word, int64 [rows].
        place: Fourth word, int64 [rows] or [1].
        count: How many words per row.

    Returns:
        int64 [rows, count], each element in [0, 2**32).
    """
    out = torch.empty(len(sample), count, dtype=torch.int64, device=sample.device)
    if out.numel():
        grid = (len(sample), triton.cdiv(count, 4 * _BLOCK))
        addresses = key.contiguous(), sample.contiguous(), rollout.contiguous(), place.contiguous()
        _words[grid](*addresses, int(len(place) > 1), out, count, BLOCK=_BLOCK)
    return out


def keep_mask(
    key: Tensor, sample: Tensor, rollout: Tensor, place: Tensor, count: int, threshold: int, scale: float
) -> Tensor:
    """Draw masks from the 16-bit halves of words.

    Args:
        key: As for `words`.
        sample: As for `words`.
        rollout: As for `words`.
        place: As for `words`.
        count: How many elements per row.
        threshold: The least half that keeps an element.
        scale: What a kept element is multiplied by.

    Returns:
        float32 [rows, count]: `scale` or 0.
    """
    out = torch.empty(len(sample), count, dtype=torch.float32, device=sample.device)
    if out.numel():
        grid = (len(sample), triton.cdiv(count, 8 * _BLOCK))
        addresses = key.contiguous(), sample.contiguous(), rollout.contiguous(), place.contiguous()
        _keep_mask[grid](*addresses, int(len(place) > 1), out, count, threshold, scale, BLOCK=_BLOCK)
    return out
