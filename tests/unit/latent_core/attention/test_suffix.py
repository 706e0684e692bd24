"""Tails grow in place, and nobody who holds an older one can tell."""

import pytest
import torch
from torch import Tensor

from latent_core.attention.suffix import TailCache

ROWS, HEADS, SIZE = 3, 2, 4


def drawn(seed: int, positions: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(ROWS, HEADS, positions, SIZE, generator=generator)
    return keys, keys + 1


def grown(tail: TailCache, seed: int, positions: int = 1) -> TailCache:
    """Return a longer copy of a tail of two layers."""
    longer = tail.copied()
    keys, values = drawn(seed, positions)
    for layer in range(2):
        longer.update(keys * (layer + 1), values * (layer + 1), layer)
    return longer


def contents(tail: TailCache) -> list[Tensor]:
    return [one for layer in tail.layers for one in (layer.keys, layer.values) if one is not None]


def expected(seeds: list[int]) -> list[Tensor]:
    keys = torch.cat([drawn(seed)[0] for seed in seeds], dim=2)
    return [keys, keys + 1, keys * 2, (keys + 1) * 2]


def assert_holds(tail: TailCache, seeds: list[int]) -> None:
    assert tail.get_seq_length() == len(seeds)
    for found, wanted in zip(contents(tail), expected(seeds), strict=True):
        assert torch.equal(found, wanted)


def test_it_grows_far_beyond_its_first_room() -> None:
    tail, seeds = TailCache(), list(range(40))
    for seed in seeds:
        tail = grown(tail, seed)
    assert_holds(tail, seeds)


def test_appending_copies_nothing_while_there_is_room() -> None:
    tail = grown(grown(TailCache(), 0), 1)
    longer = grown(tail, 2)
    assert contents(longer)[0].data_ptr() == contents(tail)[0].data_ptr()


def test_every_older_tail_stays_what_it_was() -> None:
    tails = [TailCache()]
    for seed in range(12):
        tails.append(grown(tails[-1], seed))
    for length, tail in enumerate(tails[1:], start=1):
        assert_holds(tail, list(range(length)))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_two_continuations_of_one_tail_do_not_meet(length: int) -> None:
    stem = TailCache()
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
    tail = grown(grown(TailCache(), 0, positions=5), 1, positions=30)
    wanted = torch.cat([drawn(0, 5)[0], drawn(1, 30)[0]], dim=2)
    assert torch.equal(contents(tail)[0], wanted)


def test_selected_and_repeated_rows_grow_apart_from_what_they_came_from() -> None:
    tail = grown(grown(TailCache(), 0), 1)
    chosen = tail.copied()
    chosen.batch_select_indices(torch.tensor([2, 0, 2]))
    repeated = tail.copied()
    repeated.batch_repeat_interleave(1)
    longer, also = grown(chosen, 7), grown(repeated, 8)
    assert_holds(tail, [0, 1])
    assert torch.equal(contents(longer)[0][:, :, :2], expected([0, 1])[0][[2, 0, 2]])
    assert_holds(also, [0, 1, 8])
    assert_holds(grown(tail, 9), [0, 1, 9])


def test_gradients_flow_through_every_position() -> None:
    first, second = (drawn(seed)[0].requires_grad_() for seed in (0, 1))
    tail = TailCache()
    tail.update(first, first, 0)
    keys, _ = tail.update(second, second, 0)
    more, _ = tail.copied().update(drawn(2)[0], drawn(2)[0], 0)
    torch.autograd.backward(keys.square().sum() + more.sum())
    for one in (first, second):
        torch.testing.assert_close(one.grad, 2 * one.detach() + 1)
