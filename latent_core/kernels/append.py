"""One position of every row written behind its suffix, keys and values at once."""

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


@triton.jit
def _append(
    keys,
    values,
    new_keys,
    new_values,
    place,
    count,
    keys_row,
    keys_head,
    keys_position,
    new_row,
    new_head,
    HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    element = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    used = element < count
    row, head, column = element // (HEADS * SIZE), element // SIZE % HEADS, element % SIZE
    source = row * new_row + head * new_head + column
    target = row * keys_row + head * keys_head + tl.load(place) * keys_position + column
    tl.store(keys + target, tl.load(new_keys + source, mask=used), mask=used)
    tl.store(values + target, tl.load(new_values + source, mask=used), mask=used)


def append(keys: Tensor, values: Tensor, new_keys: Tensor, new_values: Tensor, place: Tensor) -> None:
    """Write one position of every row into buffers.

    Args:
        keys: [rows, key-value heads, capacity, head size], contiguous.
        values: Same shape and layout.
        new_keys: [rows, key-value heads, 1, head size].
        new_values: Same shape.
        place: The position, an integer tensor of one element.
    """
    rows, heads, _, size = new_keys.shape
    if new_keys.stride() != new_values.stride() or new_keys.stride(-1) != 1:
        new_keys, new_values = new_keys.contiguous(), new_values.contiguous()
    count = rows * heads * size
    _append[(triton.cdiv(count, _BLOCK),)](
        keys,
        values,
        new_keys,
        new_values,
        place,
        count,
        *keys.stride()[:3],
        *new_keys.stride()[:2],
        HEADS=heads,
        SIZE=size,
        BLOCK=_BLOCK,
    )
