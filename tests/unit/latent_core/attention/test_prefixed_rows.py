"""Rows that share prompts: branched and selected, while what they came from stays as it was."""

import pytest
import torch

from latent_core.attention.prefix import PrefixPart, SharedPrefix
from latent_core.attention.prefixed_rows import SharedPromptRows
from latent_core.attention.suffix import SuffixCache

LENGTHS = (3, 1, 2)


def rows_of(group: int, suffix: int) -> SharedPromptRows:
    """Three prompts with some rows each; every key tells which row and position it belongs to."""
    prompt_keys = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 4, 2).contiguous()
    prefix = SharedPrefix((PrefixPart((prompt_keys,), (prompt_keys + 0.5,), torch.tensor(LENGTHS)),), group)
    cache = SuffixCache()
    if suffix:
        rows = torch.arange(3.0 * group).reshape(-1, 1, 1, 1)
        keys = rows * 10 + torch.arange(float(suffix)).reshape(1, 1, -1, 1).expand(3 * group, 1, suffix, 2)
        cache.update(keys, keys + 0.5, 0)
    return SharedPromptRows(prefix, cache)


def suffix_of(cache: SuffixCache) -> list[float]:
    """Which row each row's first suffix position came from."""
    layer = cache.layers[0]
    assert torch.equal(layer.values, layer.keys + 0.5)
    return (layer.keys[:, 0, 0, 0] / 10).tolist()


def test_counts_and_positions() -> None:
    state = rows_of(group=2, suffix=5)
    assert (state.rows, state.questions, state.group, state.suffix_length) == (6, 3, 2, 5)
    assert state.next_positions(2).tolist() == [[8, 9], [8, 9], [6, 7], [6, 7], [7, 8], [7, 8]]
    assert rows_of(group=1, suffix=0).next_positions().flatten().tolist() == list(LENGTHS)


def test_repeated_rows_stand_behind_each_other() -> None:
    state = rows_of(group=2, suffix=3)
    prefix, suffix = state.repeated(2)
    assert suffix_of(suffix) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert prefix.group == 4
    # The prompt is shared as before, not copied.
    assert prefix.parts[0] is state.prefix.parts[0]
    assert suffix_of(state.suffix) == [0, 1, 2, 3, 4, 5]


def test_taken_rows_keep_their_prompt() -> None:
    state = rows_of(group=2, suffix=3)
    prefix, suffix = state.taken(torch.tensor([5, 5, 0, 1]))
    assert suffix_of(suffix) == [5, 5, 0, 1]
    assert (prefix.lengths.tolist(), prefix.group) == ([2, 3], 2)
    assert prefix.parts[0].keys[0][:, 0, 0, 0].tolist() == [2, 0]
    assert suffix_of(state.suffix) == [0, 1, 2, 3, 4, 5]


def test_before_the_first_step_there_is_no_suffix() -> None:
    state = rows_of(group=1, suffix=0)
    assert state.repeated(3)[1].get_seq_length() == 0
    assert state.taken(torch.tensor([2]))[1].get_seq_length() == 0


@pytest.mark.parametrize("n", [0, -1])
def test_no_rows_cannot_be_made(n: int) -> None:
    with pytest.raises(ValueError, match=f"cannot branch into {n} rows"):
        rows_of(group=1, suffix=2).repeated(n)


@pytest.mark.parametrize("rows", [[], [0, 1, 2], [0, 2, 1, 3], [0, 1, 2, 4, 5], [0, 2, 1]])
def test_ragged_choices_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="same number of rows"):
        rows_of(group=2, suffix=2).taken(torch.tensor(rows, dtype=torch.int64))
