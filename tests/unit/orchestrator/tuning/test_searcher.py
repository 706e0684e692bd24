"""The searcher that Tune asks for trials."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from orchestrator.tuning.searcher import TrialSearcher
from orchestrator.tuning.trial_source import SuggestedTrial


class Numbers:
    """A source of trials 0, 1, 2, ... of which even and odd ones are twins."""

    def __init__(self) -> None:
        self.next = 0
        self.told: list[tuple[str, Any, bool]] = []

    def ask(self, busy: Collection[str]) -> SuggestedTrial | None:
        key = str(self.next % 2)
        if key in busy:
            return None
        self.next += 1
        return SuggestedTrial(str(self.next - 1), {"setting": f"trial {self.next - 1}"}, key)

    def tell(self, asked: SuggestedTrial, result: Mapping[str, Any] | None, error: bool) -> None:
        self.told.append((asked.id, result, error))

    def state(self) -> int:
        return self.next

    def restore(self, state: int) -> None:
        self.next = state


def test_no_more_trials_than_the_limit_allows_at_that_time() -> None:
    limit = 1
    searcher = TrialSearcher(Numbers(), lambda: limit)
    assert searcher.suggest("x") == {"setting": "trial 0"}
    assert searcher.suggest("y") is None
    limit = 3
    assert searcher.suggest("y") == {"setting": "trial 1"}
    # There is room, but a twin is being sampled.
    assert searcher.suggest("z") is None
    searcher.on_trial_complete("x", {"n": 8})
    assert searcher.suggest("z") == {"setting": "trial 2"}


def test_the_source_hears_of_ends_once() -> None:
    source = Numbers()
    searcher = TrialSearcher(source, lambda: 2)
    searcher.suggest("x")
    searcher.suggest("y")
    searcher.on_trial_complete("x", {"n": 8})
    searcher.on_trial_complete("y", None, error=True)
    searcher.on_trial_complete("y", {"n": 8})
    assert source.told == [("0", {"n": 8}, False), ("1", None, True)]


def test_another_process_knows_which_trials_were_running(tmp_path: Path) -> None:
    searcher = TrialSearcher(Numbers(), lambda: 2)
    searcher.suggest("x")
    searcher.save(str(tmp_path / "state"))
    again = TrialSearcher(Numbers(), lambda: 2)
    again.restore(str(tmp_path / "state"))
    assert again.suggest("y") == {"setting": "trial 1"}
    assert again.suggest("z") is None
    again.on_trial_complete("x", {})
    assert again.suggest("z") == {"setting": "trial 2"}
