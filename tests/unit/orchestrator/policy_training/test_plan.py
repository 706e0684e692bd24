"""What `train-policy` finds out before it starts anything, and says in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from latent_core.errors import UserError
from latent_core.tasks.loading import load_task
from orchestrator.cli import main
from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.policy_training.plan import PolicyPlan, plan_policy

CONFIG: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "count": 64},
    "validation": {"task": {"name": "word_problems", "count": 16}},
    "sampler": {"kind": "mc_dropout", "p": 0.1},
    "policy": {"questions_per_update": 8},
}


def planned(**changes: Any) -> PolicyPlan:
    return plan_policy(parse_config(TrainPolicyConfig, {**CONFIG, **changes}))


def questions_file(folder: Path, number: int, name: str = "own.jsonl") -> str:
    file = folder / name
    rows = [{"question": f"ann has {index} pens . how many pens ?", "answer": str(index)} for index in range(number)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def test_splits_are_the_tasks_own() -> None:
    plan = planned()
    train = load_task(name="word_problems", split="train", count=64).problems
    validation = load_task(name="word_problems", split="validation", count=16).problems
    assert plan.train == tuple(train)
    assert plan.validation == tuple(validation)
    assert (plan.in_validation, plan.in_test) == (0, 0)
    assert plan.test == "512 test questions compared"
    assert plan.rollouts_per_update == 8 * 4 * 16


def test_a_share_of_the_training_questions_is_held_out_where_there_are_no_others(tmp_path: Path) -> None:
    task = {"path": questions_file(tmp_path, 80)}
    plan = planned(task=task, validation={"share": 0.25})
    assert not {one.question for one in plan.train} & {one.question for one in plan.validation}
    assert len(plan.train) + len(plan.validation) == 80
    assert 8 <= len(plan.validation) <= 32
    # Whichever others there are, a question stays where it is.
    fewer = planned(task={**task, "limit": 40}, validation={"share": 0.25})
    assert set(fewer.validation) <= set(plan.validation)


def test_questions_that_validation_asks_too_are_dropped(tmp_path: Path) -> None:
    train, validation = questions_file(tmp_path, 30), questions_file(tmp_path, 10, "validation.jsonl")
    plan = planned(task={"path": train}, validation={"task": {"path": validation}})
    assert (len(plan.train), len(plan.validation), plan.in_validation) == (20, 10, 10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": {"name": "word_problems", "split": "test"}}, "task.split test: a policy is never trained on"),
        (
            {"validation": {"task": {"name": "word_problems", "split": "test"}}},
            "validation.task.split test: choices are never made by",
        ),
        ({"sampler": {"kind": "none"}}, "sampler "),
        ({"sampler": {"kind": "mc_dropout", "p": 0.0}}, "sampler "),
        ({"policy": {"trajectories": 1, "answers": 1}}, "trajectories x answers is 1"),
        ({"policy": {"questions_per_update": 65}}, "but an update takes policy.questions_per_update=65"),
        ({"policy": {"objective": "answr"}}, "answer"),
        ({"learner": {"workers": 3}, "policy": {"questions_per_update": 8}}, "learner.workers=3 does not divide"),
        ({"dtype": "float16"}, "dtype=float16: gradients vanish"),
        ({"policy": {"shaping_weight": 0.5}}, "reward_model and policy.shaping_weight: give both"),
        ({"staleness": 1, "policy": {"objective": "both"}}, "use staleness 0"),
        ({"checkpoint": "bundled:latent-rm-tiny"}, "bundled:latent-rm-tiny"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        planned(**changes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    assert main(["train-policy", str(config), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().err
    for words in (
        "64 training questions, 16 validation questions",
        "8 questions x 4 trajectories x 16 answers = 512 rollouts",
        "dropped 0 that validation asks too and 0 that test asks too (512 test questions compared)",
        "objective answer, baseline leave_one_out; trained: all",
        "MiB a learner",
    ):
        assert words in said
    assert not (tmp_path / "out").exists()


def test_another_recipe_is_another_training_and_more_actors_are_not() -> None:
    own = parse_config(TrainPolicyConfig, CONFIG)
    assert own.same_weights(parse_config(TrainPolicyConfig, {**CONFIG, "actors": 3, "max_failures": 1})) is None
    other = parse_config(TrainPolicyConfig, {**CONFIG, "policy": {"questions_per_update": 8, "answers": 2}})
    assert own.same_weights(other) == "policy.answers"


def test_the_shipped_configuration_can_be_planned() -> None:
    file = Path(__file__).parents[4] / "tune_configs" / "train_policy_tiny.yaml"
    plan = plan_policy(load_config(TrainPolicyConfig, file))
    assert len(plan.train) >= plan.config.policy.questions_per_update
    assert len(plan.validation) == 512
