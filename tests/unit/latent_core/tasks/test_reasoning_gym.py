"""Problems of the reasoning-gym package, judged by the package."""

import json
import os
import pickle
import subprocess
import sys

import pytest

from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task
from latent_core.tasks.reasoning_gym import SEEDS, _source


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
