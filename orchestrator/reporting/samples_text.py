"""Samples of a question for a terminal and as JSON: answers with their counts and scores, beams, thoughts by step."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.samples import QuestionSamples, Sample, TrialSamples
from orchestrator.reporting.layout import title
from orchestrator.reporting.titled_table import titled_table

_COLOURS = {"right": "green", "wrong": "red", "cut": "yellow", "unparsable": "yellow", "failed": "magenta"}
_LONGEST = 400
_MOST_THOUGHTS = 8
_MOST_BEAMS = 8


def render_question(of: QuestionSamples, questions: int) -> Iterator[RenderableType]:
    """Lay out everything about a question.

    Args:
        of: The question.
        questions: Number of questions of the task.
    """
    yield Text.assemble(
        (f"{of.problem.question_id}", "bold"), (f"  question {of.number + 1:,} of {questions:,}", "dim")
    )
    yield Text(of.problem.question)
    yield Text.assemble(("reference  ", "dim"), of.problem.answer)
    if of.greedy is not None:
        yield Text.assemble(("greedy     ", "dim"), _verdict(of.greedy), "  ", _written(of.greedy))
        if of.greedy.thoughts:
            yield Text.assemble(("thoughts   ", "dim"), _thoughts(of.greedy))
    for trial in of.trials:
        yield Text("")
        yield _answers(trial)
        yield from _choices(trial)
        for name, beams in trial.beams.items():
            yield Text("")
            yield _beams(name, beams)
    yield Text("")


def as_plain(of: QuestionSamples) -> dict[str, Any]:
    """Return a question as JSON can hold it."""
    return {
        "question_id": of.problem.question_id,
        "number": of.number,
        "question": of.problem.question,
        "reference": of.problem.answer,
        "greedy": None if of.greedy is None else _plain_sample(of.greedy),
        "trials": [
            {
                "trial": trial.trial,
                "answers": [
                    {"answer": answer, "count": count, "right": answer in trial.right}
                    for answer, count in trial.counts.items()
                ],
                "chosen": dict(trial.chosen),
                "samples": [_plain_sample(sample) for sample in trial.samples],
                "beams": {name: [_plain_sample(beam) for beam in beams] for name, beams in trial.beams.items()},
            }
            for trial in of.trials
        ],
    }


def _plain_sample(sample: Sample) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "index": sample.index,
        "text": sample.text,
        "answer": sample.answer,
        "state": sample.state,
        "cut": sample.cut,
    }
    optional = {
        "error": sample.error,
        "score": sample.score,
        "answer_score": sample.answer_score,
        "answer_logprob": sample.answer_logprob,
        "token_entropy": sample.token_entropy,
        "step_scores": list(sample.step_scores) or None,
        "thoughts": list(sample.thoughts) or None,
    }
    return plain | {key: value for key, value in optional.items() if value is not None}


def _answers(trial: TrialSamples) -> Table:
    """Lay out the distinct answers of a trial: an answer that counts is a line, and so is each other kind of end."""
    scored = any(sample.score is not None for sample in trial.samples)
    aware = any(sample.answer_score is not None for sample in trial.samples)
    sure = any(sample.answer_logprob is not None for sample in trial.samples)
    table = titled_table(f"{trial.trial}, {len(trial.samples)} samples")
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("answer", overflow="fold", max_width=28)
    own = ["best log p"] if sure else []
    for name in (*(["best score"] if scored else []), *(["with answer"] if aware else []), *own):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("text of the first such sample", overflow="fold")
    has_thoughts = any(sample.thoughts for sample in trial.samples)
    if has_thoughts:
        table.add_column("thoughts, sample by sample", overflow="fold")
    for group in groups(trial):
        first = group[0]
        cells: list[RenderableType] = [str(len(group)), _verdict(first), Text(first.answer or "-")]
        cells += [_best(group, "score")] if scored else []
        cells += [_best(group, "answer_score")] if aware else []
        cells += [_best(group, "answer_logprob")] if sure else []
        cells.append(_written(first))
        if has_thoughts:
            cells.append(_distinct_thoughts(group))
        table.add_row(*cells)
    return table


def groups(trial: TrialSamples) -> list[list[Sample]]:
    """Group samples by what became of them and by their answer, the largest group first."""
    found: dict[tuple[str, str | None], list[Sample]] = {}
    for sample in trial.samples:
        found.setdefault((sample.state, sample.answer), []).append(sample)
    return sorted(found.values(), key=len, reverse=True)


def _choices(trial: TrialSamples) -> Iterator[Text]:
    for name, answer in trial.chosen.items():
        verdict = "none" if answer is None else "right" if answer in trial.right else "wrong"
        yield Text.assemble((f"{title(name)}: ", "dim"), answer or "-", "  ", (verdict, _COLOURS.get(verdict, "")))


def _beams(name: str, beams: Sequence[Sample]) -> Table:
    shown = name if len(beams) <= _MOST_BEAMS else f"{name}, the best {_MOST_BEAMS} of {len(beams)} beams"
    table = titled_table(shown)
    table.add_column("beam", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("rewards by step", overflow="fold")
    table.add_column("text", overflow="fold")
    for beam in beams[:_MOST_BEAMS]:
        rewards = " ".join(f"{score:+.2f}" for score in beam.step_scores)
        table.add_row(str(beam.index + 1), _verdict(beam), _best([beam], "score"), Text(rewards), _written(beam))
    return table


def _verdict(sample: Sample) -> Text:
    note = " (cut)" if sample.cut and sample.state != "cut" else ""
    return Text(sample.state + note, style=_COLOURS[sample.state])


def _written(sample: Sample) -> Text:
    said = sample.error if sample.text is None else sample.text
    said = " ".join((said or "").split())
    return Text(said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ... ({len(said):,} characters)")


def _best(group: Sequence[Sample], name: str) -> Text:
    scores = [score for sample in group if (score := getattr(sample, name)) is not None]
    return Text(f"{max(scores):+.3f}" if scores else "-")


def _thoughts(sample: Sample) -> Text:
    return Text(" | ".join(thought.strip() or repr(thought) for thought in sample.thoughts))


def _distinct_thoughts(group: Sequence[Sample]) -> Text:
    counts: dict[str, int] = {}
    for sample in group:
        told = _thoughts(sample).plain
        counts[told] = counts.get(told, 0) + 1
    frequent = sorted(counts.items(), key=lambda item: -item[1])
    lines = [f"{count} x {told}" for told, count in frequent[:_MOST_THOUGHTS]]
    more = len(frequent) - _MOST_THOUGHTS
    return Text("\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]))
