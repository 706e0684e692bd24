"""The columns of a stored trajectory."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from latent_core.trajectory import Trajectory

LATENT_DTYPES = {"float16": np.float16, "float32": np.float32}

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
    if latents != "none":
        dtype = LATENT_DTYPES[latents]
        columns["latents"] = [
            None if trajectory.latents is None else trajectory.latents.astype(dtype).ravel()
            for trajectory in trajectories
        ]
    return pa.table(columns, schema=schema)
