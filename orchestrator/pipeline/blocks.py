"""Blocks of Ray Data: each belongs to one shard, and says to which one in the metadata of its schema.

A work item, which asks for a shard, says so in a column, since Ray Data makes its block of a row. So the shard travels
with its rows from stage to stage. Metadata survives because a task makes one block of each block that it is given: no
two of them are joined, and `dataset_of` forbids cutting them.
"""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import pyarrow as pa
import ray.data

from latent_core.tasks.base import Problem
from orchestrator.store.shards import Shard

_KEY = b"shard"
_COLUMN = "work_item"


@dataclass(frozen=True)
class WorkItem:
    """A shard on its way through a pipeline.

    Attributes:
        number: Its place in the work list.
        shard: Which one it is.
        counts: What the driver wants to know of its trajectories, once there are any: scores do not tell.
    """

    number: int
    shard: Shard
    counts: Mapping[str, int] | None = None

    @classmethod
    def of(cls, block: pa.Table) -> Self:
        """Read from a block to which shard it belongs.

        Raises:
            ValueError: If it does not say so.
        """
        metadata = block.schema.metadata or {}
        if _KEY not in metadata and _COLUMN not in block.column_names:
            raise ValueError(f"a block of {len(block)} rows does not say of which shard it is")
        content = json.loads(metadata[_KEY] if _KEY in metadata else block[_COLUMN][0].as_py())
        return cls(content["number"], Shard(**content["shard"]), content["counts"])

    def label(self, table: pa.Table) -> pa.Table:
        """Return a table that says to which shard it belongs."""
        return table.replace_schema_metadata({_KEY: self._text})

    @property
    def _text(self) -> str:
        return json.dumps(asdict(self))

    def row(self, problems: Sequence[Problem]) -> dict[str, str | bytes]:
        """Return the row that asks for the shard; it carries the shard's questions.

        The questions are one value: the driver holds the rows of all shards, and nested tables cost it more of both
        memory and time.

        Args:
            problems: All questions.
        """
        questions = tuple(problems[self.shard.first_question : self.shard.end_question])
        return {_COLUMN: self._text, "problems": pickle.dumps(questions)}

    def whole(self, block: pa.Table) -> pa.Table:
        """Return the rows of a block as they are stored, without what was only for the way.

        Raises:
            ValueError: If they are not all rows of the shard: its file name would claim what is not in it.
        """
        if len(block) != self.shard.rows:
            raise ValueError(f"a block of {len(block)} rows is not the whole shard {self.shard}")
        return block.replace_schema_metadata(None)


def problems_of(block: pa.Table) -> tuple[Problem, ...]:
    """Return the questions that the block of a work item carries."""
    problems: tuple[Problem, ...] = pickle.loads(block["problems"][0].as_py())
    return problems


def dataset_of(shards: Sequence[Shard], problems: Sequence[Problem]) -> ray.data.Dataset:
    """Return the work list as a dataset: one block per shard."""
    rows = [WorkItem(number, shard).row(problems) for number, shard in enumerate(shards)]
    # `from_arrow` would ask a task of one CPU about every table before anything starts; where actors hold all CPUs but
    # a part of one, it would wait for ever.
    blocks: Any = ray.data.from_items(rows, override_num_blocks=len(rows))
    # A shard with many latents is larger than Ray Data would let a block be, and half of it cannot be stored.
    blocks.context.target_max_block_size = None
    dataset: ray.data.Dataset = blocks
    return dataset
