"""Trials that Optuna chooses, with the real Optuna."""

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.config.objective import parse_objective
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from orchestrator.tuning.optuna_source import OptunaTrials
from orchestrator.tuning.trial_source import SuggestedTrial

SPACE = (
    {"sampler.kind": "mc_dropout", "sampler.p": {"uniform": [0.0, 0.9]}, "budgets": [[1, 4], [1, 8]]},
    {"sampler.kind": "gaussian", "sampler.sigma": {"loguniform": [0.01, 10.0]}, "latent_steps": {"randint": [2, 6]}},
)


def plan(number: int, choice: Mapping[str, Any]) -> Trial:
    """The setting of a choice: its name says all of it."""
    name = f"{number} " + " ".join(f"{key}={value}" for key, value in choice.items())
    spec = TrajectorySpec("model", "task", dict(choice), 4, 8, 0, "float32")
    return Trial(name, "any", 4, (1, 4), TrajectoryStore("/store", spec))


def trials(*objectives: str, seed: int = 0, space: Any = SPACE) -> OptunaTrials:
    return OptunaTrials(space, [parse_objective(text) for text in objectives or ("coverage",)], seed, plan)


def run(source: OptunaTrials, count: int) -> list[str]:
    """Run trials one after the other; dropout is the better the nearer p is to 0.3, noise is hopeless."""
    names = []
    for _ in range(count):
        asked = source.ask([])
        assert asked is not None
        names.append(asked.id + ": " + asked.config["setting"])
        choice = asked.config["planned"]["trajectories"]["sampler"]
        value = 1.0 - abs(choice["sampler.p"] - 0.3) if "sampler.p" in choice else 0.0
        source.tell(asked, {"coverage": value, "flops": 1.0 - value}, error=False)
    return names


def test_choices_are_those_of_the_space() -> None:
    for name in run(trials(), 30):
        choice = dict(part.split("=") for part in name.replace(", ", ",").split(" ")[2:])
        if "sampler.p" in choice:
            assert 0.0 <= float(choice["sampler.p"]) <= 0.9
            assert choice["budgets"] in ("[1,4]", "[1,8]")
            assert "sampler.sigma" not in choice
        else:
            assert 0.01 <= float(choice["sampler.sigma"]) <= 10.0
            assert 2 <= int(choice["latent_steps"]) <= 6


def test_it_learns() -> None:
    names = run(trials(), 60)
    assert sum("mc_dropout" in name for name in names[-20:]) >= 15


def test_the_seed_decides() -> None:
    assert run(trials(seed=1), 12) == run(trials(seed=1), 12)
    assert run(trials(seed=1), 12) != run(trials(seed=2), 12)


@pytest.mark.parametrize("objectives", [("coverage",), ("coverage", "flops")])
def test_another_process_goes_on_with_what_has_been_learned(objectives: tuple[str, ...]) -> None:
    whole = trials(*objectives)
    expected = run(whole, 25)
    first, second = trials(*objectives), trials(*objectives, seed=99)
    before = run(first, 15)
    second.restore(first.state())
    assert before + run(second, 10) == expected


def test_a_twin_waits() -> None:
    source = trials(space=({"sampler.kind": ["gaussian"]},))
    first = source.ask([])
    assert isinstance(first, SuggestedTrial)
    assert source.ask([first.key]) is None
    assert source.ask([first.key]) is None
    second = source.ask([])
    assert second is not None
    assert (second.key, second.id) == (first.key, "2")


def test_a_trial_that_failed_is_no_end() -> None:
    source = trials()
    asked = source.ask([])
    assert asked is not None
    source.tell(asked, None, error=True)
    assert len(run(source, 3)) == 3
