"""Draws: the right generator, addressed by place and nothing else, with the moments they claim."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from latent_core.randomness import Streams, philox4x32, question_key

QUESTIONS = ("a", "b", "c")
COUNT = 64


def word(value: int) -> Tensor:
    return torch.tensor([value], dtype=torch.int64)


def one_stream(**changes: int) -> Streams:
    """A stream at sample 0 and rollout 0, but for the changes."""
    streams = Streams.for_questions(0, ["a"])
    return replace(streams, **{name: word(value) for name, value in changes.items()})


def many_rows(count: int) -> Streams:
    """One question with samples 0, 1, ..."""
    streams = Streams.for_questions(0, ["a"]).take(torch.zeros(count, dtype=torch.int64))
    return replace(streams, sample=torch.arange(count))


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_published_vectors(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = (word(value) for value in counter)
    drawn = philox4x32((c0, c1, c2, c3), (word(key[0]), word(key[1])))
    assert [int(value) for value in drawn] == list(expected)


def test_words_lay_the_address_out_as_documented() -> None:
    """Stored trajectories depend on this layout: changing it needs a new version of the store."""
    streams = one_stream(sample=5, rollout=7)
    key = question_key(0, "a")
    block = philox4x32((word(1), word(5), word(7), word(3 | (9 << 16))), (word(key[0]), word(key[1])))
    assert streams.words(step=3, site=9, count=8)[0, 4:].tolist() == [int(value) for value in block]


def test_question_key_is_stable_and_separates_seed_and_id() -> None:
    assert question_key(0, "a") == question_key(0, "a")
    assert len({question_key(seed, name) for seed, name in ((0, "a"), (1, "a"), (0, "b"), (0, "1a"), (11, "a"))}) == 5
    assert all(0 <= half < 2**32 for half in question_key(123, "question"))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 31])
def test_fewer_words_are_the_first_of_more(count: int) -> None:
    streams = many_rows(4)
    assert torch.equal(streams.words(1, 2, count), streams.words(1, 2, COUNT)[:, :count])
    assert torch.equal(streams.uniform(1, 2, count), streams.uniform(1, 2, COUNT)[:, :count])
    assert torch.equal(streams.keep_mask(1, 2, count, 0.3), streams.keep_mask(1, 2, COUNT, 0.3)[:, :count])


def test_draws_do_not_depend_on_the_batch() -> None:
    streams = Streams.for_questions(3, QUESTIONS)
    together = streams.normal(2, 1, COUNT)
    assert torch.equal(streams.take(torch.tensor([2, 0])).normal(2, 1, COUNT), together[[2, 0]])
    for row, question in enumerate(QUESTIONS):
        assert torch.equal(Streams.for_questions(3, [question]).normal(2, 1, COUNT), together[row : row + 1])


def test_taking_rows_takes_their_whole_address() -> None:
    streams = replace(
        Streams.for_questions(0, QUESTIONS), sample=torch.tensor([4, 5, 6]), rollout=torch.tensor([7, 8, 9])
    )
    taken = streams.take(torch.tensor([2, 2, 0]))
    assert torch.equal(taken.key, streams.key[[2, 2, 0]])
    assert taken.sample.tolist() == [6, 6, 4]
    assert taken.rollout.tolist() == [9, 9, 7]
    assert len(taken) == 3


def test_a_step_per_row_equals_rows_drawn_at_their_steps() -> None:
    streams = Streams.for_questions(0, QUESTIONS)
    together = streams.words(torch.tensor([4, 1, 9]), 0, COUNT)
    for row, step in enumerate((4, 1, 9)):
        assert torch.equal(together[row], streams.words(step, 0, COUNT)[row])


def test_every_part_of_the_address_matters() -> None:
    draws = [
        one_stream().words(1, 1, COUNT),
        one_stream(sample=1).words(1, 1, COUNT),
        one_stream(rollout=1).words(1, 1, COUNT),
        one_stream().words(2, 1, COUNT),
        one_stream().words(1, 2, COUNT),
        Streams.for_questions(1, ["a"]).words(1, 1, COUNT),
        Streams.for_questions(0, ["b"]).words(1, 1, COUNT),
    ]
    values = torch.cat(draws).flatten().tolist()
    # Not a single one of these 448 words may repeat; by chance that happens once in 40,000 times.
    assert len(set(values)) == len(values)


def test_words_are_32_bits_with_every_bit_fair() -> None:
    words = many_rows(64).words(0, 0, 1024)
    assert words.dtype == torch.int64
    assert int(words.min()) >= 0
    assert int(words.max()) < 2**32
    for bit in range(32):
        assert ((words >> bit) & 1).double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_uniform_moments_and_open_ends() -> None:
    drawn = many_rows(256).uniform(1, 1, 1024).double()
    assert drawn.min().item() > 0.0
    assert drawn.max().item() < 1.0
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.003)
    assert drawn.var().item() == pytest.approx(1 / 12, abs=0.001)


@pytest.mark.parametrize("count", [1, 2, 7, 1024])
def test_normal_moments(count: int) -> None:
    drawn = many_rows(262_144 // count).normal(1, 1, count).double()
    assert torch.isfinite(drawn).all()
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.01)
    assert drawn.var().item() == pytest.approx(1.0, abs=0.015)
    assert (drawn**3).mean().item() == pytest.approx(0.0, abs=0.04)
    assert (drawn**4).mean().item() == pytest.approx(3.0, abs=0.1)


def test_normals_of_a_row_are_uncorrelated() -> None:
    drawn = many_rows(20_000).normal(1, 1, 8).double()
    correlation = torch.corrcoef(drawn.T) - torch.eye(8)
    assert correlation.abs().max().item() < 0.03


@pytest.mark.parametrize("probability", [0.0, 0.03, 0.2, 0.5, 0.9])
def test_keep_mask_moments(probability: float) -> None:
    mask = many_rows(256).keep_mask(1, 1, 1024, probability).double()
    kept = mask > 0
    assert kept.double().mean().item() == pytest.approx(1 - probability, abs=0.004)
    assert len(mask[kept].unique()) == 1
    assert mask[kept][0].item() == pytest.approx(1 / (1 - probability), rel=1e-4)
    assert mask.mean().item() == pytest.approx(1.0, abs=0.03)


def test_neighbouring_elements_of_a_mask_are_independent() -> None:
    """Two elements come from the halves of one word."""
    kept = (many_rows(50_000).keep_mask(1, 1, 4, 0.5) > 0).double()
    assert (torch.corrcoef(kept.T) - torch.eye(4)).abs().max().item() < 0.02


@pytest.mark.parametrize("probability", [0.999, 0.99999, 0.999999])
def test_keep_mask_next_to_one_is_finite(probability: float) -> None:
    mask = many_rows(4).keep_mask(1, 1, 1024, probability)
    assert torch.isfinite(mask).all()
    assert (mask == 0).double().mean().item() > 0.99


@pytest.mark.parametrize(
    "draw",
    [
        lambda streams: streams.words(-1, 0, 4),
        lambda streams: streams.words(1 << 16, 0, 4),
        lambda streams: streams.words(torch.tensor([0, 1 << 16, 3]), 0, 4),
        lambda streams: streams.words(torch.tensor([0, -1, 3]), 0, 4),
        lambda streams: streams.words(0, -1, 4),
        lambda streams: streams.words(0, 1 << 16, 4),
    ],
    ids=["negative step", "large step", "large step of a row", "negative step of a row", "negative site", "large site"],
)
def test_addresses_out_of_range_are_refused(draw: Callable[[Streams], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 65536\)"):
        draw(Streams.for_questions(0, QUESTIONS))


def test_the_largest_address_is_drawn() -> None:
    drawn = one_stream(sample=2**31, rollout=2**31).words((1 << 16) - 1, (1 << 16) - 1, 4)
    assert drawn.shape == (1, 4)
    assert len(set(drawn.flatten().tolist())) == 4
