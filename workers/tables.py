"""Arrow tables: the schemas of trajectories, beams, scores and labels, as actors answer and stores keep them.

Batches become tables column by column. Tables are what travels: as objects, results take several times as long to pack
and to unpack.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latent_core.columns import ABSENT, Ragged
from latent_core.reward.types import LabelledBatch, QuestionToScore, ScoreBatch
from latent_core.search.beam import BeamBatch
from latent_core.tasks.base import Problem
from latent_core.trajectory import LatentArray, TrajectoryBatch

LATENT_DTYPES: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}

_MOST_VALUES = 2**31 - 1
"""Numbers that fit into one chunk of a column of lists."""

_TRAJECTORY_FIELDS = [
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
    ("answer_logprob", pa.float32()),
    ("token_entropy", pa.float32()),
]
CONFIDENCE_COLUMNS = ("answer_logprob", "token_entropy")
"""How sure the reasoner was of its answer, see `Trajectory`: null for a failed row. Older shards lack them."""

_BEAM_FIELDS = [
    ("step_scores", pa.list_(pa.float32())),
    ("score", pa.float64()),
    ("score_prompt_flops", pa.float64()),
    ("score_flops", pa.float64()),
]
BEAM_COLUMNS = tuple(name for name, _ in _BEAM_FIELDS)
"""What a beam has beyond the columns of its trajectory."""

SCORE_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("question_index", pa.int64()),
        ("sample_index", pa.int64()),
        ("step_scores", pa.list_(pa.float32())),
        ("score", pa.float64()),
        ("answer_score", pa.float64()),
        ("score_prompt_flops", pa.float64()),
        ("score_flops", pa.float64()),
        ("answer_score_prompt_flops", pa.float64()),
        ("answer_score_flops", pa.float64()),
        ("score_seconds", pa.float64()),
        ("score_error", pa.string()),
    ]
)

LABEL_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("question_index", pa.int64()),
        ("question", pa.string()),
        ("reference", pa.string()),
        ("grader", pa.string()),
        ("sample_index", pa.int32()),
        ("answer", pa.string()),
        ("correct", pa.bool_()),
        ("latent_steps", pa.int32()),
        ("latents", pa.list_(pa.float16())),
        ("answer_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.float32())),
        ("rollouts", pa.int32()),
        ("error", pa.string()),
    ]
)
"""One row per candidate trajectory, question by question in sample order, all candidates of a question in one file.

`latents` holds the latent_steps x hidden size values of a row one step after the other; it is null where the question's
candidates are all right or all wrong. `labels` has one value per latent step, NaN for a step that was not labelled; it
is null where there is nothing to learn. `answer_ids` includes the end-of-text token. A row with `error` is a wrong
candidate without latents, labels and answer.
"""

COST_FIELDS = [("prompt_flops", pa.float64()), ("flops", pa.float64()), ("label_flops", pa.float64())]
CUT_FIELDS = [("cut", pa.bool_()), ("cut_completions", pa.int32())]
"""What the shards hold beyond `LABEL_SCHEMA`: the cost of candidates and of their completions, and whose answers were
cut off."""


def trajectory_schema(latents: str = "none") -> pa.Schema:
    """Return the schema of a shard of trajectories.

    Args:
        latents: "none", "float16" or "float32"; the column `latents` holds the T x hidden size values of a
            trajectory one step after the other, and is null for a failed row.
    """
    fields = list(_TRAJECTORY_FIELDS)
    if latents != "none":
        fields.append(("latents", pa.list_(pa.from_numpy_dtype(LATENT_DTYPES[latents]))))
    return pa.schema(fields)


def trajectory_table(batch: TrajectoryBatch, first_question: int, samples: int, latents: str = "none") -> pa.Table:
    """Return the table of one shard's trajectories.

    Args:
        batch: Question by question, in sample order.
        first_question: Index of the shard's first question in its task.
        samples: Samples per question in this shard.
        latents: As in `trajectory_schema`.
    """
    schema = trajectory_schema(latents)
    columns: dict[str, Any] = {
        name: getattr(batch, name) for name in schema.names if name not in ("question_index", "answer_ids", "latents")
    }
    columns["question_index"] = first_question + np.arange(len(batch)) // samples
    columns["answer_ids"] = _lists(batch.answer_ids, np.int32)
    for name in CONFIDENCE_COLUMNS:
        values = getattr(batch, name)
        columns[name] = pa.array(values, pa.float32(), mask=np.isnan(values))
    if latents != "none":
        columns["latents"] = _lists(batch.latents, LATENT_DTYPES[latents])
    return pa.table(columns, schema=schema)


def beam_table(batch: BeamBatch, first_question: int, beams: int, latents: str = "none") -> pa.Table:
    """Return the table of one shard's beams: their trajectories, and `BEAM_COLUMNS`.

    Args:
        batch: Question by question, the best beam of each first.
        first_question: As in `trajectory_table`, like `latents`.
        beams: Beams per question.
        latents: Whether and how latent vectors are in it.
    """
    table = trajectory_table(batch.trajectories, first_question, beams, latents)
    failed = np.array([error is not None for error in batch.trajectories.error], np.bool_)
    rows, steps = batch.step_scores.shape
    step_scores = Ragged.behind_each_other(batch.step_scores.ravel(), np.full(rows, steps))
    columns = (
        _lists(step_scores, np.float32),
        # What failed has no score; NaN would be taken for one.
        pa.array(batch.score, pa.float64(), mask=failed),
        batch.score_prompt_flops,
        batch.score_flops,
    )
    for field, column in zip(pa.schema(_BEAM_FIELDS), columns, strict=True):
        table = table.append_column(field, column if isinstance(column, pa.ChunkedArray) else pa.array(column))
    return table


def label_table(
    batch: LabelledBatch, problems: Sequence[Problem], first_question: int, candidates: int, rollouts: int
) -> pa.Table:
    """Return the table of one shard's labelled candidates, question by question in sample order."""
    rows = batch.trajectories
    asked = [problem for problem in problems for _ in range(candidates)]
    # Nobody learns from questions without both outcomes: their latents would only fill the store.
    latents = rows.latents.only(batch.labels.lengths != ABSENT)
    columns: dict[str, Any] = {
        "question_id": [problem.question_id for problem in asked],
        "question_index": first_question + np.arange(len(rows)) // candidates,
        "question": [problem.question for problem in asked],
        "reference": [problem.answer for problem in asked],
        "grader": [problem.grader for problem in asked],
        "sample_index": rows.sample_index.astype(np.int32),
        "answer": rows.answer,
        "correct": rows.correct,
        "latent_steps": rows.latent_steps,
        "latents": _lists(latents, np.float16),
        "answer_ids": _lists(rows.answer_ids, np.int32),
        "labels": _lists(batch.labels, np.float32),
        "rollouts": np.full(len(rows), rollouts, np.int32),
        "error": rows.error,
        "prompt_flops": rows.prompt_flops,
        "flops": rows.flops,
        "label_flops": batch.label_flops,
        "cut": rows.cut,
        "cut_completions": batch.cut_completions.astype(np.int32),
    }
    return pa.table(columns, schema=pa.schema([*LABEL_SCHEMA, *COST_FIELDS, *CUT_FIELDS]))


def score_table(trajectories: pa.Table, scores: ScoreBatch) -> pa.Table:
    """Return the table of the scores of a shard's trajectories."""
    score, answer_score = scores.score, scores.answer_score
    is_read = ~np.isnan(answer_score)
    columns = {
        "step_scores": _lists(scores.step_scores, np.float32),
        "score": _known(score, ~np.isnan(score)),
        "answer_score": _known(answer_score, is_read),
        "score_prompt_flops": scores.prompt_flops,
        "score_flops": scores.flops,
        # Costs of what was not computed must not be taken for zero.
        "answer_score_prompt_flops": _known(scores.prompt_flops, is_read),
        "answer_score_flops": _known(scores.answer_flops, is_read),
        "score_seconds": scores.seconds,
        "score_error": scores.error,
    }
    places = {name: trajectories[name] for name in ("question_id", "question_index", "sample_index")}
    return pa.table({**places, **columns}, schema=SCORE_SCHEMA)


def questions_to_score(
    trajectories: pa.Table, samples: int, texts: Sequence[str], latents: str
) -> tuple[QuestionToScore, ...]:
    """Arrange the trajectories of a shard for a scorer.

    Args:
        trajectories: Question by question, in sample order.
        samples: Samples per question.
        texts: The text of each question.
        latents: Precision in which latents are read, whatever they were computed or stored in: scores must not depend
            on whether a trajectory has just been sampled or comes from the store.
    """
    vectors = _ragged(trajectories["latents"])
    values, steps = vectors.values.astype(LATENT_DTYPES[latents], copy=False), trajectories["latent_steps"].to_numpy()
    vectors = Ragged(values, vectors.starts, vectors.lengths)
    answers = _ragged(trajectories["answer_ids"])
    rows = range(len(trajectories))
    thoughts = [None if (own := vectors[row]) is None else _by_step(own, int(steps[row])) for row in rows]
    ids = [() if (own := answers[row]) is None else tuple(own.tolist()) for row in rows]
    return tuple(
        QuestionToScore(text, tuple(thoughts[first : first + samples]), tuple(ids[first : first + samples]))
        for text, first in zip(texts, range(0, len(trajectories), samples), strict=True)
    )


def _by_step(values: LatentArray, steps: int) -> LatentArray:
    return values.reshape(steps, values.size // max(steps, 1))


def _known(values: NDArray[np.float64], known: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, pa.float64(), mask=~known)


def _lists(rows: Ragged, dtype: Any) -> pa.ChunkedArray:
    """Return the column of lists of the values of each row, null where there is none."""
    width = int(np.prod(rows.values.shape[1:], dtype=np.int64))
    largest = max(1, int(rows.lengths.max(initial=0)) * width)
    at_once = max(1, _MOST_VALUES // largest)
    parts = [rows.take(np.arange(first, min(first + at_once, len(rows)))) for first in range(0, len(rows), at_once)]
    chunks = [_one_chunk(part.packed(), width, dtype) for part in parts]
    return pa.chunked_array(chunks, pa.list_(pa.from_numpy_dtype(dtype)))


def _one_chunk(rows: Ragged, width: int, dtype: Any) -> pa.ListArray:
    offsets = np.append(rows.starts, rows.starts[-1:] + np.maximum(rows.lengths[-1:], 0)) * width
    missing = rows.lengths == ABSENT
    return pa.ListArray.from_arrays(
        pa.array(offsets.astype(np.int32)),
        pa.array(rows.values.reshape(-1).astype(dtype, copy=False)),
        mask=pa.array(missing) if missing.any() else None,
    )


def _ragged(column: pa.ChunkedArray) -> Ragged:
    """Return a column of lists as rows of numbers."""
    parts = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy().astype(np.int64)
        missing = chunk.is_null().to_numpy(zero_copy_only=False)
        lengths = np.where(missing, ABSENT, np.diff(offsets))
        parts.append(Ragged(chunk.values.to_numpy(zero_copy_only=False), offsets[:-1], lengths))
    return Ragged.concat(parts) if parts else Ragged.absent(0)
