"""Resumable shuffle of the training questions, and how a window of it is read, in Ray Data's tasks: no torch."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator.store.labels import read_labels

Address = tuple[str, str]
"""A shard and the id of a question in it."""

_COLUMNS = ["question_id", "question", "correct", "answer", "latent_steps", "latents", "answer_ids", "labels", "error"]


@dataclass(frozen=True)
class QuestionOrder:
    """Deterministic shuffle: the order is a pure function of these settings, so that any place can be resumed.

    In every epoch the shards are shuffled, and so are the questions within windows of neighbouring shards. What does
    not fill the last batch of an epoch is dropped.

    Attributes:
        files: The question ids of each shard.
        seed: Seed of the order.
        window: Questions that are shuffled together, at least.
        per_batch: Questions of one update, over all workers.
    """

    files: Mapping[str, Sequence[str]]
    seed: int
    window: int
    per_batch: int

    def epoch(self, number: int) -> Iterator[list[Address]]:
        """Yield the windows of an epoch."""
        rng = np.random.default_rng((self.seed, number))
        names = list(self.files)
        window: list[Address] = []
        for index in rng.permutation(len(names)):
            window += [(names[index], question) for question in self.files[names[index]]]
            if len(window) >= self.window:
                yield [window[place] for place in rng.permutation(len(window))]
                window = []
        if window:
            yield [window[place] for place in rng.permutation(len(window))]

    def windows(self, first_update: int, end_update: int, rank: int, workers: int) -> Iterator[list[Address]]:
        """Yield what one of several workers reads for a range of updates; each takes an equal part of every batch."""
        questions = sum(len(ids) for ids in self.files.values())
        used = questions // self.per_batch * self.per_batch
        first, end = first_update * self.per_batch, end_update * self.per_batch
        share = self.per_batch // workers
        for number in itertools.count(first // used):
            place = number * used
            for window in self.epoch(number):
                places = range(place, min(place + len(window), (number + 1) * used, end))
                place += len(window)
                own = [
                    address
                    for at, address in zip(places, window, strict=False)
                    if at >= first and at % self.per_batch // share == rank
                ]
                if own:
                    yield own
            if (number + 1) * used >= end:
                return


def read_questions(addresses: Sequence[Address], candidates: int) -> pa.Table:
    """Read all rows of some questions, in the given order."""
    wanted: dict[str, set[str]] = {}
    for file, question in addresses:
        wanted.setdefault(file, set()).add(question)
    tables, offset = [], 0
    starts: dict[Address, int] = {}
    for file, ids in wanted.items():
        table = read_labels(file, _COLUMNS)
        names = table["question_id"].to_numpy()
        firsts = range(0, len(names), candidates)
        rows = np.array([row for first in firsts if names[first] in ids for row in range(first, first + candidates)])
        starts |= {(file, names[row]): offset + place for place, row in enumerate(rows) if row % candidates == 0}
        tables.append(table.take(pa.array(rows)))
        offset += len(rows)
    order = [row for address in addresses for row in range(starts[address], starts[address] + candidates)]
    return pa.concat_tables(tables).combine_chunks().take(pa.array(order))


def read_item(item: pa.Table, candidates: int) -> pa.Table:
    """Read the window of a row {"window": JSON list of addresses}."""
    return read_questions([(file, question) for file, question in json.loads(item["window"][0].as_py())], candidates)
