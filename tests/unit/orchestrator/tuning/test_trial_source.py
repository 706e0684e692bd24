"""Listed trials: in order, twins one after the other, and where a killed command has stopped."""

from dataclasses import replace

import pytest

from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from orchestrator.tuning.trial_source import ListedTrials, SuggestedTrial

SPEC = TrajectorySpec("model", "task", {"kind": "gaussian", "sigma": 0.4}, 4, 8, 0, "float32")


def planned(name: str, sigma: float, budgets: tuple[int, ...] = (1, 4)) -> Trial:
    spec = replace(SPEC, sampler={"kind": "gaussian", "sigma": sigma})
    return Trial(name, "gaussian", budgets[-1], budgets, TrajectoryStore("/store", spec))


LIST = [planned("a", 0.1), planned("twin of a", 0.1, (1, 8)), planned("b", 0.2)]


def asked(source: ListedTrials, *busy: str) -> SuggestedTrial:
    found = source.ask(busy)
    assert found is not None
    return found


def test_twins_wait_for_each_other() -> None:
    source = ListedTrials(LIST)
    first = asked(source)
    assert first.id == "a"
    assert asked(source, first.key).id == "b"
    assert source.ask([first.key]) is None
    assert asked(source).id == "twin of a"
    assert source.ask([]) is None


def test_a_trial_gets_all_it_has_to_know() -> None:
    config = asked(ListedTrials(LIST)).config
    trial = Trial.from_plain(config["planned"], "/store")
    assert (config["setting"], trial.name, trial.searches) == ("a", "a", ())
    assert trial.store.spec == LIST[0].store.spec


@pytest.mark.parametrize("done", [0, 1, 3])
def test_another_process_goes_on(done: int) -> None:
    source, again = ListedTrials(LIST), ListedTrials(LIST)
    before = [asked(source).id for _ in range(done)]
    again.restore(source.state())
    assert before + [asked(again).id for _ in range(3 - done)] == ["a", "twin of a", "b"]
