"""Objectives that would never be computed, and budget rules that could not be asked."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run, plan_sweep

SCORED = {"scorer": {"checkpoint": "bundled:latent-rm-tiny"}}
BEAMS = {**SCORED, "search": {"kind": "beam", "beams": [2], "candidates": 4}}


def planned(objective: Any, **changes: Any) -> None:
    sweep = {"space": [{"sampler.kind": "gaussian", "sampler.sigma": 0.4}], "objective": objective}
    content = {
        "checkpoint": "bundled:coconut-paths",
        "task": {"name": "path_finding", "limit": 2},
        "budgets": [1, 4],
        "sweep": {**sweep, **changes.pop("sweep", {})},
        **changes,
    }
    plan_sweep("mine", parse_config(RunConfig, content), Path("out"))


def test_objectives_that_are_computed() -> None:
    planned(["coverage@4", "flops"])
    planned("area(best_of_n)", **SCORED)
    planned("beam_search@8", **BEAMS)


@pytest.mark.parametrize(
    ("objective", "changes", "message"),
    [
        ("coverage@8", {}, "coverage@8 is never computed: the trial 'gaussian sigma=0.4' has no budget 8, only 1, 4"),
        ("flops@3", {}, "flops@3 is never computed"),
        ("best_of_n", {}, "best_of_n needs scores, which the trial 'gaussian sigma=0.4' will not have"),
        ("beam_search", SCORED, "beam_search needs a beam search, which the trial"),
        ("beam_search@4", BEAMS, "beam_search@4 is never computed: the trial 'gaussian sigma=0.4' has no budget 4"),
        (["coverage", "beam_vote"], {}, "beam_vote needs a beam search"),
    ],
)
def test_refusals(objective: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(objective, **changes)
    assert str(caught.value).startswith(f"sweep.objective: {message}")


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"objective": ["coverage", "flops"], "scheduler": "asha"}, "scheduler asha compares trials by one objective"),
        ({"objective": "beam_search", "scheduler": "asha"}, "an objective that is known before a trial ends"),
        ({"objective": ["coverage", "coverage"]}, "an objective is named twice"),
        ({"objective": "coverge"}, "unknown aggregation 'coverge': did you mean 'coverage'?"),
    ],
)
def test_configurations_that_contradict_themselves(sweep: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match="sweep") as caught:
        planned("coverage", sweep=sweep)
    assert message in str(caught.value)


ROOT = Path(__file__).parents[4]
GAIN = {"rule": "gain", "mean": 8, "waves": [4, 8, 16]}


def test_the_example_of_budget_rules_plans_trials_that_share_their_samples() -> None:
    config = load_config(RunConfig, ROOT / "tune_configs" / "adaptive_tiny.yaml", ["task.limit=2"])
    trials = plan_sweep("mine", config, Path("out")).trials
    assert [trial.name for trial in trials] == [
        "gaussian sigma=1.0 relative",
        "gaussian sigma=1.0 relative budget decided waves=4,16,20,24,28,32",
        "gaussian sigma=1.0 relative budget posterior confidence=0.9 waves=4,8,16,32",
        "gaussian sigma=1.0 relative budget posterior confidence=0.99 waves=4,8,16,32",
    ]
    assert {trial.samples for trial in trials} == {32}
    assert [trial.budgets for trial in trials] == [(1, 2, 4, 8, 16, 32), *[(1, 2, 4, 32)] * 3]
    assert len({trial.store.name for trial in trials}) == 1


def run_with(**changes: Any) -> None:
    content = {
        "checkpoint": "bundled:coconut-paths",
        "task": {"name": "path_finding", "limit": 2},
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        **changes,
    }
    plan_run("mine", parse_config(RunConfig, content), Path("out"))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (GAIN, "budget.rule gain: decides by the scores of a LatentRM; set scorer.checkpoint"),
        ({**GAIN, "mean": 17}, "budget.mean: must be between the first and the last wave, 4 and 16"),
        ({**GAIN, "min_gain": 0.1}, "budget: give exactly one of min_gain and mean"),
    ],
)
def test_a_rule_of_gains_that_cannot_be_asked(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        run_with(budget=budget)
    assert str(caught.value).startswith(message)


def test_a_table_of_gains_that_knows_nothing_of_confidence() -> None:
    with pytest.raises(UserError, match=r"^budget.own_confidence: .*latentswarm report RUN_DIR --fit-gain`") as caught:
        run_with(budget={**GAIN, "own_confidence": True}, scorer={"checkpoint": "bundled:latent-rm-tiny"})
    assert "\n" not in str(caught.value)


def test_a_latent_rm_without_a_table_of_gains(tmp_path: Path) -> None:
    bundled = ROOT / "latent_core" / "bundled" / "latent-rm-tiny"
    shutil.copytree(bundled, tmp_path / "rm", ignore=shutil.ignore_patterns("gain_tables.json"))
    with pytest.raises(UserError, match="gain: the LatentRM has no table of gains beside its weights"):
        run_with(budget=GAIN, scorer={"checkpoint": str(tmp_path / "rm")})
