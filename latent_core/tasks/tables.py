"""Single- and half-precision columns of Arrow tables, read as the decimals that they were written as.

The single-precision number nearest to 0.1 is 0.100000001490116 in double precision, where an answer of 0.1 would be
compared with digits that nobody has written.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

_NARROW: Mapping[str, type[np.floating[Any]]] = {"float": np.float32, "halffloat": np.float16}
"""Numpy's types by Arrow's names."""


def narrow_columns(schema: Any) -> dict[str, type[np.floating[Any]]]:
    """Return the columns of an Arrow schema that are less precise than Python's numbers, with their types."""
    return {field.name: _NARROW[str(field.type)] for field in schema if str(field.type) in _NARROW}


def exact_decimal(value: Any, narrow: type[np.floating[Any]]) -> float | None:
    """Return the number with the fewest digits that is this one in its own precision; None for None."""
    return None if value is None else float(str(narrow(value)))


def exact_decimals(table: Any) -> Any:
    """Return an Arrow table whose narrow columns hold the shortest such numbers in double precision."""
    import pyarrow as pa

    for name, narrow in narrow_columns(table.schema).items():
        values = [exact_decimal(value, narrow) for value in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.float64()))
    return table
