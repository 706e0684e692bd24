"""Plans: what is to be done, checked before anything starts."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support import trajectory_table

from latent_core.errors import UserError
from latent_core.flops import FlopModel
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.shipped import SOURCES
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run, plan_sweep
from orchestrator.experiment.dry_run import show_plan
from orchestrator.experiment.plan import Plan, make_plan
from orchestrator.store.shards import Shard

QUESTIONS = ["ann has 12 pens . buys 3 pens ?", "ben 5 cards ?", "eva 7 cards . sells 2 cards ?", "ann 1 ?"]
GAUSSIAN = {"kind": "gaussian", "sigma": 0.4}


@pytest.fixture
def content(tiny_checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    """A configuration with four questions, shards of 2 x 4 and an empty store."""
    data = tmp_path / "questions.json"
    data.write_text(json.dumps([{"question": text, "answer": "1"} for text in QUESTIONS]))
    return {
        "checkpoint": str(tiny_checkpoint),
        "task": {"path": str(data)},
        "sampler": GAUSSIAN,
        "budgets": [1, 2, 8],
        "micro_batch": 2,
        "store": {"path": str(tmp_path / "store"), "samples_per_shard": 4},
    }


def plan_of(content: dict[str, Any], **changes: Any) -> Plan:
    return make_plan(parse_config(RunConfig, {**content, **changes}))


def test_the_checkpoints_lengths_are_used_where_none_are_given(content: dict[str, Any]) -> None:
    plan = plan_of(content)
    assert (plan.latent_steps, plan.answer_tokens) == (6, 32)
    assert plan.prompt_tokens == tuple(len(plan.checkpoint.prompt_ids(text)) for text in QUESTIONS)
    plan = plan_of(content, latent_steps=2, answer_tokens=5)
    assert (plan.latent_steps, plan.answer_tokens) == (2, 5)


def test_a_setting_is_what_determines_its_trajectories(content: dict[str, Any]) -> None:
    plan = plan_of(content, seed=3, dtype="bfloat16")
    trial = plan.trial("name", parse_sampler(GAUSSIAN))
    spec = trial.store.spec
    assert (trial.name, trial.sampler, trial.samples, trial.budgets) == ("name", "gaussian", 8, (1, 2, 8))
    assert spec.checkpoint == plan.checkpoint.fingerprint
    assert spec.task == plan.task.fingerprint
    assert spec.sampler == {"kind": "gaussian", "sigma": 0.4, "relative": False}
    assert (spec.latent_steps, spec.answer_tokens, spec.seed, spec.dtype) == (6, 32, 3, "bfloat16")


def test_a_setting_says_which_code_it_is(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise times 100 must not give yesterday's curve."""
    before = plan_of(content).trial("a", parse_sampler(GAUSSIAN)).store.spec
    assert (before.extras, before.reading) == ({}, {"graders": {"numeric": {"version": 2}}})
    monkeypatch.setitem(SOURCES, "latent_core.samplers.gaussian", "0" * 16)  # type: ignore[arg-type]
    plan = plan_of(content)
    edited = plan.trial("a", parse_sampler(GAUSSIAN)).store.spec
    assert set(edited.extras["code"]["sampler"]) == {"source"}
    assert edited.trajectories_key != before.trajectories_key
    # Other samplers are as they were, greedy decoding among them.
    assert plan.greedy().store.spec.extras == {}
    assert plan.trial("b", parse_sampler({"kind": "mc_dropout", "p": 0.1})).store.spec.extras == {}


def test_an_edited_grader_is_another_reading(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    before = plan_of(content).greedy().store.spec
    monkeypatch.setitem(SOURCES, "latent_core.answers.parsing", "0" * 16)  # type: ignore[arg-type]
    edited = plan_of(content).greedy().store.spec
    assert set(edited.reading["graders"]["numeric"]) == {"source"}
    assert edited.trajectories_key == before.trajectories_key
    assert edited.key != before.key


def test_what_only_says_how_is_no_part_of_a_setting(content: dict[str, Any]) -> None:
    """Other batches, actors and budgets find the same trajectories in the store."""
    key = plan_of(content).trial("a", parse_sampler(GAUSSIAN)).store.spec.key
    for changes in ({"micro_batch": 7}, {"actors": 3}, {"budgets": [64]}, {"task": {**content["task"], "limit": 2}}):
        assert plan_of(content, **changes).trial("b", parse_sampler(GAUSSIAN)).store.spec.key == key


def test_a_limit_keeps_ids_and_fingerprint(content: dict[str, Any]) -> None:
    whole, part = plan_of(content), plan_of(content, task={**content["task"], "limit": 2})
    assert part.problems == whole.problems[:2]
    assert part.task_fingerprint == whole.task_fingerprint
    assert len(part.prompt_tokens) == 2
    assert plan_of(content, task={**content["task"], "limit": 99}).problems == whole.problems


def test_deterministic_settings_need_one_sample(content: dict[str, Any]) -> None:
    plan = plan_of(content)
    for sampler in ({"kind": "none"}, {"kind": "gaussian", "sigma": 0.0}, {"kind": "mc_dropout", "p": 0.0}):
        trial = plan.trial("x", parse_sampler(sampler))
        assert (trial.samples, trial.budgets) == (1, (1,))
    assert plan.greedy().samples == 1


def test_missing_is_everything_at_first_and_nothing_at_last(content: dict[str, Any]) -> None:
    plan = plan_of(content)
    trial = plan.trial("a", parse_sampler(GAUSSIAN))
    missing = plan.missing(trial, trial.coverage(len(plan.problems)).sampled)
    assert missing == [Shard(0, 2, 0, 4), Shard(0, 2, 4, 8), Shard(2, 4, 0, 4), Shard(2, 4, 4, 8)]
    assert plan.missing(trial, trial.store.covered(4, 2)) == [Shard(0, 2, 0, 2), Shard(2, 4, 0, 2)]
    trial.store.prepare()
    empty = trajectory_table([], 0, 1)
    trial.store.write(missing[0], empty)
    assert plan.missing(trial, trial.coverage(len(plan.problems)).sampled) == missing[1:]
    for shard in missing[1:]:
        trial.store.write(shard, empty)
    assert plan.missing(trial, trial.coverage(len(plan.problems)).sampled) == []
    assert plan.estimated_flops(trial, []) == 0


@pytest.mark.parametrize(
    ("sampler", "own_prompt"),
    [
        (GAUSSIAN, False),
        ({"kind": "none"}, False),
        ({"kind": "mc_dropout", "p": 0.1, "scope": ["prompt"]}, True),
        ({"kind": "mc_dropout", "p": 0.1, "scope": ["boundary"]}, None),
    ],
)
def test_flops_are_estimated_from_above(
    content: dict[str, Any], tiny_reasoner: LatentReasoner, sampler: dict[str, Any], own_prompt: bool | None
) -> None:
    plan = plan_of(content, latent_steps=3, answer_tokens=5)
    flops: FlopModel = tiny_reasoner.flops
    trial = plan.trial("a", parse_sampler(sampler))
    estimate = plan.estimated_flops(trial, [Shard(1, 3, 0, 4)])
    expected = sum(
        # Of the boundary alone, four samples share everything before it.
        (flops.prompt(tokens - 1) + 4 * (flops.prompt(tokens) - flops.prompt(tokens - 1)))
        if own_prompt is None
        else (4 if own_prompt else 1) * flops.prompt(tokens)
        for tokens in plan.prompt_tokens[1:3]
    ) + sum(4 * flops.trajectory(tokens, 3, 1, 5) for tokens in plan.prompt_tokens[1:3])
    assert estimate == pytest.approx(expected)
    assert estimate > 0


def test_a_question_that_is_too_long_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "long.json"
    rows = [{"question": "ann ?", "answer": "1"}, {"id": "big", "question": "ann " * 60, "answer": "1"}]
    data.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"question big: 61 prompt tokens \+ 6 latent steps \+ end token \+ 32 answer"):
        plan_of(content, task={"path": str(data)})
    assert plan_of(content, task={"path": str(data)}, answer_tokens=96 - 61 - 6 - 1).answer_tokens == 28
    assert len(plan_of(content, task={"path": str(data), "limit": 1}).problems) == 1


def test_a_run_has_one_setting_beside_greedy(content: dict[str, Any], tmp_path: Path) -> None:
    experiment = plan_run("mine", parse_config(RunConfig, content), tmp_path / "out")
    assert [trial.name for trial in experiment.all_trials()] == ["greedy", "gaussian sigma=0.4"]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "store").exists()


def test_greedy_alone_is_sampled_once(content: dict[str, Any], tmp_path: Path) -> None:
    experiment = plan_run("mine", parse_config(RunConfig, {**content, "sampler": {"kind": "none"}}), tmp_path / "out")
    assert [trial.name for trial in experiment.all_trials()] == ["greedy"]


def test_a_sweep_has_a_setting_per_trial(content: dict[str, Any], tmp_path: Path) -> None:
    space = [{"sampler.kind": "gaussian", "sampler.sigma": [0.4, 0.8], "latent_steps": [2, 4], "seed": 9}]
    experiment = plan_sweep("mine", parse_config(RunConfig, {**content, "sweep": {"space": space}}), tmp_path)
    trials = {trial.name: trial for trial in experiment.trials}
    assert list(trials) == [
        f"gaussian sigma={sigma} latent_steps={steps} seed=9" for sigma in (0.4, 0.8) for steps in (2, 4)
    ]
    spec = trials["gaussian sigma=0.8 latent_steps=4 seed=9"].store.spec
    assert (spec.sampler["sigma"], spec.latent_steps, spec.seed) == (0.8, 4, 9)
    assert len({trial.store.spec.key for trial in experiment.all_trials()}) == 5
    # The estimate of a trial is made for its own lengths.
    plan = experiment.plan
    short, long = (trials[f"gaussian sigma=0.4 latent_steps={steps} seed=9"] for steps in (2, 4))
    assert plan.estimated_flops(
        short, plan.missing(short, short.coverage(len(plan.problems)).sampled)
    ) < plan.estimated_flops(long, plan.missing(long, long.coverage(len(plan.problems)).sampled))


def test_every_trial_of_a_sweep_has_to_fit(content: dict[str, Any], tmp_path: Path) -> None:
    space = [{"sampler.kind": "gaussian", "sampler.sigma": 0.4, "latent_steps": [2, 90]}]
    with pytest.raises(UserError, match="90 latent steps"):
        plan_sweep("mine", parse_config(RunConfig, {**content, "sweep": {"space": space}}), tmp_path)


def test_the_scheduler_needs_room_above_its_grace(content: dict[str, Any], tmp_path: Path) -> None:
    sweep = {"space": [{"sampler.kind": "gaussian", "sampler.sigma": 0.4}], "scheduler": "asha", "grace_samples": 9}
    with pytest.raises(UserError, match=r"sweep\.grace_samples: 9 is more than the largest budget, 8"):
        plan_sweep("mine", parse_config(RunConfig, {**content, "sweep": sweep}), tmp_path)


def test_a_tasks_own_extractor_makes_another_setting(content: dict[str, Any]) -> None:
    """What is stored of answers that were found in another way is read anew; without it, keys stay as they are."""
    plain = plan_of(content)
    own, same = (plan_of(content, task={**content["task"], "extractor": name}) for name in ("text", None))
    assert {problem.extractor for problem in own.problems} == {"text"}
    assert own.task_fingerprint == plain.task_fingerprint == same.task_fingerprint
    specs = [plan.greedy().store.spec for plan in (own, plain, same)]
    assert specs[0].key != specs[1].key == specs[2].key
    assert specs[0].trajectories_key == specs[1].trajectories_key
    with pytest.raises(UserError, match="unknown extractor 'texts': did you mean 'text'"):
        plan_of(content, task={**content["task"], "extractor": "texts"})


def test_the_plan_counts_references_that_cannot_be_read(content: dict[str, Any], tmp_path: Path) -> None:
    rows = zip(QUESTIONS, ["35", "2x", "(3,5)", "7"], strict=True)
    data = tmp_path / "some.json"
    data.write_text(json.dumps([{"question": text, "answer": answer} for text, answer in rows]))
    plan = plan_of(content, task={"path": str(data)})
    assert (plan.references.unreadable, plan.references.unreadable_example) == (2, "question 1: '2x'")
    shown = io.StringIO()
    experiment = plan_run("mine", parse_config(RunConfig, {**content, "task": {"path": str(data)}}), tmp_path)
    show_plan(experiment, experiment.coverage(), Console(file=shown, width=200), with_cost=False)
    assert "references  2 of 4 reference answers cannot be read" in shown.getvalue()
    data.write_text(json.dumps([{"question": "?", "answer": answer} for answer in ("2x", "35")]))
    with pytest.raises(UserError, match="the numeric grader can read no reference answer"):
        plan_of(content, task={"path": str(data), "limit": 1})
