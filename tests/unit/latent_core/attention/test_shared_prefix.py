"""Shared-prefix attention equals ordinary attention over prompt and suffix in one piece."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from latent_core.attention.prefix import PrefixPart, SharedPrefix
from latent_core.attention.shared_prefix import WeightTransform, shared_prefix_attention

PARTS = (((5, 3), 5), ((6,), 8))
"""Lengths of prompts, and what they are padded to."""
LENGTHS = tuple(length for lengths, _ in PARTS for length in lengths)
GROUP = 2
HEAD_SIZE = 8
LAYERS = 2


@dataclass(frozen=True)
class Case:
    """Random queries, keys and values of three questions with two rows each."""

    prefix: SharedPrefix
    query: Tensor
    key: Tensor
    value: Tensor

    def prompt_of(self, row: int) -> tuple[PrefixPart, int, int]:
        """Where a row's prompt is, and how long it is."""
        places = [(part, question) for part in self.prefix.parts for question in range(len(part))]
        part, question = places[row // self.prefix.group]
        return part, question, int(part.lengths[question])

    def expected(self, layer: int, scaling: float | None = None) -> Tensor:
        """Plain attention row by row on the concatenated keys, without padding or sharing."""
        outputs = []
        for row in range(len(self.query)):
            part, question, length = self.prompt_of(row)
            key = torch.cat([part.keys[layer][question, :, :length], self.key[row]], dim=1)
            value = torch.cat([part.values[layer][question, :, :length], self.value[row]], dim=1)
            repeats = self.query.shape[1] // key.shape[0]
            queries, keys = self.query.shape[2], key.shape[1]
            visible = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
            outputs.append(
                scaled_dot_product_attention(
                    self.query[row],
                    key.repeat_interleave(repeats, dim=0),
                    value.repeat_interleave(repeats, dim=0),
                    attn_mask=visible,
                    scale=scaling,
                )
            )
        return torch.stack(outputs).transpose(1, 2)


def make_case(heads: int, kv_heads: int, queries: int, keys: int) -> Case:
    generator = torch.Generator().manual_seed(heads * 100 + queries * 10 + keys)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    parts = [
        PrefixPart(
            tuple(draw(len(lengths), kv_heads, padded, HEAD_SIZE) for _ in range(LAYERS)),
            tuple(draw(len(lengths), kv_heads, padded, HEAD_SIZE) for _ in range(LAYERS)),
            torch.tensor(lengths),
        )
        for lengths, padded in PARTS
    ]
    prefix = SharedPrefix(tuple(parts), GROUP)
    rows = len(LENGTHS) * GROUP
    return Case(
        prefix,
        draw(rows, heads, queries, HEAD_SIZE),
        draw(rows, kv_heads, keys, HEAD_SIZE),
        draw(rows, kv_heads, keys, HEAD_SIZE),
    )


def module_of_layer(layer: int) -> nn.Module:
    module = nn.Module()
    module.layer_idx = layer  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("heads_and_kv_heads", [(2, 2), (8, 2), (4, 1)], ids=["MHA", "GQA", "MQA"])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 4), (3, 3), (2, 5)])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_it_equals_plain_attention(heads_and_kv_heads: tuple[int, int], queries: int, keys: int, layer: int) -> None:
    case = make_case(*heads_and_kv_heads, queries, keys)
    output, weights = shared_prefix_attention(
        module_of_layer(layer), case.query, case.key, case.value, None, prefix=case.prefix
    )
    assert weights is None
    torch.testing.assert_close(output, case.expected(layer), atol=1e-5, rtol=1e-5)


def test_the_scaling_of_the_model_is_used() -> None:
    case = make_case(4, 2, 1, 3)
    output, _ = shared_prefix_attention(
        module_of_layer(0), case.query, case.key, case.value, None, scaling=0.7, prefix=case.prefix
    )
    torch.testing.assert_close(output, case.expected(0, scaling=0.7), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(output, case.expected(0), atol=1e-3)


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (8, 2)])
@pytest.mark.parametrize("transform", [False, True], ids=["fused", "explicit"])
def test_without_a_prefix_it_is_causal_attention(heads: int, kv_heads: int, transform: bool) -> None:
    case = make_case(heads, kv_heads, 4, 4)
    output, _ = shared_prefix_attention(
        module_of_layer(0),
        case.query,
        case.key,
        case.value,
        None,
        weight_transform=(lambda layer, weights, queries, keys: weights) if transform else None,
    )
    repeats = heads // kv_heads
    key, value = case.key.repeat_interleave(repeats, dim=1), case.value.repeat_interleave(repeats, dim=1)
    expected = scaled_dot_product_attention(case.query, key, value, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def test_the_transform_gets_weights_with_their_places() -> None:
    case = make_case(8, 2, 2, 4)
    seen: list[tuple[int, Tensor, Tensor, Tensor]] = []

    def record(layer: int, weights: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        seen.append((layer, weights, queries, keys))
        return weights

    shared_prefix_attention(
        module_of_layer(1), case.query, case.key, case.value, None, prefix=case.prefix, weight_transform=record
    )
    [(layer, weights, queries, keys)] = seen
    padded, rows = max(padded for _, padded in PARTS), len(LENGTHS) * GROUP
    assert layer == 1
    assert weights.shape == (rows, 8, 2, padded + 4)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(rows, 8, 2))
    for row in range(rows):
        length = LENGTHS[row // GROUP]
        own = list(range(length, length + 4))
        assert queries[row].tolist() == own[-2:]
        assert keys[row, :length].tolist() == list(range(length))
        assert keys[row, padded:].tolist() == own
        # Padding has no weight, and neither has what lies ahead of a query.
        assert weights[row, :, :, length:padded].sum() == 0
        assert weights[row, :, 0, -1].abs().max() == 0


def test_transformed_weights_are_what_is_applied() -> None:
    case = make_case(8, 2, 1, 4)

    def only_prompt(layer: int, weights: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        lengths = torch.tensor(LENGTHS).repeat_interleave(GROUP)
        return weights * (keys < lengths[:, None])[:, None, None, :]

    output, _ = shared_prefix_attention(
        module_of_layer(0), case.query, case.key, case.value, None, prefix=case.prefix, weight_transform=only_prompt
    )
    # With the suffix's values gone, what it would have contributed is missing; nothing is normalised again.
    silent = Case(case.prefix, case.query, case.key, torch.zeros_like(case.value))
    torch.testing.assert_close(output, silent.expected(0), atol=1e-5, rtol=1e-5)


def test_padding_holds_whatever_it_holds() -> None:
    case = make_case(4, 2, 1, 3)
    spoilt = []
    for part in case.prefix.parts:
        keys, values = part.keys[0].clone(), part.values[0].clone()
        for question, length in enumerate(part.lengths.tolist()):
            keys[question, :, length:], values[question, :, length:] = 1e3, -1e3
        spoilt.append(PrefixPart((keys,), (values,), part.lengths))
    prefix = SharedPrefix(tuple(spoilt), GROUP)
    output, _ = shared_prefix_attention(module_of_layer(0), case.query, case.key, case.value, None, prefix=prefix)
    torch.testing.assert_close(output, case.expected(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("transform", [None, lambda layer, weights, queries, keys: weights], ids=["plain", "explicit"])
def test_prompts_of_another_length_do_not_change_a_bit(transform: WeightTransform | None) -> None:
    case = make_case(8, 2, 1, 4)
    together, _ = shared_prefix_attention(
        module_of_layer(1), case.query, case.key, case.value, None, prefix=case.prefix, weight_transform=transform
    )
    for part, rows in case.prefix.rows_by_part():
        alone, _ = shared_prefix_attention(
            module_of_layer(1),
            case.query[rows],
            case.key[rows],
            case.value[rows],
            None,
            prefix=SharedPrefix((part,), GROUP),
            weight_transform=transform,
        )
        assert torch.equal(together[rows], alone)
