"""Shards: whatever is missing is cut into pieces that hold it once, and nothing else."""

import numpy as np
import pytest

from orchestrator.store.shards import BoolArray, Shard, missing_shards


def holes(text: str) -> BoolArray:
    """A grid of questions x samples; "x" is present."""
    return np.array([[mark == "x" for mark in row] for row in text.split()])


@pytest.mark.parametrize("seed", range(200))
def test_shards_are_exactly_what_is_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    questions, samples = int(rng.integers(1, 14)), int(rng.integers(1, 14))
    covered = rng.random((questions, samples)) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    if seed % 2:
        # Blocks, as finished shards leave them behind.
        covered[:] = False
        covered[: rng.integers(0, questions + 1), : rng.integers(0, samples + 1)] = True
    most_questions, most_samples = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    times = np.zeros_like(covered, dtype=int)
    shards = missing_shards(covered, most_questions, most_samples)
    for shard in shards:
        assert 1 <= shard.questions <= most_questions
        assert 1 <= shard.samples <= most_samples
        assert shard.rows == shard.questions * shard.samples
        times[shard.first_question : shard.end_question, shard.first_sample : shard.end_sample] += 1
    np.testing.assert_array_equal(times, ~covered)
    assert shards == sorted(shards)


def test_an_empty_store_is_cut_into_blocks() -> None:
    shards = missing_shards(np.zeros((5, 7), dtype=bool), 2, 4)
    assert shards == [
        Shard(0, 2, 0, 4),
        Shard(0, 2, 4, 7),
        Shard(2, 4, 0, 4),
        Shard(2, 4, 4, 7),
        Shard(4, 5, 0, 4),
        Shard(4, 5, 4, 7),
    ]


def test_borders_do_not_depend_on_what_is_there() -> None:
    """A resumed run fills whole blocks: it does not start to count at the first missing question."""
    covered = holes("xx xx xx .. .. ..")
    assert missing_shards(covered, 4, 2) == [Shard(3, 4, 0, 2), Shard(4, 6, 0, 2)]


def test_questions_that_lack_the_same_share_a_shard() -> None:
    assert missing_shards(holes("xx.. xx.. x.x. x.x."), 4, 4) == [
        Shard(0, 2, 2, 4),
        Shard(2, 4, 1, 2),
        Shard(2, 4, 3, 4),
    ]


def test_nothing_is_missing() -> None:
    assert missing_shards(np.ones((4, 4), dtype=bool), 2, 2) == []
    assert missing_shards(np.zeros((0, 4), dtype=bool), 2, 2) == []


@pytest.mark.parametrize("latents", ["none", "float16", "float32"])
@pytest.mark.parametrize("shard", [Shard(0, 8, 0, 64), Shard(1_234_567, 12_345_678, 99_999, 100_001)])
def test_names_tell_what_is_inside(shard: Shard, latents: str) -> None:
    assert Shard.parse(shard.file_name(latents)) == (shard, latents)


def test_names_sort_like_shards() -> None:
    shards = [Shard(0, 8, 0, 64), Shard(8, 16, 0, 64), Shard(16, 24, 64, 128), Shard(112, 120, 0, 64)]
    assert sorted(shard.file_name() for shard in reversed(shards)) == [shard.file_name() for shard in shards]


@pytest.mark.parametrize(
    "name",
    [
        "spec.json",
        "q0000000-0000008_s00000-00064.parquet.0123.tmp",
        ".q0000000-0000008_s00000-00064.parquet",
        "q0000000-0000008_s00000-00064_float64.parquet",
        "q0000000-0000008_s00000-00064.parquet ",
        "q-8_s0-64.parquet",
        "",
    ],
)
def test_other_files_are_no_shards(name: str) -> None:
    assert Shard.parse(name) is None
