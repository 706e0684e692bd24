"""The configuration: strict, filled from left to right, and wrong input is answered with the cure."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from latent_core.errors import UserError
from latent_core.training.settings import ReasonerTrainingSettings
from orchestrator.config.annotate import AnnotateConfig
from orchestrator.config.loading import load_config, parse_config, read_yaml, save_config
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.config.run import RunConfig
from orchestrator.config.space import expand_space

ROOT = Path(__file__).parents[4]
MINIMAL: dict[str, Any] = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"}}


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse_config(RunConfig, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults() -> None:
    config = parse_config(RunConfig, MINIMAL)
    assert config.sampler.describe() == "none"
    assert config.budgets == (1, 2, 4, 8, 16, 32, 64)
    assert config.task.split == "test"
    assert config.samples == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgetss": [1]}, "unknown key 'budgetss': did you mean 'budgets'?"),
        (
            {"budget": [1]},
            "budget: takes a rule, such as {rule: posterior, waves: [4, 8, 16]}; numbers of samples are budgets "
            "(got [1])",
        ),
        ({"task": {"name": "word_problems", "splt": "x"}}, "unknown key 'task.splt': did you mean 'split'?"),
        ({"actor": {"gpu": 1}}, "unknown key 'actor.gpu': did you mean 'gpus'?"),
        ({"sweep": {"schedular": "asha"}}, "unknown key 'sweep.schedular': did you mean 'scheduler'?"),
        ({"sampler": {"kind": "gaus", "sigma": 1}}, "unknown sampler 'gaus': did you mean 'gaussian'?"),
        (
            {"sampler": {"kind": "gaussian", "sigma": 1, "relativ": True}},
            "unknown key 'sampler.relativ' of sampler 'gaussian': did you mean 'relative'?",
        ),
        (
            {"sampler": {"sigma": 1}},
            "sampler.kind: missing; known: answer_sampling, dirichlet, gaussian, gumbel, mc_dropout, multiplex, none, "
            "policy, singular_value",
        ),
        ({"sampler": {"kind": "mc_dropout", "p": 1.0}}, "sampler.p: input should be less than 1 (got 1.0)"),
        ({"task": {}}, "task: give exactly one of task.name, task.path and task.hub (got {})"),
        (
            {"task": {"name": "a", "path": "b"}},
            "task: give exactly one of task.name, task.path and task.hub (got {'name': 'a', 'path': 'b'})",
        ),
        (
            {"task": {"path": "a", "hub": "b/c"}},
            "task: give exactly one of task.name, task.path and task.hub (got {'path': 'a', 'hub': 'b/c'})",
        ),
        (
            {"task": {"hub": "b/c", "columns": {"quesion": "q"}}},
            "unknown key 'task.columns.quesion': did you mean 'question'?",
        ),
        (
            {"task": {"hub": "b/c", "columns": {"answer": ["a"]}}},
            "task.columns.answer: input should be a valid string (got ['a'])",
        ),
        ({"task": {"name": "a", "limit": 0}}, "task.limit: input should be greater than or equal to 1 (got 0)"),
        ({"budgets": [0]}, "budgets.0: input should be greater than or equal to 1 (got 0)"),
        ({"budgets": [4, -1]}, "budgets.1: input should be greater than or equal to 1 (got -1)"),
        ({"budgets": []}, "budgets: name at least one number of samples (got [])"),
        ({"budgets": 4}, "budgets: input should be a valid tuple (got 4)"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0 (got -1)"),
        ({"seed": 1.5}, "seed: input should be a valid integer, got a number with a fractional part (got 1.5)"),
        ({"micro_batch": 0}, "micro_batch: input should be greater than or equal to 1 (got 0)"),
        ({"scorer": {"checkpint": "x"}}, "unknown key 'scorer.checkpint': did you mean 'checkpoint'?"),
        ({"scorer": {"checkpoint": ""}}, "scorer.checkpoint: names no place; write a path (got '')"),
        ({"scorer": {"actors": 0}}, "scorer.actors: input should be greater than or equal to 1 (got 0)"),
        (
            {"scorer": {"vote_calibration": {"temperature": 0}}},
            "scorer.vote_calibration.temperature: input should be greater than 0 (got 0)",
        ),
        ({"search": {"kind": "beams"}}, "search.kind: input should be 'none', 'beam' or 'smc' (got 'beams')"),
        ({"search": {"beams": 0}}, "search.beams.0: input should be greater than or equal to 1 (got 0)"),
        ({"search": {"beams": [2, 0]}}, "search.beams.1: input should be greater than or equal to 1 (got 0)"),
        ({"search": {"beams": []}}, "search.beams: name at least one number of beams (got [])"),
        ({"search": {"candidates": 0}}, "search.candidates: input should be greater than or equal to 1 (got 0)"),
        ({"search": {"prune_from": 0}}, "search.prune_from: input should be auto, or a latent step from 1 on (got 0)"),
        (
            {"search": {"prune_from": "automatic"}},
            "search.prune_from: input should be auto, or a latent step from 1 on (got 'automatic')",
        ),
        ({"search": {"temperature": 0}}, "search.temperature: input should be greater than 0 (got 0)"),
        ({"actors": 0}, "actors: input should be greater than or equal to 1 (got 0)"),
        ({"latent_steps": 0}, "latent_steps: input should be greater than or equal to 1 (got 0)"),
        ({"actor": {"gpus": 1.5}}, "actor.gpus: above 1, GPUs of an actor must be a whole number (got 1.5)"),
        ({"actor": {"per_node": 0}}, "actor.per_node: input should be greater than or equal to 1 (got 0)"),
        ({"dtype": "int8"}, "dtype: input should be 'float32', 'bfloat16' or 'float16' (got 'int8')"),
        (
            {"store": {"latents": "float64"}},
            "store.latents: input should be 'auto', 'none', 'float16' or 'float32' (got 'float64')",
        ),
        ({"checkpoint": ""}, "checkpoint: names no place; write a path (got '')"),
        ({"checkpoint": None}, "checkpoint: input should be a valid string (got None)"),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(change: dict[str, Any], message: str) -> None:
    assert refusal({**MINIMAL, **change}) == message


@pytest.mark.parametrize("key", ["checkpoint", "task"])
def test_what_is_needed_is_named(key: str) -> None:
    content = {name: value for name, value in MINIMAL.items() if name != key}
    assert refusal(content) == f"{key}: missing, and it has no default"


def test_a_misspelt_key_is_named_even_where_it_leaves_another_missing() -> None:
    message = refusal({"chekpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"}})
    assert message.startswith("unknown key 'chekpoint': did you mean 'checkpoint'?")


@pytest.mark.parametrize("sampler", ["gaussian", ["gaussian"], 3, None])
def test_a_sampler_needs_its_settings(sampler: object) -> None:
    assert refusal({**MINIMAL, "sampler": sampler}).startswith("sampler: ")


def test_budgets_are_sorted_and_unique() -> None:
    config = parse_config(RunConfig, {**MINIMAL, "budgets": [8, 1, 4, 8], "sampler": {"kind": "gaussian", "sigma": 1}})
    assert config.budgets == (1, 4, 8)
    assert config.samples == 8


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 2])
def test_gpus_are_shared_or_whole(gpus: float) -> None:
    assert parse_config(RunConfig, {**MINIMAL, "actor": {"gpus": gpus}}).actor.gpus == gpus


def test_numbers_of_beams_are_sorted_and_unique() -> None:
    assert parse_config(RunConfig, {**MINIMAL, "search": {"beams": [8, 1, 4, 8]}}).search.beams == (1, 4, 8)
    assert parse_config(RunConfig, {**MINIMAL, "search": {"beams": 2}}).search.beams == (2,)


def test_a_task_is_loaded_with_all_its_settings(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('[{"Body": "Who", "Ask": "is it?", "a": "Tom."}, {"Body": 1, "Ask": 1, "a": 1}]')
    columns = {"question": ["Body", "Ask"], "answer": "a"}
    task = {"path": str(tmp_path / "set.json"), "columns": columns, "grader": "text", "limit": 1}
    whole = parse_config(RunConfig, {**MINIMAL, "task": task}).task.load()
    assert [problem.question for problem in whole.problems] == ["Who is it?", "1 1"]
    assert whole.problems[0].is_correct("tom")
    with pytest.raises(UserError, match=r"task\.columns: gsm8k has its own columns"):
        parse_config(RunConfig, {**MINIMAL, "task": {"name": "gsm8k", "columns": columns}}).task.load()
    with pytest.raises(UserError, match=r"task\.hub_config: "):
        parse_config(RunConfig, {**MINIMAL, "task": {"name": "gsm8k", "hub_config": "main"}}).task.load()
    with pytest.raises(UserError, match=r"task\.grader: 'words' is no grader .* choice, math, numeric, text"):
        parse_config(RunConfig, {**MINIMAL, "task": {**task, "grader": "words"}}).task.load()
    counted = parse_config(RunConfig, {**MINIMAL, "task": {"name": "word_problems", "count": 2}})
    assert len(counted.task.load().problems) == 2


def test_a_file_with_overrides(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    config = load_config(RunConfig, file, ["sampler.kind=gaussian", "sampler.sigma=0.4", "budgets=[2]", "task.limit=5"])
    assert config.sampler.describe() == "gaussian sigma=0.4"
    assert (config.budgets, config.task.limit) == ((2,), 5)


def test_a_resolved_configuration_reads_back_the_same(tmp_path: Path) -> None:
    """The run directory holds what was run: reading it again has to give the same run."""
    for content in (
        {**MINIMAL, "sampler": {"kind": "mc_dropout", "p": 0.2, "scope": ["latent", "prompt"]}},
        {
            **MINIMAL,
            "task": {"hub": "a/b", "hub_config": "c", "columns": {"question": ["b", "q"]}, "grader": "text"},
            "sampler": {"kind": "answer_sampling"},
            "store": {"latents": "float16"},
        },
        {**MINIMAL, "sweep": {"space": [{"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2]}]}},
    ):
        config = parse_config(RunConfig, content)
        save_config(config, tmp_path / "config.yaml")
        assert load_config(RunConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize("path", sorted((ROOT / "tune_configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path: Path) -> None:
    content = read_yaml(path)
    if "stages" in content:
        assert load_config(ReasonerTrainingSettings, str(path)).stages
    elif "data" in content:
        assert load_config(TrainRewardConfig, path).data
    elif "rollouts" in content:
        assert load_config(AnnotateConfig, path).rollouts
    elif "policy" in content:
        assert load_config(TrainPolicyConfig, path).updates
    else:
        config = load_config(RunConfig, path)
        assert len(expand_space(config)) >= len(config.sweep.space)


def test_a_configuration_does_not_change() -> None:
    config = parse_config(RunConfig, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 2


RULE = {"rule": "posterior", "waves": [4, 8, 16]}
SAMPLED = {**MINIMAL, "sampler": {"kind": "gaussian", "sigma": 0.4}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": {**RULE, "waves": [8, 4]}}, "budget.waves: must be at least 1 and increase from wave to wave (got"),
        ({"budget": {**RULE, "waves": [4, 4]}}, "budget.waves: must be at least 1 and increase from wave to wave (got"),
        ({"budget": {**RULE, "waves": [4]}}, "budget.waves: one wave leaves nothing to decide; name two"),
        ({"budget": {**RULE, "rule": "posterio"}}, "unknown budget rule 'posterio': did you mean 'posterior'?"),
        ({"budget": {**RULE, "confidence": 2}}, "budget.confidence: input should be less than 1"),
        (
            {"budget": RULE, "search": {"kind": "beam"}, "scorer": {"checkpoint": "rm"}},
            "budget: a beam search has no samples to stop at; set search.kind=none",
        ),
        ({"budget": RULE, "sweep": {"scheduler": "asha"}}, "budget: a scheduler stops trials at numbers of samples"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    assert refusal({**SAMPLED, **change}).startswith(message)


def test_a_budget_says_how_many_samples_there_can_be() -> None:
    assert RunConfig.model_validate({**SAMPLED, "budgets": [1, 2], "budget": RULE}).samples == 16
    assert RunConfig.model_validate({**MINIMAL, "budget": RULE}).samples == 1
    config = RunConfig.model_validate({**SAMPLED, "budget": RULE})
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
