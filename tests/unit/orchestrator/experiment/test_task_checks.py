"""What is found out about questions before they are asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE, WordLevel

from latent_core.answers.grading import GRADERS, Grader, find_grader
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.tasks.base import Problem, Task
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment import task_checks
from orchestrator.experiment.plan import Plan, make_plan
from orchestrator.experiment.task_checks import check_outside, check_questions

ASKED = "ann has {} pens ?"


def plan(tmp_path: Path, checkpoint: Path, questions: list[str], **task: Any) -> Plan:
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": one, "answer": 1} for one in questions]))
    return make_plan(parse_config(RunConfig, {"checkpoint": str(checkpoint), "task": {"path": str(data), **task}}))


def refusal(*arguments: Any, **task: Any) -> str:
    with pytest.raises(UserError) as caught:
        plan(*arguments, **task)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_to_remark(tmp_path: Path, tiny_checkpoint: Path) -> None:
    made = plan(tmp_path, tiny_checkpoint, [ASKED.format(number) for number in range(4)])
    assert made.remarks == ("all questions differ",)


def test_text_without_a_token_is_counted_with_an_example(tmp_path: Path, tiny_checkpoint: Path) -> None:
    questions = [
        ASKED.format(3),
        ASKED.format(4),
        "ann has 3 pens and ben has 4 pens ?",
        "ann sells 9 pens to ben . ben has 3 ?",
    ]
    made = plan(tmp_path, tiny_checkpoint, questions)
    assert made.remarks[0] == (
        "2 of 4 questions have text that the tokenizer cannot represent, most of all question 2: 11.5% of it, such as "
        "'a', 'd', 'n'"
    )


@pytest.mark.parametrize("question", ["a" * 100_000, "wie viele Stifte hat ann ?", "\u6f22\u5b57 \u6f22\u5b57 3 ?"])
def test_a_question_of_which_most_is_lost_is_refused(tmp_path: Path, tiny_checkpoint: Path, question: str) -> None:
    message = refusal(tmp_path, tiny_checkpoint, [ASKED.format(3), question])
    assert message.startswith(f"question 1: the tokenizer of {tiny_checkpoint} cannot represent ")
    assert message.endswith("drop it, or choose a checkpoint that knows these words")


def test_questions_beyond_the_limit_are_not_looked_at(tmp_path: Path, tiny_checkpoint: Path) -> None:
    assert plan(tmp_path, tiny_checkpoint, [ASKED.format(3), "was ?"], limit=1).remarks == ("all questions differ",)


def with_vocabulary(checkpoint: Path, tokenizer: Tokenizer, tmp_path: Path) -> Checkpoint:
    """A checkpoint with another tokenizer behind the same interface."""
    opened = Checkpoint.open(str(checkpoint))
    opened.tokenizer._tokenizer = tokenizer
    return opened


def test_letters_that_vanish_are_lost_though_nothing_is_unknown(tmp_path: Path, tiny_checkpoint: Path) -> None:
    backend = Tokenizer(BPE({letter: index for index, letter in enumerate("anhspe 3?<|strt-l>")}, []))
    backend.decoder = decoders.Fuse()
    checkpoint = with_vocabulary(tiny_checkpoint, backend, tmp_path)
    task = Task("t", (Problem("q", "\u6f22" * 9 + " 3", "1"),))
    prompts = [checkpoint.prompt_ids(problem.question) for problem in task.problems]
    with pytest.raises(UserError, match=r"question q: .* cannot represent 90% of it"):
        list(task_checks.check_prompts(checkpoint, task, prompts))


def test_a_tokenizer_that_cannot_read_a_question_is_one_line(tmp_path: Path, tiny_checkpoint: Path) -> None:
    checkpoint = with_vocabulary(tiny_checkpoint, Tokenizer(WordLevel({"a": 0}, unk_token="none")), tmp_path)
    with pytest.raises(UserError, match=r"^checkpoint .*: its tokenizer cannot read 'what\?': "):
        checkpoint.prompt_ids("what?")


def test_repeated_questions_are_counted(tmp_path: Path, tiny_checkpoint: Path) -> None:
    made = plan(tmp_path, tiny_checkpoint, [ASKED.format(number % 3) for number in range(5)])
    assert made.remarks == ("2 of 5 questions repeat an earlier one",)


def task_of(*questions: str, **changes: Any) -> Task:
    return Task("t", tuple(Problem(f"q{index}", one, "1") for index, one in enumerate(questions)), **changes)


def test_questions_of_train_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("a", "b", "c", train_questions=lambda: ["c", "d", "a"])
    assert list(check_questions(task)) == ["all questions differ", "2 of 3 stand in train too (3 questions)"]
    monkeypatch.setattr(task_checks, "_TRAIN_SECONDS", -1.0)
    assert list(check_questions(task))[1] == "1 of 3 stand in train too (the first 1 questions)"
    # A data set without a train split has nothing to say.
    assert list(check_questions(replace(task, train_questions=list))) == ["all questions differ"]


def test_a_train_split_that_cannot_be_had_is_no_reason_to_stop() -> None:
    def absent() -> list[str]:
        raise UserError("task t: no network")

    assert list(check_questions(task_of("a", train_questions=absent))) == [
        "all questions differ",
        "how many of them stand in train is not known: task t: no network",
    ]


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Task]:
    """A task whose scorer takes anything for right."""
    monkeypatch.setitem(GRADERS._entries, "lenient", Grader(lambda text: text or None, lambda q, r, a: True))
    find_grader.cache_clear()
    problems = tuple(Problem(f"q{index}", f"{index}?", str(index), grader="lenient") for index in range(20))
    return lambda: Task("outside", problems)


def test_a_scorer_that_takes_anything_is_refused_or_trusted_by_name(lenient: Callable[[], Task]) -> None:
    with pytest.raises(UserError) as caught:
        list(check_outside(lenient(), trust_grader=False))
    assert str(caught.value).startswith("task outside: its scorer takes '0' for right in ")
    assert str(caught.value).endswith("; choose another task, or set task.trust_grader=true")
    [remark] = check_outside(lenient(), trust_grader=True)
    assert remark.startswith("its scorer takes '0' for right in ")
    find_grader.cache_clear()


def test_what_made_a_task_is_asked_again() -> None:
    assert list(check_outside(task_of("a", recheck=lambda: ["by the way"]), trust_grader=False)) == ["by the way"]

    def changes() -> list[str]:
        raise UserError("task t: differs")

    with pytest.raises(UserError, match="differs"):
        list(check_outside(task_of("a", recheck=changes), trust_grader=True))
