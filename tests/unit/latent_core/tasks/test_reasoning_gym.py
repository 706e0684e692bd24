"""Problems of the reasoning-gym package, judged by the package."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task
from latent_core.tasks.reasoning_gym import SEEDS, _source
from latent_core.tasks.repeats import overlap_with
from orchestrator.experiment.task_checks import check_outside, check_questions


def refusal(**settings: object) -> str:
    with pytest.raises(UserError) as caught:
        load_task(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    _source.cache_clear()
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    message = refusal(name="reasoning_gym:leg_counting")
    assert message.startswith("task reasoning_gym:leg_counting: the reasoning-gym package cannot be imported (")
    assert message.endswith("; run `pip install 'latentswarm[reasoning]'`")


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("reasoning_gym", reason="needs `pip install 'latentswarm[reasoning]'`")

    def test_split_and_count_determine_the_problems(self) -> None:
        tasks = {split: load_task(name="reasoning_gym:leg_counting", split=split, count=20) for split in SEEDS}
        assert tasks["test"].name == "reasoning_gym:leg_counting/test"
        assert tasks["test"].problems[3].question_id == "leg_counting-test-3"
        questions = [problem.question for task in tasks.values() for problem in task.problems]
        assert len(set(questions)) == 60
        _source.cache_clear()
        again = load_task(name="reasoning_gym:leg_counting", count=20)
        assert again.fingerprint == tasks["test"].fingerprint
        assert len({task.fingerprint for task in tasks.values()}) == 3

    @pytest.mark.parametrize("member", ["leg_counting", "chain_sum", "knights_knaves", "countdown"])
    def test_right_is_what_the_scorer_of_the_package_says(self, member: str) -> None:
        for problem in load_task(name=f"reasoning_gym:{member}", count=5).problems:
            assert problem.canonical(f"  {problem.answer}\n") == problem.answer
            assert problem.is_correct(problem.answer)
            assert not problem.is_correct("what?")
            assert not problem.is_correct(problem.canonical(" "))

    def test_an_answer_that_is_not_the_reference_may_be_right(self) -> None:
        [problem] = load_task(name="reasoning_gym:countdown", count=1).problems
        assert problem.is_correct(f"(({problem.answer}))")

    def test_problems_are_judged_alike_in_another_process(self) -> None:
        """Actors get problems and graders by name alone."""
        problems = load_task(name="reasoning_gym:knights_knaves", count=3).problems
        assert pickle.loads(pickle.dumps(problems)) == problems
        program = (
            "import json, sys; from latent_core.tasks.base import Problem\n"
            "for row in json.loads(sys.argv[1]): problem = Problem(**row); print(problem.is_correct(problem.answer))"
        )
        rows = [{**vars(problem)} for problem in problems]
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(rows)],
            env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["True"] * 3

    def test_problems_that_are_not_made_again_are_not_judged(self) -> None:
        problem = Problem("q", "Another question?", "1", grader=f"reasoning_gym:leg_counting:{SEEDS['test']}:1:0")
        with pytest.raises(UserError, match=r"differ from process to process; set .* PYTHONHASHSEED=0"):
            problem.is_correct("1")

    def test_a_scorer_that_fails_has_not_found_the_answer_right(self, monkeypatch: pytest.MonkeyPatch) -> None:
        [problem] = load_task(name="reasoning_gym:leg_counting", count=1).problems
        monkeypatch.setattr(_source("leg_counting", SEEDS["test"], 1), "score_answer", lambda answer, entry: 1 / 0)
        assert not problem.is_correct(problem.answer)

    def test_what_the_package_does_not_have(self) -> None:
        assert refusal(name="reasoning_gym:leg_count") == (
            "task reasoning_gym:leg_count: no such data set: did you mean 'leg_counting'?"
        )
        assert refusal(name="reasoning_gym:leg_counting", split="dev") == (
            "task reasoning_gym:leg_counting: unknown split 'dev'; use one of train, validation, test"
        )
        assert refusal(name="reasoning_gym:composite").startswith(
            "task reasoning_gym:composite: the package cannot make it: "
        )

    @pytest.mark.parametrize(
        ("member", "takes"),
        [
            ("game_of_life_halting", "'0'"),
            ("coin_flip", "'0'"),
            ("gsm_symbolic", "the number with the wrong sign"),
            ("decimal_arithmetic", "half of the digits"),
            ("puzzle24", "the answer of another problem"),
        ],
    )
    def test_scorers_that_take_wrong_answers_for_right_are_refused(self, member: str, takes: str) -> None:
        task = replace(load_task(name=f"reasoning_gym:{member}", count=24), recheck=None)
        with pytest.raises(UserError, match=f"^task reasoning_gym:{member}/test: its scorer takes {takes} for right"):
            list(check_outside(task, trust_grader=False))
        [remark] = check_outside(task, trust_grader=True)
        assert remark.endswith("(task.trust_grader)")

    @pytest.mark.parametrize("member", ["leg_counting", "power_function", "countdown", "syllogism", "n_queens", "dice"])
    def test_sound_ones_are_not(self, member: str) -> None:
        task = replace(load_task(name=f"reasoning_gym:{member}", count=24), recheck=None)
        assert list(check_outside(task, trust_grader=False)) == []

    @pytest.mark.parametrize(
        ("member", "cure"),
        [
            ("word_ladder", "set the environment variable PYTHONHASHSEED=0 wherever Python is started"),
            ("list_functions", "it cannot be judged, nor found again in a store; choose another"),
        ],
    )
    def test_what_differs_from_process_to_process_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, member: str, cure: str
    ) -> None:
        monkeypatch.delenv("PYTHONHASHSEED", raising=False)
        task = load_task(name=f"reasoning_gym:{member}", count=16)
        assert task.recheck is not None
        with pytest.raises(UserError, match=f"differ from process to process; {cure}$"):
            task.recheck()

    def test_what_depends_on_the_size_is_remarked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PYTHONHASHSEED", raising=False)
        said = {}
        for member in ("acre", "leg_counting"):
            recheck = load_task(name=f"reasoning_gym:{member}", count=8).recheck
            assert recheck is not None
            said[member] = recheck()
        assert said["leg_counting"] == []
        assert said["acre"] == [
            "its questions depend on task.count: results with another count are about other questions"
        ]

    def test_repeated_questions_and_those_of_train_are_counted(self) -> None:
        """Of 500 problems of this data set nearly all repeat each other, in whatever split."""
        task = load_task(name="reasoning_gym:tower_of_hanoi")
        repeats, train = check_questions(task)
        assert repeats == "412 of 500 questions repeat an earlier one"
        assert train == "497 of 500 stand in train too (500 questions)"
        assert task.train_questions is not None
        assert overlap_with(["?"], task.train_questions(), 60.0).compared == 500
        assert load_task(name="reasoning_gym:tower_of_hanoi", split="train", count=2).train_questions is None

    def test_a_reference_that_is_not_made_again_is_not_judged(self) -> None:
        [problem] = load_task(name="reasoning_gym:leg_counting", count=1).problems
        with pytest.raises(UserError, match="differ from process to process"):
            replace(problem, answer="-1").is_correct("-1")
