"""Ragged arrays: rows of different lengths that are chosen without being copied."""

import numpy as np
import pytest

from latent_core.columns import ABSENT, Ragged

ROWS = [[1, 2], None, [], [3], [4, 5, 6]]


def values_of(ragged: Ragged) -> list[list[int] | None]:
    return [None if (row := ragged[index]) is None else row.tolist() for index in range(len(ragged))]


def test_rows_are_given_and_found() -> None:
    ragged = Ragged.of(ROWS, np.int32)
    assert values_of(ragged) == ROWS
    assert ragged.lengths.tolist() == [2, ABSENT, 0, 1, 3]
    assert values_of(Ragged.absent(2)) == [None, None]


def test_choosing_rows_copies_no_value() -> None:
    ragged = Ragged.of(ROWS, np.int32)
    chosen = ragged.take(np.array([4, 0, 1, 4]))
    assert values_of(chosen) == [[4, 5, 6], [1, 2], None, [4, 5, 6]]
    assert chosen.values is ragged.values
    assert values_of(ragged.only(np.array([True, True, False, False, True]))) == [[1, 2], None, None, None, [4, 5, 6]]


@pytest.mark.parametrize("rows", [[4, 0, 1, 4], [1], [], [2, 2], [3, 4]])
def test_packed_rows_lie_one_behind_the_other(rows: list[int]) -> None:
    chosen = Ragged.of(ROWS, np.int32).take(np.array(rows, np.int64))
    packed = chosen.packed()
    assert values_of(packed) == values_of(chosen)
    assert packed.values.tolist() == [value for row in values_of(chosen) for value in row or ()]


def test_what_is_packed_already_is_not_copied() -> None:
    ragged = Ragged.of(ROWS, np.int32)
    assert ragged.packed().values is ragged.values


def test_joined_rows_keep_shape_and_precision_of_those_with_values() -> None:
    vectors = Ragged.of([np.ones((2, 3), np.float16)], np.float16)
    joined = Ragged.concat([Ragged.absent(1), vectors, vectors])
    assert joined.values.shape == (4, 3)
    assert joined.values.dtype == np.float16
    assert joined[0] is None
    assert Ragged.concat([Ragged.absent(1), Ragged.absent(2)]).lengths.tolist() == [ABSENT] * 3
