"""Suffixes grow in place, and nobody who holds an older one can tell."""

import pytest
import torch
from torch import Tensor

from latent_core.attention.suffix import KVBuffer, SuffixCache, SuffixLayer

ROWS, HEADS, SIZE = 3, 2, 4


def drawn(seed: int, positions: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(ROWS, HEADS, positions, SIZE, generator=generator)
    return keys, keys + 1


def grown(suffix: SuffixCache, seed: int, positions: int = 1) -> SuffixCache:
    """Return a longer copy of a suffix of two layers."""
    longer = suffix.copied()
    keys, values = drawn(seed, positions)
    for layer in range(2):
        longer.update(keys * (layer + 1), values * (layer + 1), layer)
    return longer


def contents(suffix: SuffixCache) -> list[Tensor]:
    return [one for layer in suffix.layers for one in (layer.keys, layer.values) if one is not None]


def expected(seeds: list[int]) -> list[Tensor]:
    keys = torch.cat([drawn(seed)[0] for seed in seeds], dim=2)
    return [keys, keys + 1, keys * 2, (keys + 1) * 2]


def assert_holds(suffix: SuffixCache, seeds: list[int]) -> None:
    assert suffix.get_seq_length() == len(seeds)
    for found, wanted in zip(contents(suffix), expected(seeds), strict=True):
        assert torch.equal(found, wanted)


def test_it_grows_far_beyond_its_first_buffer() -> None:
    suffix, seeds = SuffixCache(), list(range(40))
    for seed in seeds:
        suffix = grown(suffix, seed)
    assert_holds(suffix, seeds)


def test_appending_copies_nothing_while_there_is_room() -> None:
    suffix = grown(grown(SuffixCache(), 0), 1)
    longer = grown(suffix, 2)
    assert contents(longer)[0].data_ptr() == contents(suffix)[0].data_ptr()


def test_every_older_tail_stays_what_it_was() -> None:
    suffixes = [SuffixCache()]
    for seed in range(12):
        suffixes.append(grown(suffixes[-1], seed))
    for length, suffix in enumerate(suffixes[1:], start=1):
        assert_holds(suffix, list(range(length)))


def test_a_buffer_that_is_outgrown_is_not_kept_for_older_tails() -> None:
    suffixes = [grown(grown(SuffixCache(), 0), 1)]
    first = contents(suffixes[0])[0].untyped_storage().data_ptr()
    while contents(suffixes[-1])[0].untyped_storage().data_ptr() == first:
        suffixes.append(grown(suffixes[-1], len(suffixes) + 1))
        assert len(suffixes) < 100
    storages = {contents(suffix)[0].untyped_storage().data_ptr() for suffix in suffixes}
    assert len(storages) == 1
    for suffix in suffixes:
        assert_holds(suffix, list(range(int(suffix.get_seq_length()))))


def test_memory_that_belongs_to_somebody_else_is_left_where_it_is() -> None:
    keys, *others = (torch.zeros(ROWS, HEADS, 2, SIZE) for _ in range(4))
    fixed = SuffixCache.within([KVBuffer(keys, others[0], 0, False), KVBuffer(others[1], others[2], 0, False)])
    suffix = fixed
    for seed in range(4):
        suffix = grown(suffix, seed)
    assert_holds(suffix, [0, 1, 2, 3])
    layer = fixed.layers[0]
    assert isinstance(layer, SuffixLayer)
    assert layer.keys is not None
    assert layer.keys.untyped_storage().data_ptr() == keys.untyped_storage().data_ptr()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_two_continuations_of_one_tail_do_not_meet(length: int) -> None:
    stem = SuffixCache()
    for seed in range(length):
        stem = grown(stem, seed)
    left = grown(grown(stem, 100), 101)
    right = grown(grown(stem, 200), 201)
    late = grown(stem, 300)
    past = list(range(length))
    assert_holds(left, [*past, 100, 101])
    assert_holds(right, [*past, 200, 201])
    assert_holds(late, [*past, 300])
    assert_holds(stem, past)


def test_several_positions_at_once() -> None:
    suffix = grown(grown(SuffixCache(), 0, positions=5), 1, positions=30)
    wanted = torch.cat([drawn(0, 5)[0], drawn(1, 30)[0]], dim=2)
    assert torch.equal(contents(suffix)[0], wanted)


def test_selected_and_repeated_rows_grow_apart_from_what_they_came_from() -> None:
    suffix = grown(grown(SuffixCache(), 0), 1)
    chosen = suffix.copied()
    chosen.batch_select_indices(torch.tensor([2, 0, 2]))
    repeated = suffix.copied()
    repeated.batch_repeat_interleave(1)
    longer, also = grown(chosen, 7), grown(repeated, 8)
    assert_holds(suffix, [0, 1])
    assert torch.equal(contents(longer)[0][:, :, :2], expected([0, 1])[0][[2, 0, 2]])
    assert_holds(also, [0, 1, 8])
    assert_holds(grown(suffix, 9), [0, 1, 9])


def test_gradients_flow_through_every_position() -> None:
    first, second = (drawn(seed)[0].requires_grad_() for seed in (0, 1))
    suffix = SuffixCache()
    suffix.update(first, first, 0)
    keys, _ = suffix.update(second, second, 0)
    more, _ = suffix.copied().update(drawn(2)[0], drawn(2)[0], 0)
    torch.autograd.backward(keys.square().sum() + more.sum())
    for one in (first, second):
        torch.testing.assert_close(one.grad, 2 * one.detach() + 1)


def test_a_tail_that_gradients_flow_through_keeps_them_when_another_grows_without() -> None:
    first = drawn(0)[0].requires_grad_()
    suffix = SuffixCache()
    suffix.update(first, first, 0)
    with torch.no_grad():
        suffix.copied().update(drawn(1)[0], drawn(1)[0], 0)
    keys = contents(suffix)[0]
    torch.autograd.backward(keys.sum())
    torch.testing.assert_close(first.grad, torch.ones_like(first))
