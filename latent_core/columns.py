"""Column batches: many records of one kind, column by column. No torch is needed.

A GPU waits while records are made, and a batch has thousands of rows: columns are made, reordered and turned into Arrow
without an object per row. Who wants records gets them by iterating.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
"""Length of a row that is not there, which is something else than one without values."""

Row = TypeVar("Row")


@dataclass(frozen=True, eq=False)
class Ragged:
    """Ragged array: rows of different lengths that lie anywhere in one array.

    Like Arrow's list views, so that choosing and reordering rows copies none of their values.

    Attributes:
        values: The values, [any number, ...].
        starts: Where each row begins, int64 [rows].
        lengths: Values of each row, int64 [rows]; `ABSENT` for a row that is not there.
    """

    values: NDArray[Any]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def behind_each_other(cls, values: NDArray[Any], lengths: NDArray[Any]) -> Self:
        """Return rows of which each begins where the one before it ends."""
        taken = np.maximum(lengths, 0).astype(np.int64)
        return cls(values, np.cumsum(taken) - taken, lengths.astype(np.int64))

    @classmethod
    def of(cls, rows: Sequence[Any], dtype: Any) -> Self:
        """Return rows given one by one; None for one that is not there."""
        known = [np.asarray(row, dtype) for row in rows if row is not None]
        lengths = np.array([ABSENT if row is None else len(row) for row in rows], np.int64)
        return cls.behind_each_other(_joined(known) if known else np.empty(0, dtype), lengths)

    @classmethod
    def absent(cls, rows: int, dtype: Any = np.float32) -> Self:
        """Return rows that are not there."""
        return cls(np.empty(0, dtype), np.zeros(rows, np.int64), np.full(rows, ABSENT, np.int64))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join ragged arrays."""
        before = np.cumsum([0, *(len(part.values) for part in parts[:-1])])
        starts = [part.starts + first for part, first in zip(parts, before, strict=True)]
        return cls(
            _joined([part.values for part in parts]),
            np.concatenate(starts),
            np.concatenate([part.lengths for part in parts]),
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __getitem__(self, row: int) -> NDArray[Any] | None:
        """Return the values of a row; None for one that is not there."""
        length = self.lengths[row]
        return None if length == ABSENT else self.values[self.starts[row] : self.starts[row] + length]

    def take(self, rows: NDArray[Any]) -> Self:
        """Return some rows, in the given order."""
        return type(self)(self.values, self.starts[rows], self.lengths[rows])

    def only(self, rows: NDArray[np.bool_]) -> Self:
        """Return all rows, of which only the marked ones are there."""
        return type(self)(self.values, self.starts, np.where(rows, self.lengths, ABSENT))

    def packed(self) -> Self:
        """Return the rows one behind the other with nothing in between, copied only where they are not."""
        taken = np.maximum(self.lengths, 0)
        ends = np.cumsum(taken)
        offsets, total = ends - taken, int(ends[-1]) if len(ends) else 0
        is_filled = taken > 0
        if total == len(self.values) and np.array_equal(self.starts[is_filled], offsets[is_filled]):
            return type(self)(self.values, offsets, self.lengths)
        places = np.repeat(self.starts - offsets, taken) + np.arange(total)
        return type(self)(self.values[places], offsets, self.lengths)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Join values; parts without any may have another shape and precision."""
    filled = [part for part in parts if len(part)] or [max(parts, key=np.ndim)]
    return filled[0] if len(filled) == 1 else np.concatenate(filled)


class ColumnBatch(Sequence[Row], Generic[Row]):
    """Base of batches: dataclasses whose fields are columns, lists, arrays, ragged arrays or batches.

    As a sequence it is one of records: a row is made when it is asked for.
    """

    __hash__ = None  # type: ignore[assignment]

    def _row(self, row: int) -> Row:
        """Make the record of a row."""
        raise NotImplementedError

    def _columns(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def concat(cls, batches: Sequence[Self]) -> Self:
        """Join batches.

        Raises:
            ValueError: If there is none: nothing says which columns an empty batch has.
        """
        if not batches:
            raise ValueError("there are no batches to join")
        if len(batches) == 1:
            return batches[0]
        columns = [batch._columns() for batch in batches]
        return cls(**{name: _concat([one[name] for one in columns]) for name in columns[0]})

    def take(self, rows: NDArray[Any]) -> Self:
        """Return some rows, given by their numbers, in the given order."""
        return type(self)(**{name: _take(column, rows) for name, column in self._columns().items()})

    def replaced(self, rows: NDArray[Any], others: Self) -> Self:
        """Return the batch with others in the place of some rows, given by their numbers."""
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(others))
        return self.concat([self, others]).take(order)

    def rows(self) -> list[Row]:
        """Return the records of all rows."""
        return list(self)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self._columns().values())))

    def __iter__(self) -> Iterator[Row]:
        """Go through the records."""
        return map(self._row, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Row | Self:
        """Return the record of a row, or the batch of some rows."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self._row(range(len(self))[index])


def _concat(columns: Sequence[Any]) -> Any:
    first = columns[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(columns)
    if isinstance(first, list):
        return [value for column in columns for value in column]
    return type(first).concat(columns)


def _take(column: Any, rows: NDArray[Any]) -> Any:
    if isinstance(column, np.ndarray):
        return column[rows]
    return list(map(column.__getitem__, rows.tolist())) if isinstance(column, list) else column.take(rows)
