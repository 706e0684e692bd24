"""Attention over a prompt that many rows share and a short suffix that each row owns.

The prompt's keys and values are stored once per question. The scores of a query over the shared prompt and over its
own suffix are concatenated before one softmax ("bifurcated attention", arXiv 2403.08845), so the result is that of
ordinary attention while no prompt entry is ever copied per row.

The function is registered with transformers' attention interface; a model loaded with
`attn_implementation=SHARED_PREFIX_ATTENTION` carries the extra keyword arguments of its forward call down to it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from latent_core.attention.flash import flash_rule, own_attention
from latent_core.attention.prefix import PrefixPart, SharedPrefix
from latent_core.kernels import use_kernels
from latent_core.row_invariance import row_product

_FEW_QUERIES = 16
"""Own positions from which on even the least batch is a large one."""

_NUMBERS_AT_ONCE = 1 << 17
"""Numbers that are converted to float32 at a time: they stay in a processor's own cache until they are multiplied."""

SHARED_PREFIX_ATTENTION = "latentswarm_shared_prefix"

WeightTransform = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Takes the layer, the weights [rows, heads, queries, keys], and the absolute positions of the queries [rows, queries]
and of the keys [rows, keys]; returns the weights."""


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    prefix: SharedPrefix | None = None,
    weight_transform: WeightTransform | None = None,
    suffix_length: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend causally over the shared prefix, if any, and over the row's own keys.

    Args:
        module: The attention module; its `layer_idx` selects the prefix's layer.
        query: [rows, heads, queries, head size].
        key: The rows' own keys including those of the queries, [rows, key-value heads, keys, head size].
        value: Same shape as key.
        attention_mask: Unused: prompts are right-padded, so causality alone hides the padding.
        scaling: Factor on the scores; head size ** -0.5 where None.
        dropout: Unused: random draws come from samplers, never from the model's own modules.
        prefix: The shared prompts, or None where key and value are the whole context.
        weight_transform: Applied to the attention weights after the softmax.
        suffix_length: How many of the own keys count, an integer tensor [1] on the device; all of them where None. For
            buffers that are larger than what is in them; only with a prefix, and one query per row.

    Returns:
        The attention output, [rows, queries, heads, head size], and None in place of the weights.
    """
    rows, heads, queries, head_size = query.shape
    scale = head_size**-0.5 if scaling is None else scaling
    if prefix is None and weight_transform is None:
        output = nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=queries > 1, scale=scale, enable_gqa=key.shape[1] != heads
        )
        return output.transpose(1, 2), None

    layer, keys = int(module.layer_idx), key.shape[2]  # type: ignore[arg-type]
    # The kernel has no backward pass.
    alone = prefix is not None and queries == 1 and weight_transform is None and not torch.is_grad_enabled()
    if prefix is not None and alone and use_kernels(query.device):
        return _decoded(query, key, value, prefix, layer, scale, suffix_length), None
    rule = flash_rule(query, key) if alone and suffix_length is None else None
    if rule is not None and prefix is not None:
        return _beside_own(query * scale, own_attention(query, key, value, scale, rule), prefix, layer), None
    query = query * scale
    own = _own_scores(query, key)
    if suffix_length is not None:
        own = own.masked_fill(torch.arange(keys, device=own.device) >= suffix_length, float("-inf"))
    shares = [(None, slice(0, rows))] if prefix is None else list(prefix.rows_by_part())
    weights = [
        _softmax(own[some] if part is None else torch.cat([_prefix_scores(query[some], part, layer), own[some]], -1))
        for part, some in shares
    ]
    if weight_transform is not None:
        weights = _transformed(weights, weight_transform, layer, prefix, queries, keys)
    outputs = []
    for (part, some), weight in zip(shares, weights, strict=True):
        output = _weighted_own_values(weight[..., -keys:], value[some])
        if part is not None:
            output = output + _weighted_prefix_values(weight[..., :-keys], part, layer)
        outputs.append(output)
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).transpose(1, 2), None


def _decoded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: SharedPrefix,
    layer: int,
    scale: float,
    suffix_length: Tensor | None,
) -> Tensor:
    """Return the attention output of one position per row, computed by a kernel."""
    from latent_core.kernels.decode_attention import decode_attention

    if suffix_length is None:
        suffix_length = torch.full((1,), key.shape[2], dtype=torch.int64, device=query.device)
    outputs = [
        decode_attention(
            query[some],
            part.keys[layer],
            part.values[layer],
            part.lengths,
            key[some],
            value[some],
            suffix_length,
            scale,
        )
        for part, some in prefix.rows_by_part()
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _beside_own(query: Tensor, own: tuple[Tensor, Tensor], prefix: SharedPrefix, layer: int) -> Tensor:
    """Attend over the shared prompts, and over what `own_attention` has returned as over one more key."""
    outputs = []
    for part, some in prefix.rows_by_part():
        output, log_sum = (one[some] for one in own)
        scores = _prefix_scores(query[some], part, layer)
        weights = torch.softmax(torch.cat([scores.float(), log_sum], dim=-1), dim=-1)
        shared = _weighted_prefix_values(weights[..., :-1].to(query.dtype), part, layer)
        outputs.append(torch.addcmul(shared.float(), output, weights[..., -1:]).to(query.dtype))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).transpose(1, 2)


def _softmax(scores: Tensor) -> Tensor:
    exact = torch.promote_types(scores.dtype, torch.float32)
    return torch.softmax(scores, dim=-1, dtype=exact).to(scores.dtype)


def _transformed(
    weights: list[Tensor],
    transform: WeightTransform,
    layer: int,
    prefix: SharedPrefix | None,
    queries: int,
    keys: int,
) -> list[Tensor]:
    """Transform the weights of all rows at once: they get the same number of keys, and lose it again."""
    lengths = [weight.shape[-1] - keys for weight in weights]
    longest = max(lengths)
    # Missing keys stand between prompt and suffix, where padding stands too.
    level = [
        weight
        if length == longest
        else torch.cat([nn.functional.pad(weight[..., :length], (0, longest - length)), weight[..., length:]], dim=-1)
        for weight, length in zip(weights, lengths, strict=True)
    ]
    together = torch.cat(level)
    query_positions, key_positions = _positions(prefix, len(together), queries, keys, together.device)
    done = transform(layer, together, query_positions, key_positions).split([len(weight) for weight in weights])
    return [
        torch.cat([weight[..., :length], weight[..., longest:]], dim=-1)
        for weight, length in zip(done, lengths, strict=True)
    ]


def _own_scores(query: Tensor, key: Tensor) -> Tensor:
    rows, heads, queries, head_size = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    grouped = query.reshape(rows, kv_heads, -1, head_size)
    scores = _own_product(grouped, key, queries, transposed=True).reshape(rows, heads, queries, keys)
    if queries > 1:
        ahead = torch.ones(queries, keys, dtype=torch.bool, device=query.device).triu(keys - queries + 1)
        scores = scores.masked_fill(ahead, float("-inf"))
    return scores


def _weighted_own_values(weights: Tensor, value: Tensor) -> Tensor:
    rows, heads, queries, keys = weights.shape
    grouped = weights.reshape(rows, value.shape[1], -1, keys)
    return _own_product(grouped, value, queries).reshape(rows, heads, queries, -1)


def _own_product(left: Tensor, right: Tensor, queries: int, *, transposed: bool = False) -> Tensor:
    """Multiply a row's matrices, [rows, heads, m, k] and [rows, heads, k, n]; `transposed`: [rows, heads, n, k]."""
    if left.device.type != "cpu" or left.dtype.itemsize >= torch.float32.itemsize or queries >= _FEW_QUERIES:
        return left @ (right.transpose(-1, -2) if transposed else right)
    # In reduced precision torch takes another kernel where a batch comes to more than 4,096 multiplications, and a
    # row's bits depend on how many rows there are. In float32 it looks at one matrix at a time.
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, right.shape[1:].numel()))
    products = []
    for some, others in zip(left.split(at_once), right.split(at_once), strict=True):
        # Converted before it is transposed: the other way round would not be copied by vectors.
        exact = others.float()
        products.append((some.float() @ (exact.transpose(-1, -2) if transposed else exact)).to(left.dtype))
    return products[0] if len(products) == 1 else torch.cat(products)


def _prefix_scores(query: Tensor, part: PrefixPart, layer: int) -> Tensor:
    rows, heads, queries, head_size = query.shape
    keys = part.keys[layer]
    questions, kv_heads, padded, _ = keys.shape
    group = rows // questions
    # All rows of a question become queries against its one copy of the prompt.
    stacked = query.reshape(questions, group, kv_heads, -1, head_size).transpose(1, 2)
    scores = row_product(stacked.reshape(questions, kv_heads, -1, head_size), keys.transpose(-1, -2))
    scores = scores.masked_fill(part.padding[:, None, None, :], float("-inf"))
    scores = scores.reshape(questions, kv_heads, group, -1, padded).transpose(1, 2)
    return scores.reshape(rows, heads, queries, padded)


def _weighted_prefix_values(weights: Tensor, part: PrefixPart, layer: int) -> Tensor:
    rows, heads, queries, padded = weights.shape
    values = part.values[layer]
    questions, kv_heads, _, head_size = values.shape
    group = rows // questions
    stacked = weights.reshape(questions, group, kv_heads, -1, padded).transpose(1, 2)
    output = row_product(stacked.reshape(questions, kv_heads, -1, padded), values)
    output = output.reshape(questions, kv_heads, group, -1, head_size).transpose(1, 2)
    return output.reshape(rows, heads, queries, head_size)


def _positions(
    prefix: SharedPrefix | None, rows: int, queries: int, keys: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the absolute positions of queries [rows, queries] and of all keys [rows, prefix keys + own keys]."""
    own = torch.arange(keys, device=device).expand(rows, keys)
    if prefix is None:
        return own[:, keys - queries :], own
    own = own + prefix.row_lengths[:, None]
    shared = torch.arange(prefix.padded_length, device=device).expand(rows, -1)
    return own[:, keys - queries :], torch.cat([shared, own], dim=1)


AttentionInterface.register(SHARED_PREFIX_ATTENTION, shared_prefix_attention)
