"""Confidence of the reasoner itself as aggregations: against all subsets, and what becomes of stores without it."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from latent_core.selection.aggregations import AGGREGATIONS, available
from orchestrator.analysis.outcomes import join_outcomes, outcomes_from_records

QUESTIONS, SAMPLES = 5, 6


def records(questions: range = range(QUESTIONS)) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    rows = [
        {
            "question_id": f"q{question}",
            "sample_index": sample,
            "answer": [None, "1", "2", "3"][generator.integers(4)],
            "error": None,
            "answer_logprob": float(-generator.exponential(2.0)),
            "answer_tokens": int(generator.integers(1, 6)),
        }
        for question in range(QUESTIONS)
        for sample in range(SAMPLES)
    ]
    rows[4] |= {"error": "broken", "answer": None, "answer_logprob": None, "answer_tokens": 0}
    frame = pd.DataFrame([row for row in rows if int(row["question_id"][1:]) in questions])
    return frame.assign(correct=frame["answer"] == "2")


def ids(questions: range = range(QUESTIONS)) -> list[str]:
    return [f"q{question}" for question in questions]


def by_hand(own: pd.DataFrame, n: int, aggregation: str) -> float:
    """Mean over all subsets of one question's samples; no two totals are equal."""
    credits = []
    for chosen in combinations(own.to_dict("records"), n):
        known = [one for one in chosen if pd.isna(one["error"])]
        if aggregation == "best_confidence":
            best = max(known, key=lambda one: one["answer_logprob"], default=None)
            credits.append(best is not None and best["correct"])
            continue
        totals: dict[str, float] = {}
        for one in known:
            if pd.notna(one["answer"]):
                weight = float(np.exp(one["answer_logprob"] / one["answer_tokens"]))
                totals[one["answer"]] = totals.get(one["answer"], 0.0) + weight
        credits.append(bool(totals) and max(totals, key=lambda answer: totals[answer]) == "2")
    return float(np.mean(credits))


@pytest.mark.parametrize("n", range(1, SAMPLES + 1))
@pytest.mark.parametrize("aggregation", ["best_confidence", "confidence_vote"])
def test_estimates_are_means_over_all_subsets(aggregation: str, n: int) -> None:
    frame = records()
    found = AGGREGATIONS[aggregation](outcomes_from_records(frame, ids()), n)
    wanted = [by_hand(own, n, aggregation) for _, own in frame.groupby("question_id")]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_ties_are_broken_at_random() -> None:
    frame = records(range(1)).assign(answer_logprob=-1.0, error=None)
    found = AGGREGATIONS["best_confidence"](outcomes_from_records(frame, ids(range(1))), SAMPLES)
    assert found[0] == pytest.approx(frame["correct"].mean())


def test_a_store_that_is_older_has_no_confidence() -> None:
    frame = records()
    for older in (frame.drop(columns="answer_logprob"), frame.assign(answer_logprob=np.nan)):
        assert available(outcomes_from_records(older, ids())) == ("coverage", "majority_vote")
    # One shard of many is enough: a vote in which some cannot take part would be another method.
    partly = frame.assign(answer_logprob=frame["answer_logprob"].where(frame["question_id"] != "q1"))
    assert available(outcomes_from_records(partly, ids())) == ("coverage", "majority_vote")
    first, rest = range(2), range(2, QUESTIONS)
    known = outcomes_from_records(records(first), ids(first))
    unknown = outcomes_from_records(records(rest).drop(columns="answer_logprob"), ids(rest))
    assert available(join_outcomes([known, unknown])) == ("coverage", "majority_vote")
    assert "confidence_vote" in available(known)
