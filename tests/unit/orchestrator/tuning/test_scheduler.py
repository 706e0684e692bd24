"""ASHA that goes on where a killed command has stopped, with Tune's own trials."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from orchestrator.config.run import SweepConfig
from orchestrator.tuning.scheduler import make_scheduler


def scheduler(history: Mapping[str, Iterable[tuple[int, float]]], **changes: Any) -> TrialScheduler:
    config = SweepConfig(scheduler="asha", objective=("coverage",), grace_samples=1, reduction_factor=2.0, **changes)
    return make_scheduler(config, 8, lambda name: history.get(name, ()))


def trial(name: str) -> Trial:
    return Trial("run_trial", config={"setting": name}, stub=True)


def decision(of: TrialScheduler, one: Trial, n: int, value: float) -> str:
    return str(of.on_trial_result(None, one, {"n": n, "coverage": value}))


def test_none_is_fifo() -> None:
    assert isinstance(make_scheduler(SweepConfig(), 8, lambda _: ()), FIFOScheduler)


@pytest.mark.parametrize("remembered", [True, False])
def test_what_was_reported_before_counts(remembered: bool) -> None:
    """A bad trial is stopped by what better ones have reported to the command before; with empty rungs it goes on."""
    asha = scheduler({"good": [(1, 0.8), (2, 0.9)]} if remembered else {})
    good, bad = trial("good"), trial("bad")
    asha.on_trial_add(None, good)
    asha.on_trial_add(None, bad)
    expected = TrialScheduler.STOP if remembered else TrialScheduler.CONTINUE
    assert decision(asha, bad, 1, 0.1) == expected


def test_a_trial_that_begins_again_is_not_stopped_by_its_own_past() -> None:
    asha = scheduler({"good": [(1, 0.5), (2, 0.9)], "other": [(1, 0.6)]})
    good = trial("good")
    asha.on_trial_add(None, trial("other"))
    asha.on_trial_add(None, good)
    assert [decision(asha, good, n, value) for n, value in ((1, 0.5), (2, 0.9), (4, 0.95))] == [
        TrialScheduler.CONTINUE
    ] * 3
    assert decision(asha, good, 8, 0.95) == TrialScheduler.STOP
