"""Attention of one new position per row, over a prompt that many rows share and over each row's own suffix.

One program computes a block of queries that share their keys: those of one question and one key-value head. It reads
the prompt's keys once for all of them, then each row's own, in one pass with a running softmax (FlashAttention, arXiv
2205.14135; the shared part is that of bifurcated attention, arXiv 2403.08845). Lengths are read from the device, so
that a captured graph serves suffixes of any length.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_QUERIES = 16
_KEYS = 32
_CHUNK = 4
_WARPS = 2
_SMALLEST_DOT = 16
_LOG2_E = 1.4426950408889634


@triton.jit
def _decode(
    query,
    prompt_key,
    prompt_value,
    prompt_lengths,
    key,
    value,
    suffix_length,
    out,
    scale,
    group,
    query_row,
    query_head,
    pk_question,
    pk_head,
    pk_position,
    pv_question,
    pv_head,
    pv_position,
    k_row,
    k_head,
    k_position,
    v_row,
    v_head,
    v_position,
    out_row,
    SHARE: tl.constexpr,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    CHUNK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    question, kv_head = tl.program_id(1).to(tl.int64), tl.program_id(0)
    place = tl.program_id(2) * QUERIES + tl.arange(0, QUERIES)
    valid = place < group * SHARE
    row = question * group + place // SHARE
    head = kv_head * SHARE + place % SHARE
    column = tl.arange(0, WIDTH)
    used = valid[:, None] & (column < SIZE)[None, :]
    q = tl.load(query + row[:, None] * query_row + head[:, None] * query_head + column[None, :], mask=used, other=0.0)

    largest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    mixed = tl.zeros([QUERIES, WIDTH], tl.float32)

    length = tl.load(prompt_lengths + question).to(tl.int32)
    prompt_key += question * pk_question + kv_head * pk_head
    prompt_value += question * pv_question + kv_head * pv_head
    for first in range(0, length, KEYS):
        position = first + tl.arange(0, KEYS)
        there = (position < length)[:, None] & (column < SIZE)[None, :]
        k = tl.load(prompt_key + position[:, None] * pk_position + column[None, :], mask=there, other=0.0)
        v = tl.load(prompt_value + position[:, None] * pv_position + column[None, :], mask=there, other=0.0)
        score = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        score = tl.where((position < length)[None, :], score, float("-inf"))
        larger = tl.maximum(largest, tl.max(score, 1))
        shrink, weight = tl.exp2(largest - larger), tl.exp2(score - larger[:, None])
        total = total * shrink + tl.sum(weight, 1)
        mixed = mixed * shrink[:, None] + tl.dot(weight.to(v.dtype), v, input_precision=PRECISION)
        largest = larger

    wide = q.to(tl.float32)[:, None, :]
    key += (row[:, None] * k_row + kv_head * k_head + column[None, :])[:, None, :]
    value += (row[:, None] * v_row + kv_head * v_head + column[None, :])[:, None, :]
    count = tl.load(suffix_length).to(tl.int32)
    # Several positions at once: one after the other, each would wait for its own way to memory.
    for first in range(0, count, CHUNK):
        position = first + tl.arange(0, CHUNK)
        there = used[:, None, :] & (position < count)[None, :, None]
        k = tl.load(key + position[None, :, None] * k_position, mask=there, other=0.0).to(tl.float32)
        v = tl.load(value + position[None, :, None] * v_position, mask=there, other=0.0).to(tl.float32)
        score = tl.where((position < count)[None, :], tl.sum(wide * k, 2) * scale, float("-inf"))
        larger = tl.maximum(largest, tl.max(score, 1))
        shrink, weight = tl.exp2(largest - larger), tl.exp2(score - larger[:, None])
        total = total * shrink + tl.sum(weight, 1)
        mixed = mixed * shrink[:, None] + tl.sum(weight[:, :, None] * v, 1)
        largest = larger

    mixed = mixed / total[:, None]
    tl.store(out + row[:, None] * out_row + head[:, None] * SIZE + column[None, :], mixed.to(q.dtype), mask=used)


def decode_attention(
    query: Tensor,
    prompt_keys: Tensor,
    prompt_values: Tensor,
    prompt_lengths: Tensor,
    key: Tensor,
    value: Tensor,
    suffix_length: Tensor,
    scale: float,
) -> Tensor:
    """Attend from one position per row.

    Args:
        query: [rows, heads, 1, head size].
        prompt_keys: [questions, key-value heads, P, head size]; each question's rows are neighbours, equally many.
        prompt_values: Same shape.
        prompt_lengths: Tokens of each prompt, from 1 to P, int64 [questions].
        key: The rows' own keys, [rows, key-value heads, at least the suffix's length, head size].
        value: Same shape.
        suffix_length: How many of them there are, an integer tensor of one element.
        scale: Factor on the scores.

    Returns:
        [rows, 1, heads, head size].
    """
    rows, heads, _, size = query.shape
    questions, kv_heads = prompt_keys.shape[:2]
    group, share = rows // questions, heads // kv_heads
    query, prompt_keys, prompt_values, key, value = (
        one if one.stride(-1) == 1 else one.contiguous() for one in (query, prompt_keys, prompt_values, key, value)
    )
    out = torch.empty(rows, 1, heads, size, dtype=query.dtype, device=query.device)
    strides = [
        *query.stride()[:2],
        *(stride for one in (prompt_keys, prompt_values, key, value) for stride in one.stride()[:3]),
    ]
    sizes: dict[str, Any] = {
        "SHARE": share,
        "SIZE": size,
        "WIDTH": max(_SMALLEST_DOT, triton.next_power_of_2(size)),
        "QUERIES": _QUERIES,
        "KEYS": _KEYS,
        "CHUNK": _CHUNK,
        # Otherwise single precision would be cut to the ten bits of TF32.
        "PRECISION": "ieee" if query.dtype == torch.float32 else "tf32",
    }
    grid = (kv_heads, questions, triton.cdiv(group * share, _QUERIES))
    _decode[grid](
        query,
        prompt_keys,
        prompt_values,
        prompt_lengths,
        key,
        value,
        suffix_length,
        out,
        scale * _LOG2_E,
        group,
        *strides,
        out.stride(0),
        **sizes,
        num_warps=_WARPS,
    )
    return out
