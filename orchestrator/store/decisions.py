"""Decisions of a budget rule: which questions go on, made of what the store holds and of nothing else.

So a command that goes on decides as the one that was killed, and a store that was sampled to the end says what a rule
would have done: it is asked wave by wave, and sees a question's samples up to that wave.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latent_core.budgets import Budget, GainTables, Prefix, parse_budget
from latent_core.errors import UserError
from latent_core.selection.estimators import token_probabilities
from latent_core.trajectory import CutAnswers
from orchestrator.store.counting import counted, without_confidence
from orchestrator.store.shards import BoolArray
from orchestrator.store.specs import ScoreStore, TrajectoryStore

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_RECORD_COLUMNS = ("answer", "error", "cut")
_CONFIDENCE_COLUMNS = ("answer_logprob", "answer_tokens")


@dataclass(frozen=True)
class WaveBudget:
    """Budget of a trial: waves, the rule that is asked after each of them, and what the rule has to be asked with.

    Attributes:
        budget: The rule and its waves.
        scored: Whether a LatentRM scores the trial.
        fitted: What was fitted on the LatentRM's validation questions, where the rule decides by it.
    """

    budget: Budget
    scored: bool = False
    fitted: GainTables | None = None

    def check(self) -> Self:
        """Return it, if its rule can be asked.

        Raises:
            UserError: If the rule needs what is not there.
        """
        self.budget.prepare(scored=self.scored, fitted=self.fitted)
        return self

    @property
    def first(self) -> int:
        """Samples that every question gets."""
        return self.budget.waves[0]

    @property
    def last(self) -> int:
        """Most samples that a question may get."""
        return self.budget.horizon

    @property
    def record_columns(self) -> tuple[str, ...]:
        """What a decision needs of a trajectory."""
        return _RECORD_COLUMNS + _CONFIDENCE_COLUMNS * self.budget.rule.reads_confidence

    def waves_to(self, samples: int) -> int:
        """Return how many waves it takes to get to so many samples."""
        return self.budget.waves.index(samples) + 1

    def decide(
        self,
        votes: IntArray,
        scores: FloatArray | None,
        contiguous: IntArray,
        confidences: FloatArray | None = None,
        confidence_weights: FloatArray | None = None,
    ) -> "Decisions":
        """Ask the rule wave by wave, as if the samples had come one wave after the other.

        Args:
            votes: Answers as codes, -1 does not vote, [Q, last].
            scores: Scores of a LatentRM, NaN where it has none, [Q, last]; None where nothing scores the trial.
            contiguous: How many of the first samples are known, [Q]; nothing behind them is looked at.
            confidences: Log-probabilities of answers, NaN where there is none, [Q, last]; None for rules that do not
                look at them.
            confidence_weights: Probabilities per token, 0 where there is none, [Q, last]; None likewise.
        """
        samples, settled = np.full(len(votes), self.first), np.zeros(len(votes), dtype=np.bool_)
        going, opinions = np.ones(len(votes), dtype=np.bool_), (scores, confidences, confidence_weights)
        go_on = self.budget.prepare(scored=self.scored, fitted=self.fitted)
        for wave in self.budget.waves:
            samples[going] = wave
            going &= contiguous >= wave
            if not going.any():
                break
            rows = np.flatnonzero(going)
            # A copy: a rule must not see what lies behind its prefix.
            known = (None if array is None else array[rows, :wave].copy() for array in opinions)
            stops = rows[~go_on(Prefix(votes[rows, :wave].copy(), *known))]
            settled[stops], going[stops] = True, False
        return Decisions(samples, settled, self.first, self.last)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        fitted = None if self.fitted is None else self.fitted.model_dump(mode="json")
        return {**self.budget.to_config(), **({} if fitted is None else {"fitted": fitted})}

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any], *, scored: bool) -> Self:
        """Return what `to_plain` has described."""
        config = {name: value for name, value in raw.items() if name != "fitted"}
        fitted = raw.get("fitted")
        return cls(parse_budget(config), scored, None if fitted is None else GainTables.model_validate(fitted))


@dataclass(frozen=True)
class Decisions:
    """How far each question of some goes.

    Attributes:
        samples: Samples of a settled question; of an open one, where its next wave ends; [Q].
        settled: Whether a question gets no further samples, bool [Q].
        first: Samples of the first wave, which all questions have.
        last: Most samples that a question may have.
    """

    samples: IntArray
    settled: BoolArray
    first: int
    last: int

    @property
    def open(self) -> int:
        """Number of questions that go on."""
        return int(np.count_nonzero(~self.settled))

    @property
    def next_wave(self) -> BoolArray:
        """Samples that open questions need before they are decided upon again, bool [Q, last]."""
        return (np.arange(self.last) < self.samples[:, None]) & ~self.settled[:, None]

    @property
    def wanted(self) -> BoolArray:
        """Samples that count, or may come to: nobody knows yet where open questions end; bool [Q, last]."""
        return np.arange(self.last) < np.where(self.settled, self.samples, self.last)[:, None]

    def within(self, ready: BoolArray) -> "Decisions":
        """Return what is left of them where something has gone: a question that lacks a sample is open again."""
        lacking = (self.wanted & ~ready).any(axis=1)
        return Decisions(self.samples, self.settled & ~lacking, self.first, self.last)


class SeenSamples:
    """Samples of a range of questions as a budget rule sees them, in memory.

    Attributes:
        sampled: Which samples are there, bool [Q, last].
        scored: Which of them have been to the scorer, of the same shape; all where nothing scores the trial.
        record_columns: What it needs of a trajectory.
    """

    def __init__(self, budget: WaveBudget, questions: range, cut_answers: CutAnswers, trial: str) -> None:
        """Begin with nothing.

        Args:
            budget: Waves and rule.
            questions: Indices of the questions.
            cut_answers: What becomes of answers that were cut off.
            trial: Name of the trial, for error messages.
        """
        self._budget, self._first, self._cut_answers, self._trial = budget, questions.start, cut_answers, trial
        self.record_columns = budget.record_columns
        shape = len(questions), budget.last
        self.sampled = np.zeros(shape, dtype=np.bool_)
        self.scored = np.full(shape, not budget.scored)
        self._answers = np.full(shape, None, dtype=object)
        self._scores = np.full(shape, np.nan)
        # As outcomes have them; only rules that look at them pay for them.
        reads = budget.budget.rule.reads_confidence
        self._confidences = (np.full(shape, np.nan), np.zeros(shape)) if reads else None

    def read(self, trajectories: TrajectoryStore, scores: ScoreStore | None) -> None:
        """Take what the store holds.

        Raises:
            DamagedShard: If a shard is not what its name says.
            UserError: As `add`.
        """
        end, last = self._first + len(self.sampled), self._budget.last
        self.add(trajectories.read(end, last, self.record_columns, first_question=self._first))
        if scores is not None:
            self.add_scores(scores.read(end, last, ["score"], first_question=self._first))

    def add(self, records: pd.DataFrame) -> None:
        """Take trajectories: rows with the columns question_index, sample_index and those of `record_columns`.

        Raises:
            UserError: If an older store does not tell which answers were cut off, or how sure the reasoner was of them
                and the rule looks at that.
        """
        if len(records):
            rows = counted(records, self._cut_answers, self._trial)
            place = self._place(rows)
            self._answers[place] = rows["answer"].where(~rows["failed"] & rows["answer"].notna(), None)
            if self._confidences is not None:
                self._add_confidences(rows, place)
            self.sampled[place] = True

    def add_scores(self, rows: pd.DataFrame) -> None:
        """Take scores: rows with the columns question_index, sample_index and score, NaN where there is none."""
        if len(rows):
            place = self._place(rows)
            self._scores[place] = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)
            self.scored[place] = True

    def _add_confidences(self, rows: pd.DataFrame, place: tuple[IntArray, IntArray]) -> None:
        assert self._confidences is not None
        if older := int(without_confidence(rows).sum()):
            raise UserError(
                f"{self._trial}: budget.rule {self._budget.budget.rule.describe()} looks at the reasoner's own "
                f"confidence, and {older:,} of its stored trajectories are older than the record of it; sample into "
                "another store.path, or take a rule that does not look at it"
            )
        logprob, tokens = (rows[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in _CONFIDENCE_COLUMNS)
        logprob = np.where(rows["failed"], np.nan, logprob)
        for known, values in zip(self._confidences, (logprob, token_probabilities(logprob, tokens)), strict=True):
            known[place] = values

    def _place(self, rows: pd.DataFrame) -> tuple[IntArray, IntArray]:
        question, sample = (rows[name].to_numpy(dtype=np.int64) for name in ("question_index", "sample_index"))
        return question - self._first, sample

    def decide(self) -> Decisions:
        """Ask the rule about every question, as far as its samples are there without a gap."""
        ready = self.sampled & self.scored
        votes = pd.factorize(self._answers.ravel())[0].astype(np.int64).reshape(ready.shape)
        contiguous = np.logical_and.accumulate(ready, axis=1).sum(axis=1)
        scores = self._scores if self._budget.scored else None
        return self._budget.decide(votes, scores, contiguous, *(self._confidences or ()))
