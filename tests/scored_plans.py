"""Plans of a run of the tiny reasoner and LatentRM on three questions, for tests of what is scored and searched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import Plan, make_plan

QUESTIONS = ["ann has 12 pens . buys 3 pens ?", "ben 5 cards ?", "ann 1 ?"]
GAUSSIAN = {"kind": "gaussian", "sigma": 0.4}
Copy = Callable[[], Path]


def config_of(content: dict[str, Any], **changes: Any) -> RunConfig:
    return parse_config(RunConfig, {**content, **changes})


def plan_of(content: dict[str, Any], **changes: Any) -> Plan:
    return make_plan(config_of(content, **changes))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)
