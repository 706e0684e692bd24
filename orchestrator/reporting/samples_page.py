"""Page of samples: one static HTML file with every question, its answers, and where its samples are at each step."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from orchestrator.analysis.planes import plane
from orchestrator.analysis.samples import BEST_OF_N, STATES, QuestionSamples, Sample, TrialSamples
from orchestrator.files import write_atomically
from orchestrator.reporting.layout import title

LARGEST_PAGE: Final = 30_000_000
"""Bytes of a page at most."""
_MOST_SAMPLES = 64
_SHORT = 160
_LONGEST_TEXT = 4_000
_RESERVED = 100_000


@dataclass
class SamplesPage:
    """A page in the making; questions are added one by one, and thinned out evenly where they would be too many bytes.

    Attributes:
        heading: What stands above the page.
        total: Number of questions of the task.
        largest: Bytes of the page at most.
        stride: Of the questions that were added every so many are on the page.
    """

    heading: str
    total: int
    largest: int = LARGEST_PAGE
    stride: int = 1
    _added: int = 0
    _parts: list[tuple[int, dict[str, Any], str]] = field(default_factory=list)
    _bytes: int = _RESERVED
    _trials: list[str] = field(default_factory=list)
    _scored: bool = False
    _words: dict[str, int] = field(default_factory=dict)

    def add_all(self, questions: Iterable[QuestionSamples]) -> None:
        """Add questions in order."""
        # The matrices of a question are so small that threads take ten times as long to share them.
        with threadpool_limits(1):
            for question in questions:
                if self._added % self.stride == 0:
                    self._add(question)
                self._added += 1

    def _add(self, question: QuestionSamples) -> None:
        self._trials = self._trials or [trial.trial for trial in question.trials]
        self._scored = self._scored or any(BEST_OF_N in trial.chosen for trial in question.trials)
        line, detail = _line(question), _json(self._detail(question))
        self._parts.append((self._added, line, detail))
        self._bytes += len(detail) + len(_json(line)) + 80
        while self._bytes > self.largest and len(self._parts) > 1:
            self.stride *= 2
            self._parts = [part for part in self._parts if part[0] % self.stride == 0]
            self._bytes = _RESERVED + sum(len(detail) + len(_json(line)) + 80 for _, line, detail in self._parts)

    @property
    def shown(self) -> int:
        """Number of questions on the page."""
        return len(self._parts)

    def note(self) -> str:
        """Say what is not on the page; empty where all is."""
        if self.stride == 1:
            return f"{self.shown:,} questions"
        return (
            f"{self.shown:,} of {self._added:,} questions, one of every {self.stride}: all would be more than "
            f"{self.largest // 1_000_000} MB"
        )

    def write(self, path: Path) -> None:
        """Write the page, which loads nothing from elsewhere."""
        meta = {
            "title": self.heading,
            "note": self.note(),
            "total": self.total,
            "trials": self._trials,
            "choice": f"whether the answer of {title(BEST_OF_N) if self._scored else 'the majority vote'} is right",
            "questions": [line for _, line, _ in self._parts],
            "words": list(self._words),
        }
        scripts = [f'<script type="application/json" id="meta">{_json(meta)}</script>']
        scripts += [
            f'<script type="application/json" id="q{line["number"]}">{detail}</script>'
            for _, line, detail in self._parts
        ]
        template = resources.files("orchestrator.reporting").joinpath("samples_page.html").read_text(encoding="utf-8")
        head, _, tail = template.partition("<!--DATA-->")
        write_atomically(path, f"{head}{chr(10).join(scripts)}{tail}")

    def _detail(self, question: QuestionSamples) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "id": question.problem.question_id,
            "question": question.problem.question,
            "reference": question.problem.answer,
            "trials": [self._trial(index, trial) for index, trial in enumerate(question.trials)],
        }
        if (greedy := question.greedy) is not None:
            detail["greedy"] = {"state": STATES.index(greedy.state), "text": _text(greedy)}
            if greedy.thoughts:
                detail["greedy"]["thoughts"] = list(greedy.thoughts)
        if planes := _planes(question):
            detail["planes"] = planes
        return detail

    def _trial(self, index: int, trial: TrialSamples) -> dict[str, Any]:
        shown = trial.samples[:_MOST_SAMPLES]
        texts: dict[str, int] = {}
        answers: dict[str, int] = {}
        plain: dict[str, Any] = {
            "name": trial.trial,
            "index": index,
            "total": len(trial.samples),
            "samples": [
                [
                    STATES.index(sample.state),
                    -1 if sample.answer is None else answers.setdefault(sample.answer, len(answers)),
                    texts.setdefault(_text(sample), len(texts)),
                ]
                for sample in shown
            ],
            "chosen": {title(name): [answer, answer in trial.right] for name, answer in trial.chosen.items()},
            "beams": {
                name: [
                    [STATES.index(beam.state), _rounded(beam.score), list(map(_rounded, beam.step_scores)), _text(beam)]
                    for beam in beams
                ]
                for name, beams in trial.beams.items()
            },
        }
        plain |= {"texts": list(texts), "answers": list(answers)}
        if any(sample.score is not None for sample in shown):
            plain["scores"] = [_rounded(sample.score) for sample in shown]
            plain["rewards"] = [list(map(_rounded, sample.step_scores)) for sample in shown]
        if any(sample.answer_score is not None for sample in shown):
            plain["aware"] = [_rounded(sample.answer_score) for sample in shown]
        if any(sample.answer_logprob is not None for sample in shown):
            plain["sure"] = [_rounded(sample.answer_logprob) for sample in shown]
        if any(sample.thoughts for sample in shown):
            number = self._words
            plain["thoughts"] = [[number.setdefault(word, len(number)) for word in sample.thoughts] for sample in shown]
        return plain


def _line(question: QuestionSamples) -> dict[str, Any]:
    short = " ".join(question.problem.question.split())
    return {
        "number": question.number,
        "id": question.problem.question_id,
        "short": short if len(short) <= _SHORT else short[:_SHORT] + "...",
        "greedy": -1 if question.greedy is None else STATES.index(question.greedy.state),
        "trials": [
            {
                "samples": len(trial.samples),
                "right": sum(sample.state == "right" for sample in trial.samples),
                "distinct": len(trial.counts),
                "top": max(trial.counts.values(), default=0),
                "chosen": int(not trial.is_wrong),
                **{
                    state: sum(sample.state == state or (state == "cut" and sample.cut) for sample in trial.samples)
                    for state in ("cut", "unparsable", "failed")
                },
            }
            for trial in question.trials
        ],
    }


def _planes(question: QuestionSamples) -> list[dict[str, Any]]:
    """Return where the samples are at each step, in thousandths of the farthest from the middle of what is there."""
    shown = [trial.samples[:_MOST_SAMPLES] for trial in question.trials]
    greedy = () if question.greedy is None else (question.greedy,)
    rows = [*shown, greedy]
    steps = max((len(sample.latents) for of in rows for sample in of if sample.latents is not None), default=0)
    return [_plane_of_step(rows, step) for step in range(steps)]


def _plane_of_step(rows: Sequence[Sequence[Sample]], step: int) -> dict[str, Any]:
    there = [[sample.latents is not None and step < len(sample.latents) for sample in of] for of in rows]
    groups = [
        np.array([sample.latents[step] for sample in of if sample.latents is not None and step < len(sample.latents)])
        for of in rows
    ]
    found = plane(groups)
    everything = np.concatenate([points for points in found.points if len(points)])
    middle = (everything.max(axis=0) + everything.min(axis=0)) / 2
    extent = float(np.abs(everything - middle).max()) or 1.0
    placed = [np.rint((points - middle) / extent * 1000).astype(int).tolist() for points in found.points]
    points = []
    for known, own in zip(there, placed, strict=True):
        coordinates = iter(own)
        points.append([next(coordinates) if is_known else None for is_known in known] if any(known) else None)
    *of_trials, of_greedy = points
    return {
        "share": None if np.isnan(found.share) else round(found.share, 4),
        "points": of_trials,
        "greedy": of_greedy[0] if of_greedy else None,
    }


def _text(sample: Sample) -> str:
    said = (sample.error if sample.text is None else sample.text) or ""
    return said if len(said) <= _LONGEST_TEXT else f"{said[:_LONGEST_TEXT]} ... ({len(said):,} characters)"


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 3)


def _json(content: Any) -> str:
    """Return JSON that cannot end the script element it stands in, whatever a text holds."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
