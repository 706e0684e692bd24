"""Objectives that would never be computed."""

from pathlib import Path
from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_sweep

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
