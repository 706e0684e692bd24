"""What makes two commands the same experiment."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from latent_core.shipped import SOURCES
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run, plan_sweep
from orchestrator.experiment.fingerprint import NO_INFLUENCE, run_tags
from orchestrator.experiment.plan import make_plan


@pytest.fixture
def content(tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": f"ann has {number} pens ?", "answer": number} for number in (3, 4)]))
    return {
        "checkpoint": str(tiny_checkpoint),
        "task": {"path": str(data)},
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "budgets": [1, 2],
    }


def of(content: dict[str, Any], **changes: Any) -> str:
    return plan_run("mine", parse_config(RunConfig, {**content, **changes}), Path("out")).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"actors": 4},
        {"actor": {"cpus": 2}},
        {"micro_batch": 3},
        {"store": {"path": "elsewhere"}},
        {"tracking": {"experiment": "other"}},
        {"cluster": {"address": "ray://host:1"}},
    ],
    ids=str,
)
def test_where_and_how_fast_it_runs_does_not_count(content: dict[str, Any], changes: dict[str, Any]) -> None:
    assert of(content, **changes) == of(content)


@pytest.mark.parametrize(
    "changes",
    [
        {"budgets": [1, 4]},
        {"seed": 1},
        {"sampler": {"kind": "gaussian", "sigma": 0.5}},
        {"dtype": "bfloat16"},
        {"answer_tokens": 3},
    ],
    ids=str,
)
def test_what_curves_depend_on_does(content: dict[str, Any], changes: dict[str, Any]) -> None:
    assert of(content, **changes) != of(content)


def test_questions_count_by_their_content(content: dict[str, Any], tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text((tmp_path / "questions.json").read_text().replace("pens", "cards"))
    assert of(content, task={"path": str(copy)}) != of(content)


def test_tags_say_where_it_ran(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = make_plan(parse_config(RunConfig, content))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    tags = run_tags(plan)
    assert (tags["cluster"], tags["task_fingerprint"]) == ("local", plan.task_fingerprint)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert run_tags(plan)["cluster"] == "10.0.0.1:6379"
    monkeypatch.chdir(tmp_path)
    assert "mlflow.source.git.commit" not in run_tags(plan)


def test_an_objective_makes_no_other_run(content: dict[str, Any]) -> None:
    assert of(content, sweep={"objective": "coverage"}) == of(content, sweep={"objective": "majority_vote"})
    sweeps = [of(content, sweep={"objective": one, "space": [{"seed": [0]}]}) for one in ("coverage", "majority_vote")]
    assert sweeps[0] != sweeps[1]


def test_what_becomes_of_cut_answers_counts_and_votes_are_what_was_before_it(content: dict[str, Any]) -> None:
    voting = {**content["task"], "cut_answers": "vote"}
    assert of(content, task=voting) != of(content)
    experiment = plan_run("mine", parse_config(RunConfig, {**content, "task": voting}), Path("out"))
    config = experiment.plan.config.model_dump(mode="json", exclude={**NO_INFLUENCE, "scorer": True})
    # There was no budget rule then, and no search had a step to start from, or a temperature.
    assert config.pop("budget") is None
    assert (config["search"].pop("prune_from"), config["search"].pop("temperature")) == ("auto", 1.0)
    before = config | {
        "checkpoint": experiment.plan.checkpoint.fingerprint,
        "task": [experiment.plan.task_fingerprint, 2],
        # The objective of all runs then.
        "sweep": config["sweep"] | {"objective": ["coverage"]},
        "settings": [trial.name for trial in experiment.all_trials()],
        "code": [[{"graders": {"numeric": {"version": 2}}}]] * (1 + len(experiment.all_trials())),
    }
    digest = hashlib.blake2b(json.dumps(before, sort_keys=True).encode(), digest_size=8).hexdigest()
    assert experiment.fingerprint == digest


@pytest.mark.parametrize(
    "module",
    ["latent_core.samplers.gaussian", "latent_core.models.feedback.identity", "latent_core.answers.grading"],
)
def test_other_code_makes_it_another_one(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    before = of(content)
    monkeypatch.setitem(SOURCES, module, "0" * 16)  # type: ignore[arg-type]
    assert of(content) != before


def test_the_code_of_every_setting_counts(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep() -> str:
        space = [{"sampler.kind": ["none"]}, {"sampler.kind": "mc_dropout", "sampler.p": [0.1, 0.2]}]
        config = parse_config(RunConfig, {**content, "sweep": {"space": space}})
        return plan_sweep("mine", config, Path("out")).fingerprint

    one, before = of(content), sweep()
    monkeypatch.setitem(SOURCES, "latent_core.samplers.mc_dropout", "0" * 16)  # type: ignore[arg-type]
    assert sweep() != before
    assert of(content) == one
