"""The columns of a stored score, and the way from stored trajectories to what a scorer is asked."""

from collections.abc import Sequence

import pyarrow as pa

from latent_core.reward.types import QuestionToScore, Score
from workers.records import LATENT_DTYPES

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
    vectors = []
    for value, steps in zip(trajectories["latents"], trajectories["latent_steps"].to_pylist(), strict=True):
        known = value.is_valid
        array = value.values.to_numpy(zero_copy_only=False).astype(LATENT_DTYPES[latents]) if known else None
        vectors.append(array.reshape(steps, array.size // max(steps, 1)) if array is not None else None)
    answers = [tuple(ids or ()) for ids in trajectories["answer_ids"].to_pylist()]
    return tuple(
        QuestionToScore(text, tuple(vectors[first : first + samples]), tuple(answers[first : first + samples]))
        for text, first in zip(texts, range(0, len(vectors), samples), strict=True)
    )


def score_table(trajectories: pa.Table, scores: Sequence[Score]) -> pa.Table:
    """Turn the scores of a shard's trajectories into a table."""
    answered = [score.answer_score is not None for score in scores]
    columns = {
        "step_scores": [score.step_scores for score in scores],
        "score": [score.score for score in scores],
        "answer_score": [score.answer_score for score in scores],
        "score_prompt_flops": [score.prompt_flops for score in scores],
        "score_flops": [score.flops for score in scores],
        "answer_score_prompt_flops": [
            score.prompt_flops if known else None for score, known in zip(scores, answered, strict=True)
        ],
        "answer_score_flops": [
            score.answer_flops if known else None for score, known in zip(scores, answered, strict=True)
        ],
        "score_seconds": [score.seconds for score in scores],
        "score_error": [score.error for score in scores],
    }
    places = {name: trajectories[name] for name in ("question_id", "question_index", "sample_index")}
    return pa.table({**places, **columns}, schema=SCORE_SCHEMA)
