"""Shared prompts in parts of one padded length each: what is taken, copied and left where it is."""

import torch

from latent_core.attention.prefix import PrefixPart, SharedPrefix


def part_of(first: int, lengths: tuple[int, ...], padded: int) -> PrefixPart:
    """Prompts whose keys tell which question they belong to, counted from `first`."""
    numbers = torch.arange(float(first), first + len(lengths)).reshape(-1, 1, 1, 1)
    keys = numbers.expand(-1, 2, padded, 3).contiguous()
    return PrefixPart((keys, keys + 0.25), (keys + 0.5, keys + 0.75), torch.tensor(lengths))


def prefix_of(group: int = 1) -> SharedPrefix:
    return SharedPrefix((part_of(0, (2, 1), 4), part_of(2, (7,), 8), part_of(3, (3, 4), 4)), group)


def questions_in(prefix: SharedPrefix) -> list[list[int]]:
    for part in prefix.parts:
        assert torch.equal(part.values[1], part.keys[0] + 0.75)
    return [[int(number) for number in part.keys[0][:, 0, 0, 0]] for part in prefix.parts]


def test_lengths_and_rows() -> None:
    prefix = prefix_of(group=2)
    assert prefix.lengths.tolist() == [2, 1, 7, 3, 4]
    assert prefix.row_lengths.tolist() == [2, 2, 1, 1, 7, 7, 3, 3, 4, 4]
    assert prefix.padded_length == 8
    assert [(rows.start, rows.stop) for _, rows in prefix.rows_by_part()] == [(0, 4), (4, 6), (6, 10)]
    assert prefix.parts[0].padding.tolist() == [[False, False, True, True], [False, True, True, True]]


def test_taking_questions_leaves_the_padding() -> None:
    """Sums over less padding are rounded in another way: what is left must not change when questions are dropped."""
    taken = prefix_of().take(torch.tensor([1, 3, 4]), 3)
    assert questions_in(taken) == [[1], [3, 4]]
    assert [part.padded_length for part in taken.parts] == [4, 4]
    assert taken.lengths.tolist() == [1, 3, 4]
    assert taken.group == 3


def test_questions_may_be_taken_in_any_order() -> None:
    taken = prefix_of().take(torch.tensor([4, 0, 1, 2, 3]), 1)
    assert questions_in(taken) == [[4], [0, 1], [2], [3]]
    assert taken.lengths.tolist() == [4, 2, 1, 7, 3]


def test_whole_parts_are_not_copied() -> None:
    prefix = prefix_of()
    taken = prefix.take(torch.tensor([0, 1, 3, 4]), 5)
    assert taken.parts[0] is prefix.parts[0]
    assert taken.parts[1] is prefix.parts[2]
    assert prefix.regroup(7).parts is prefix.parts


def test_prefixes_are_joined_in_order() -> None:
    one, two = SharedPrefix((part_of(0, (2,), 4),)), SharedPrefix((part_of(1, (5, 6), 8),))
    assert questions_in(SharedPrefix.joined([one, two])) == [[0], [1, 2]]
