"""Ray Tune searcher: the next trial of a sweep begins when the actors can serve it."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from orchestrator.tuning.trial_source import SuggestedTrial, TrialSource


class TrialSearcher(Searcher):
    """Hands the trials of a source to Tune, no more at a time than a limit that may change while it runs."""

    def __init__(self, source: TrialSource, limit: Callable[[], int]) -> None:
        """Take trials from a source.

        Args:
            source: Where they come from.
            limit: Returns how many trials may run at the same time now.
        """
        super().__init__()
        self._source = source
        self._limit = limit
        self._live: dict[str, SuggestedTrial] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: `save` writes down what has to outlive this process."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the configuration of the next trial, or None while there is no room or it has to wait."""
        if len(self._live) >= self._limit():
            return None
        asked = self._source.ask({one.key for one in self._live.values()})
        if asked is None:
            return None
        self._live[trial_id] = asked
        return asked.config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass the end of a trial on; one that failed may be run again by a later command, and is told of again."""
        asked = self._live.pop(trial_id, None)
        if asked is not None:
            self._source.tell(asked, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Write down which trials are running and where the source is."""
        Path(checkpoint_path).write_bytes(pickle.dumps({"live": self._live, "source": self._source.state()}))

    def restore(self, checkpoint_path: str) -> None:
        """Go on from what `save` has written."""
        saved = pickle.loads(Path(checkpoint_path).read_bytes())
        self._live = saved["live"]
        self._source.restore(saved["source"])
