"""Samples of a run on disk: found, filtered, their thoughts decoded if wanted, and shown."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from latent_core.tasks.base import Task
from orchestrator.analysis.cut_answers import with_end_ids
from orchestrator.analysis.samples import FILTERS, Latents, QuestionSamples, Sample, TrialSamples, read_samples
from orchestrator.config.run import RunConfig
from orchestrator.console import make_console, masked, say, widened
from orchestrator.experiment.run_directory import RunDirectory, group_directories, open_run
from orchestrator.jobs.run_reports import config_of, task_of
from orchestrator.names import GREEDY
from orchestrator.reporting.samples_page import SamplesPage
from orchestrator.reporting.samples_text import as_plain, render_question
from orchestrator.reporting.tables import print_places
from orchestrator.store.trial import Trial, disregard_damaged

Decoder = Callable[[Latents], list[str]]
"""From latents [T, hidden size] to the text of the most likely token at each."""

Form = Literal["text", "json", "html"]
PAGE_FILE = "samples.html"


@dataclass(frozen=True)
class Wanted:
    """What a user asks to see.

    Attributes:
        questions: Ids of questions; none for all.
        filters: Names in `FILTERS` that have to hold together.
        trial: Name of the one trial to show; None for all.
        thoughts: Whether to decode latents.
        insists: Whether it is an error if they cannot be decoded.
    """

    questions: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    trial: str | None = None
    thoughts: bool = False
    insists: bool = False


def show_samples(directory: Path, wanted: Wanted, form: Form) -> None:
    """Show samples of a run; starts nothing and samples nothing.

    Raises:
        UserError: If it is no run directory, its questions cannot be had, or what is asked for is not there.
    """
    if len(group_directories(directory)) > 1:
        raise UserError(f"{directory}: a group of sweeps; name the directory of one of them")
    run = open_run(directory)
    config = config_of(run)
    task = task_of(run, config)
    remarks = make_console()
    trials = _trials(run, with_end_ids(run.trials, config.checkpoint), wanted)
    numbers = _numbers(task, wanted)
    try:
        everything = [one for trial in trials for one in trial.with_searches]
        for damaged in disregard_damaged(everything, [problem.question_id for problem in task.problems]):
            say(remarks, damaged)
        ready = {trial.name: trial.coverage(len(task.problems)).sampled for trial in trials}
        samples = {name: int(sampled.all(axis=0).cumprod().sum()) for name, sampled in ready.items()}
        if not any(count for name, count in samples.items() if name != GREEDY):
            why = run.lost_store() or "`latentswarm status` says what the store has"
            raise UserError(f"{run.out}: there is no trial yet of which every question has a sample; {why}")
        reads_latents = wanted.thoughts or form == "html"
        found = read_samples(trials, task.problems, samples, numbers=numbers, latents=reads_latents)
        shown: Iterator[QuestionSamples] = (one for one in found if _is_wanted(one, wanted.filters))
        if wanted.thoughts:
            shown = _with_thoughts(shown, _decoder(config, trials, wanted, remarks))
        _show(shown, form, run, config, task, remarks)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UserError(f"store.path {masked(config.store.path)}: cannot be read: {error}") from error


def _trials(run: RunDirectory, trials: Sequence[Trial], wanted: Wanted) -> list[Trial]:
    if wanted.trial is None:
        return list(trials)
    names = [trial.name for trial in trials if trial.name != GREEDY]
    if wanted.trial not in names:
        raise UserError(f"--trial {wanted.trial}: {run.out} has no such trial; {nearest_hint(wanted.trial, names)}")
    return [trial for trial in trials if trial.name in (GREEDY, wanted.trial)]


def _numbers(task: Task, wanted: Wanted) -> list[int] | None:
    if not wanted.questions:
        return None
    places = {problem.question_id: number for number, problem in enumerate(task.problems)}
    for asked in wanted.questions:
        if asked not in places:
            raise UserError(
                f"--question {asked}: task {task.name} asks no such question; {nearest_hint(asked, list(places))}"
            )
    return sorted({places[asked] for asked in wanted.questions})


def _is_wanted(question: QuestionSamples, filters: Sequence[str]) -> bool:
    return not filters or any(all(FILTERS[name](trial) for name in filters) for trial in question.trials)


def _decoder(config: RunConfig, trials: Sequence[Trial], wanted: Wanted, remarks: Console) -> Decoder | None:
    """Read the output head that decodes latents; None with a remark where it cannot be, or has nothing to do."""
    if all(not any(latents != "none" for _, latents in trial.store.files()) for trial in trials):
        reason = "thoughts are decoded from latents, and the store has none (store.latents: none)"
    else:
        from latent_core.models.checkpoint import Checkpoint
        from latent_core.models.thought_decoder import ThoughtDecoder

        try:
            checkpoint = Checkpoint.open(config.checkpoint)
            if checkpoint.fingerprint == trials[0].store.spec.checkpoint:
                head, tokenizer = ThoughtDecoder.of(checkpoint), checkpoint.tokenizer
                return lambda latents: [str(tokenizer.decode([token])) for token in head.decode(latents).tolist()]
            reason = f"thoughts: checkpoint {config.checkpoint} is no longer the one that was sampled from"
        except UserError as error:
            reason = f"thoughts: {error}"
    if wanted.insists:
        raise UserError(f"--thoughts: {reason.removeprefix('thoughts: ')}")
    say(remarks, f"{reason}; what is shown goes without")
    return None


def _with_thoughts(questions: Iterator[QuestionSamples], decoder: Decoder | None) -> Iterator[QuestionSamples]:
    def thinking(sample: Sample) -> Sample:
        if decoder is None or sample.latents is None or not len(sample.latents):
            return sample
        return replace(sample, thoughts=tuple(decoder(sample.latents)))

    def of_trial(trial: TrialSamples) -> TrialSamples:
        return replace(trial, samples=tuple(map(thinking, trial.samples)))

    for question in questions:
        greedy = None if question.greedy is None else thinking(question.greedy)
        yield replace(question, greedy=greedy, trials=tuple(map(of_trial, question.trials)))


def _show(
    questions: Iterator[QuestionSamples], form: Form, run: RunDirectory, config: RunConfig, task: Task, remarks: Console
) -> None:
    if form == "html":
        page = SamplesPage(f"{config.checkpoint} on {task.name}", len(task.problems))
        page.add_all(questions)
        if page.shown:
            page.write(run.out / PAGE_FILE)
            print_places([("page", f"{run.out / PAGE_FILE} ({page.note()})")], Console())
        shown = page.shown
    elif form == "json":
        shown = sum(1 for question in questions if sys.stdout.write(json.dumps(as_plain(question)) + "\n"))
    else:
        shown = _show_text(questions, len(task.problems))
    if not shown:
        say(remarks, f"no question of {len(task.problems):,} is like that")


def _show_text(questions: Iterator[QuestionSamples], total: int) -> int:
    shown = 0

    def texts() -> Iterator[str]:
        nonlocal shown
        for question in questions:
            if shown:
                yield "\n"
            shown += 1
            stream = io.StringIO()
            output = Console(file=stream, force_terminal=sys.stdout.isatty(), width=Console().width)
            widened(output)
            for part in render_question(question, total):
                output.print(part)
            yield stream.getvalue()

    if sys.stdout.isatty():
        click.echo_via_pager(texts())
    else:
        for text in texts():
            sys.stdout.write(text)
    return shown
