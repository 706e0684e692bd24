"""Training data loader: batches of labelled questions, read ahead by Ray Data while the model computes."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray.data
from numpy.typing import NDArray

from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion
from orchestrator.reward_training.order import QuestionOrder, read_item

Encode = Callable[[str], Sequence[int]]
"""From a question to the token ids of its prompt."""

_CPUS_PER_READER = 0.1
_READERS = 2


def stream_batches(
    order: QuestionOrder,
    candidates: int,
    encode: Encode,
    first_update: int,
    end_update: int,
    rank: int = 0,
    workers: int = 1,
) -> Iterator[list[LabelledQuestion]]:
    """Yield the questions of one update after the other.

    Args:
        order: Which questions when.
        candidates: N, rows of every question.
        encode: From a question to the token ids of its prompt.
        first_update: The update to begin with, 0-based.
        end_update: The update to end before.
        rank: Which worker this is.
        workers: How many there are.
    """
    windows = [{"window": json.dumps(window)} for window in order.windows(first_update, end_update, rank, workers)]
    context = ray.data.DataContext.get_current()
    # Updates are taken from the stream in order; without this, blocks arrive as they are done.
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # One item is one window: a task that reads whole questions by name, so that no border of blocks cuts a question,
    # nothing else of a file travels, and shuffling happens where the data is read.
    read: Any = read_item
    rows = ray.data.from_items(windows, override_num_blocks=len(windows)).map_batches(
        read,
        batch_size=1,
        batch_format="pyarrow",
        # Few readers: each is a process to start, and two are ahead of any model.
        compute=ray.data.TaskPoolStrategy(size=_READERS),
        num_cpus=_CPUS_PER_READER,
        fn_kwargs={"candidates": candidates},
    )
    per_update = order.per_batch // workers * candidates
    for table in rows.iter_batches(batch_size=per_update, batch_format="pyarrow", prefetch_batches=2):
        yield questions_of(table, candidates, encode)


def questions_of(table: pa.Table, candidates: int, encode: Encode) -> list[LabelledQuestion]:
    """Turn rows, all of whole questions, into questions."""
    rows = _candidates_of(table)
    firsts = range(0, len(rows), candidates)
    names = table["question_id"].take(pa.array(firsts)).to_pylist()
    texts = table["question"].take(pa.array(firsts)).to_pylist()
    return [
        LabelledQuestion(name, tuple(encode(text)), tuple(rows[first : first + candidates]))
        for first, name, text in zip(firsts, names, texts, strict=True)
    ]


def _candidates_of(table: pa.Table) -> list[LabelledCandidate]:
    columns = zip(
        table["correct"].to_pylist(),
        table["answer"].to_pylist(),
        table["latent_steps"].to_pylist(),
        _lists(table["latents"]),
        _lists(table["labels"]),
        _lists(table["answer_ids"]),
        table["error"].to_pylist(),
        strict=True,
    )
    return [
        LabelledCandidate(
            correct=correct,
            answer=answer,
            latents=None if latents is None or labels is None else _by_step(latents, steps),
            labels=None if latents is None else labels,
            answer_ids=() if ids is None else tuple(ids.tolist()),
            failed=error is not None,
        )
        for correct, answer, steps, latents, labels, ids, error in columns
    ]


def _by_step(values: NDArray[Any], steps: int) -> NDArray[Any]:
    """Return the latents of a row as [steps, hidden size]; [0, 0] where it has not thought at all."""
    return values.reshape(steps, values.size // max(steps, 1))


def _lists(column: pa.ChunkedArray) -> list[NDArray[Any] | None]:
    """Return each list of a column as an array that shares its memory, None for null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    values, offsets = array.values.to_numpy(zero_copy_only=False), array.offsets.to_numpy()
    absent = array.is_null().to_numpy(zero_copy_only=False)
    return [
        None if missing else values[start:end]
        for missing, start, end in zip(absent, offsets[:-1], offsets[1:], strict=True)
    ]
