"""The columns of a stored trajectory: what actors return and the store keeps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from latent_core.trajectory import Trajectory

LATENT_DTYPES: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}

_MOST_VALUES = 2**31 - 1
"""Numbers that fit into one chunk of a column of lists."""

_COLUMNS = [
    ("question_id", pa.string()),
    ("question_index", pa.int64()),
    ("sample_index", pa.int64()),
    ("answer_text", pa.string()),
    ("answer", pa.string()),
    ("correct", pa.bool_()),
    ("latent_steps", pa.int32()),
    ("answer_tokens", pa.int32()),
    ("answer_ids", pa.list_(pa.int32())),
    ("prompt_flops", pa.float64()),
    ("flops", pa.float64()),
    ("seconds", pa.float64()),
    ("error", pa.string()),
    ("cut", pa.bool_()),
]


def trajectory_schema(latents: str = "none") -> pa.Schema:
    """Return the schema of a shard.

    Args:
        latents: "none", "float16" or "float32"; the column `latents` holds the T x hidden size values of a
            trajectory one step after the other, and is null for a failed row.
    """
    columns = list(_COLUMNS)
    if latents != "none":
        columns.append(("latents", pa.list_(pa.from_numpy_dtype(LATENT_DTYPES[latents]))))
    return pa.schema(columns)


def trajectory_table(
    trajectories: Sequence[Trajectory], first_question: int, samples: int, latents: str = "none"
) -> pa.Table:
    """Turn the trajectories of one shard into a table.

    Args:
        trajectories: Question by question, in sample order.
        first_question: Index of the shard's first question in its task.
        samples: Samples per question in this shard.
        latents: As in `trajectory_schema`.
    """
    schema = trajectory_schema(latents)
    columns: dict[str, list[object]] = {
        name: [getattr(trajectory, name) for trajectory in trajectories]
        for name in schema.names
        if name not in ("question_index", "latents")
    }
    columns["question_index"] = [first_question + row // samples for row in range(len(trajectories))]
    if latents == "none":
        return pa.table(columns, schema=schema)
    return pa.table(columns | {"latents": _latent_column(trajectories, LATENT_DTYPES[latents])}, schema=schema)


def _latent_column(trajectories: Sequence[Trajectory], dtype: type[np.floating[Any]]) -> pa.ChunkedArray:
    """Return the latents as lists of numbers, null where there are none."""
    largest = max((one.latents.size for one in trajectories if one.latents is not None), default=0)
    rows = max(1, _MOST_VALUES // max(largest, 1))
    chunks = [_latent_lists(trajectories[first : first + rows], dtype) for first in range(0, len(trajectories), rows)]
    return pa.chunked_array(chunks, pa.list_(pa.from_numpy_dtype(dtype)))


def _latent_lists(trajectories: Sequence[Trajectory], dtype: type[np.floating[Any]]) -> pa.ListArray:
    known = [one.latents for one in trajectories]
    offsets = np.cumsum([0, *(0 if latents is None else latents.size for latents in known)], dtype=np.int32)
    values = np.concatenate([np.empty(0, dtype), *(one.ravel() for one in known if one is not None)], dtype=dtype)
    missing = pa.array([latents is None for latents in known], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), mask=missing)
