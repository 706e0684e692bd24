"""From stored beams to the points of a curve: the best beam's answer, and the weighted vote among the beams."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from latent_core.selection.aggregations.majority_vote import majority_vote
from latent_core.selection.aggregations.weighted_vote import weighted_vote
from latent_core.selection.calibration import VoteCalibration
from latent_core.selection.estimators import FloatArray
from latent_core.tasks.base import Problem
from orchestrator.analysis.curves import CurvePoint
from orchestrator.analysis.cut_answers import judged
from orchestrator.analysis.outcomes import outcomes_from_records
from orchestrator.names import BEAM_SEARCH, BEAM_VOTE
from orchestrator.store.trial import Trial

_COLUMNS = (
    *("question_id", "answer", "correct", "error", "cut"),
    *("score", "flops", "prompt_flops", "score_flops", "score_prompt_flops"),
)


@dataclass(frozen=True)
class BeamResult:
    """What a beam search came to.

    Attributes:
        search: The search.
        n: B x C, continuations per step and question: as many latent steps are scored as in best-of-n.
        by_question: Value of every question [Q], under "beam_search" and "beam_vote".
        flops: All that was computed, pruned continuations and the LatentRM included.
        summary: Its counts for `summary.json`.
    """

    search: Trial
    n: int
    by_question: dict[str, FloatArray]
    flops: float
    summary: dict[str, Any]

    def points(self, trial: str) -> list[CurvePoint]:
        """Return its points of the curves of a sampled trial."""
        return [
            CurvePoint(trial, self.search.sampler, name, self.n, values, self.flops)
            for name, values in self.by_question.items()
        ]


def evaluate_search(
    search: Trial, problems: Sequence[Problem], calibration: VoteCalibration | None
) -> BeamResult | None:
    """Evaluate a finished search; None where the store does not hold all of its questions.

    Args:
        search: The search.
        problems: The questions that were asked.
        calibration: How the scores of its beams become vote weights; without it all votes weigh the same.
    """
    if not search.store.covered(len(problems), search.samples).all():
        return None
    ids = [problem.question_id for problem in problems]
    records = judged(search.store.read(len(problems), search.samples, _COLUMNS, question_ids=ids), search)
    outcomes = outcomes_from_records(records, ids, calibration=calibration)
    vote = majority_vote if calibration is None else weighted_vote
    # Beams are stored by rank, so that the first one is the best.
    best = outcomes.correct[:, 0].astype(np.float64)
    failed = records["failed"]
    return BeamResult(
        search,
        search.budgets[0],
        {BEAM_SEARCH: best, BEAM_VOTE: vote(outcomes, search.samples)},
        _flops(records),
        {
            "trial": search.name,
            "sampler": search.store.spec.sampler,
            "beams": search.samples,
            "candidates": search.budgets[0] // search.samples,
            "trajectories": len(records),
            "errors": int(failed.sum()),
            "first_error": next(iter(records.loc[failed, "error"]), None),
            "unparsable": int(records["unparsable"].sum()),
            "cut": int(records["cut"].sum()),
            "cut_answers": search.cut_answers,
            "store": search.store.spec.key,
        },
    )


def _flops(records: pd.DataFrame) -> float:
    costs = records.fillna({name: 0.0 for name in _COLUMNS if name.endswith("flops")})
    prompts = costs.groupby("question_id")[["prompt_flops", "score_prompt_flops"]].max()
    return float(prompts.to_numpy().sum() + costs[["flops", "score_flops"]].to_numpy().sum())
