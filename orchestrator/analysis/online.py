"""Adaptive trials: what a budget rule came to that has decided question by question how many samples there are.

Every question is judged with the samples that it got. That is one point and no curve: questions differ in their
numbers, so a value at a fixed n beyond the first wave would be one of hard questions alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from latent_core.selection.aggregations import AGGREGATIONS, Outcomes, available
from latent_core.selection.estimators import FloatArray
from latent_core.tasks.base import Problem
from orchestrator.analysis.curves import Cost, CurvePoint, cost_of
from orchestrator.analysis.outcomes import join_outcomes, outcomes_of
from orchestrator.store.decisions import Decisions, IntArray
from orchestrator.store.trial import Trial


class AdaptiveOutcomes:
    """Outcomes of questions that differ in their numbers of samples, collected block by block."""

    def __init__(self, trial: Trial, decisions: Decisions, ready_samples: int) -> None:
        """Begin with no question.

        Args:
            trial: The trial.
            decisions: How far its questions have gone.
            ready_samples: Samples that every question has, which is what counts of those that are open.
        """
        self._trial, self._decisions = trial, decisions
        self.used: IntArray = np.where(decisions.settled, decisions.samples, ready_samples)
        self._parts: dict[int, list[tuple[IntArray, Outcomes, Cost]]] = {}

    def of_used(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that count: those of samples that their questions got from the rule."""
        used = self.used[records["question_index"].to_numpy(dtype=np.int64)]
        rows: pd.DataFrame = records[records["sample_index"].to_numpy(dtype=np.int64) < used]
        return rows

    def add(self, records: pd.DataFrame, problems: Sequence[Problem]) -> list[tuple[IntArray, Outcomes, pd.DataFrame]]:
        """Take a block of questions; returns it in groups of equally many samples: places in the block, and the rest.

        Args:
            records: The rows that count of neighbouring questions.
            problems: Those questions.
        """
        index = records["question_index"].to_numpy(dtype=np.int64)
        first, groups = int(index.min()), []
        used = self.used[first : first + len(problems)]
        for samples in np.unique(used).tolist():
            places = np.flatnonzero(used == samples)
            own = records[np.isin(index, first + places)]
            outcomes = outcomes_of(self._trial, own, [problems[place] for place in places.tolist()])
            self._parts.setdefault(samples, []).append((first + places, outcomes, cost_of(own)))
            groups.append((places, outcomes, own))
        return groups

    def points(self, aggregations: Sequence[str]) -> list[CurvePoint]:
        """Evaluate aggregations, each question with its own number of samples; nothing while a question is open.

        The point stands at the most samples that a question may get, and says how many there were.
        """
        budget = self._trial.budget
        if budget is None or self._decisions.open:
            return []
        all_parts = {used: join_outcomes([one for _, one, _ in parts]) for used, parts in self._parts.items()}
        known = [name for name in aggregations if all(name in available(joined) for joined in all_parts.values())]
        found = []
        for name in known:
            values: FloatArray = np.full(len(self.used), np.nan)
            flops = once = 0.0
            for samples, parts in self._parts.items():
                places = np.concatenate([own for own, _, _ in parts])
                values[places] = AGGREGATIONS[name](all_parts[samples], samples)
                cost = sum((one for _, _, one in parts), Cost())
                flops += cost.of(samples, AGGREGATIONS[name].scorer, budget.waves_to(samples))
                once += cost.of(samples, AGGREGATIONS[name].scorer)
            own = self._trial.name, self._trial.sampler, name, budget.last, values, flops
            found.append(CurvePoint(*own, used=int(self.used.sum()), flops_once=once))
        return found

    def summary(self) -> dict[str, Any]:
        """Return what the rule has decided, for `summary.json`."""
        settled = self._decisions.settled
        waves, questions = np.unique(self.used[settled], return_counts=True)
        return {
            **(self._trial.budget.budget.to_config() if self._trial.budget else {}),
            "mean_samples": float(self.used.mean()),
            "open": self._decisions.open,
            "questions_by_samples": dict(zip(map(str, waves.tolist()), questions.tolist(), strict=True)),
        }
