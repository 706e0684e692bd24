"""Stored answers as they count: failures, answers that cannot be read, and answers that were cut off.

Decisions about further samples are made of the same answers as results, so both go through here.
"""

from typing import TYPE_CHECKING

from latent_core.errors import UserError
from latent_core.trajectory import CutAnswers

if TYPE_CHECKING:
    import pandas as pd


def counted(records: "pd.DataFrame", cut_answers: CutAnswers, trial: str) -> "pd.DataFrame":
    """Return records as they count.

    Args:
        records: One row per trajectory, with the columns answer, error and cut, and perhaps correct.
        cut_answers: What becomes of answers that were cut off.
        trial: Whose they are, for the error message.

    Returns:
        The records, in which an answer that was cut off is none, and wrong, where such answers abstain; with columns
        `failed`, `unparsable` and `cut`, of which a row has one at most: it failed, or its answer was cut off, or it
        was not and cannot be read.

    Raises:
        UserError: If an older store does not tell which answers were cut off.
    """
    if records["cut"].isna().any():
        raise UserError(
            f"{trial}: its stored answers are older than the count of cut answers, and none ended early, which would "
            "show the end token; let the checkpoint be there, which knows it"
        )
    failed = records["error"].notna()
    cut = records["cut"].astype(bool) & ~failed
    unparsable = records["answer"].isna() & ~failed & ~cut
    records = records.assign(failed=failed, unparsable=unparsable, cut=cut)
    if cut_answers == "vote":
        return records
    records = records.assign(answer=records["answer"].where(~cut, None))
    return records.assign(correct=records["correct"] & ~cut) if "correct" in records else records


def without_confidence(records: "pd.DataFrame") -> "pd.Series[bool]":
    """Return which trajectories have written an answer and do not say how sure the model was of it."""
    return records["answer_logprob"].isna() & records["error"].isna() & (records["answer_tokens"] > 0)
