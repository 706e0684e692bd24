"""Samples of single questions: what was asked, what every sample wrote, and what became of it. Imports no torch."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latent_core.tasks.base import Problem
from orchestrator.analysis.cut_answers import judged
from orchestrator.analysis.evaluation import blocks
from orchestrator.analysis.outcomes import outcomes_of
from orchestrator.analysis.per_question import chosen_answers
from orchestrator.names import GREEDY
from orchestrator.store.trial import Trial

State = Literal["right", "wrong", "unparsable", "cut", "failed"]
STATES: Final[tuple[State, ...]] = ("right", "wrong", "unparsable", "cut", "failed")
"""What becomes of a sample: its answer counts and is right or wrong, cannot be read, was cut off and abstains, or the
trajectory failed."""

BEST_OF_N, MAJORITY_VOTE = "best_of_n", "majority_vote"
_COLUMNS = ("question_id", "answer_text", "answer", "correct", "error", "cut", "flops", "prompt_flops", "latent_steps")
_CONFIDENCE = ("answer_logprob", "token_entropy", "answer_tokens")
_BEAM_COLUMNS = (*_COLUMNS, *_CONFIDENCE, "step_scores", "score")
_AT_ONCE = 32

Latents = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """One trajectory of a question.

    Attributes:
        index: Its number among the samples of its trial; the rank of a beam.
        text: What the model wrote behind its latent steps; None where the trajectory failed.
        answer: The answer that was read from the text, in its one spelling; None where there is none.
        state: What became of it.
        error: Why the trajectory failed, or None.
        cut: Whether the text was cut off, whatever becomes of such answers.
        score: The LatentRM's score of the latent trajectory; None without one.
        answer_score: Its score with the written answer.
        answer_logprob: Log-probability of its answer under the reasoner itself; None where that is not recorded.
        token_entropy: Mean entropy of the answer's tokens, in nats; None likewise.
        step_scores: Its reward at each latent step.
        latents: [T, hidden size]; None where they are not stored or not asked for.
        thoughts: The most likely token at each latent step, where they have been decoded.
    """

    index: int
    text: str | None
    answer: str | None
    state: State
    error: str | None = None
    cut: bool = False
    score: float | None = None
    answer_score: float | None = None
    answer_logprob: float | None = None
    token_entropy: float | None = None
    step_scores: tuple[float, ...] = ()
    latents: Latents | None = field(default=None, compare=False, repr=False)
    thoughts: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialSamples:
    """The samples of a question under one trial.

    Attributes:
        trial: Its name.
        samples: In order.
        chosen: The answer that each aggregation chooses among them, by its name; None where it has none.
        beams: The beams of each beam search of the trial, best first, by the name of the search.
    """

    trial: str
    samples: tuple[Sample, ...]
    chosen: Mapping[str, str | None] = field(default_factory=dict)
    beams: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How often each answer was given, the most frequent first, in the order of the samples among equals."""
        return dict(Counter(sample.answer for sample in self.samples if sample.answer is not None).most_common())

    @property
    def right(self) -> frozenset[str]:
        """The answers that are right."""
        return frozenset(sample.answer for sample in self.samples if sample.state == "right" and sample.answer)

    @property
    def choice(self) -> str | None:
        """The answer of best-of-N where a LatentRM has scored the samples, of the majority vote elsewhere."""
        return self.chosen.get(BEST_OF_N, self.chosen.get(MAJORITY_VOTE))

    @property
    def is_wrong(self) -> bool:
        """Whether that answer is wrong, or there is none."""
        return self.choice not in self.right

    @property
    def is_disputed(self) -> bool:
        """Whether no answer was given by more than half of the samples."""
        return 2 * max(self.counts.values(), default=0) <= len(self.samples)

    def has(self, state: State) -> bool:
        """Return whether a sample has come to this; one whose cut answer votes counts as cut too."""
        return any(sample.state == state or (state == "cut" and sample.cut) for sample in self.samples)


@dataclass(frozen=True)
class QuestionSamples:
    """All that was sampled of a question.

    Attributes:
        number: Index of the question in its task.
        problem: The question.
        greedy: The greedy trajectory; None where it is not in the store.
        trials: Trial by trial.
    """

    number: int
    problem: Problem
    greedy: Sample | None
    trials: tuple[TrialSamples, ...]


FILTERS: Final[Mapping[str, Callable[[TrialSamples], bool]]] = {
    "wrong": lambda of: of.is_wrong,
    "disputed": lambda of: of.is_disputed,
    "cut": lambda of: of.has("cut"),
    "unparsable": lambda of: of.has("unparsable"),
}
"""Kinds of questions that one may ask for."""


def read_samples(
    trials: Sequence[Trial],
    problems: Sequence[Problem],
    ready: Mapping[str, int],
    *,
    numbers: Sequence[int] | None = None,
    latents: bool = False,
) -> Iterator[QuestionSamples]:
    """Read question by question what was sampled, a few questions in memory at a time.

    Args:
        trials: The trials, greedy decoding among them if it is wanted.
        problems: All questions of the task.
        ready: How many samples of every question are in the store, by the name of the trial; none is 0.
        numbers: Which questions, by increasing index; None for all.
        latents: Whether to read the latents of those trials that have stored them.
    """
    shown = [trial for trial in trials if ready.get(trial.name, 0) > 0]
    if latents:
        shown = [with_latents(trial, len(problems), ready[trial.name]) for trial in shown]
    if latents:
        shown = [_with_latents(trial, len(problems), ready[trial.name]) for trial in shown]
    for first, end in _ranges(len(problems), numbers):
        wanted = range(first, end) if numbers is None else [number for number in numbers if first <= number < end]
        read = {trial.name: _of_trial(trial, problems, first, end, ready[trial.name], latents) for trial in shown}
        for number in wanted:
            greedy = read[GREEDY][number - first].samples[0] if GREEDY in read else None
            sampled = tuple(of_trial[number - first] for name, of_trial in read.items() if name != GREEDY)
            yield QuestionSamples(number, problems[number], greedy, sampled)


def _with_latents(trial: Trial, questions: int, samples: int) -> Trial:
    """Return a trial that reads latents where it has them all, whether or not it wanted them, as greedy decoding."""
    store = trial.store.with_latents()
    return replace(trial, store=store) if store.covered(questions, samples).all() else trial


def with_latents(trial: Trial, questions: int, samples: int) -> Trial:
    """Return a trial that reads shards with latents only, where these have everything; else as it is."""
    store = trial.store.with_latents()
    return replace(trial, store=store) if store.covered(questions, samples).all() else trial


def _ranges(questions: int, numbers: Sequence[int] | None) -> Iterator[tuple[int, int]]:
    for first in range(0, questions, _AT_ONCE):
        end = min(first + _AT_ONCE, questions)
        own = range(first, end) if numbers is None else [number for number in numbers if first <= number < end]
        if own:
            yield own[0], own[-1] + 1


def _of_trial(
    trial: Trial, problems: Sequence[Problem], first: int, end: int, samples: int, latents: bool
) -> list[TrialSamples]:
    """Return the samples of the questions `first` to `end - 1`."""
    # Greedy decoding has them where somebody has asked for them, though nobody needs them.
    columns = (*_COLUMNS, *_CONFIDENCE, *(("latents",) if latents and trial.store.latents != "none" else ()))
    [(records, asked)] = blocks(
        trial, problems, samples, columns, first_question=first, end_question=end, score_columns=("step_scores",)
    )
    chosen = chosen_answers(outcomes_of(trial, records, asked), records)
    rows = _samples(records)
    beams = {search.name: _beams(search, problems, first, end) for search in trial.searches}
    return [
        TrialSamples(
            trial.name,
            tuple(rows[place * samples : (place + 1) * samples]),
            {name: answers[place] for name, answers in chosen.items()},
            {name: found[place] for name, found in beams.items() if found},
        )
        for place in range(end - first)
    ]


def _beams(search: Trial, problems: Sequence[Problem], first: int, end: int) -> list[tuple[Sample, ...]]:
    """Return the beams of each question; none where the search is not finished for all of them."""
    if not search.store.covered(end, search.samples)[first:end].all():
        return []
    ids = [problem.question_id for problem in problems]
    records = search.store.read(end, search.samples, _BEAM_COLUMNS, first_question=first, question_ids=ids)
    rows = _samples(judged(records, search))
    return [tuple(rows[place : place + search.samples]) for place in range(0, len(rows), search.samples)]


def _samples(records: pd.DataFrame) -> list[Sample]:
    def column(name: str) -> list[Any]:
        return records[name].tolist() if name in records else [None] * len(records)

    columns = (
        *("sample_index", "answer_text", "answer", "error", "correct", "cut", "unparsable", "latent_steps"),
        *("score", "answer_score", "answer_logprob", "token_entropy", "step_scores", "latents"),
    )
    return [
        Sample(
            index=int(index),
            text=None if _text(error) is not None else _text(text),
            answer=_text(answer),
            state=_state(_text(error), bool(right), bool(cut), bool(unparsable), _text(answer)),
            error=_text(error),
            cut=bool(cut),
            score=_number(score),
            answer_score=_number(answer_score),
            answer_logprob=_number(logprob),
            token_entropy=_number(entropy),
            step_scores=() if step_scores is None or np.ndim(step_scores) == 0 else tuple(map(float, step_scores)),
            latents=None if latents is None else _by_step(latents, int(steps)),
        )
        for (
            index,
            text,
            answer,
            error,
            right,
            cut,
            unparsable,
            steps,
            score,
            answer_score,
            logprob,
            entropy,
            step_scores,
            latents,
        ) in zip(*map(column, columns), strict=True)
    ]


def _text(value: Any) -> str | None:
    # A column in which some texts are missing has None or NaN there.
    return None if value is None or pd.isna(value) else str(value)


def _state(error: str | None, right: bool, cut: bool, unparsable: bool, answer: str | None) -> State:
    if error is not None:
        return "failed"
    if unparsable:
        return "unparsable"
    if cut and answer is None:
        return "cut"
    return "right" if right else "wrong"


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _by_step(values: NDArray[Any], steps: int) -> Latents:
    rows: Latents = values.astype(np.float32).reshape(steps, -1) if steps else np.zeros((0, 0), np.float32)
    return rows
