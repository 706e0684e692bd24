"""End of the MLflow runs of work that has failed: told to MLflow, unless they are another process's by now."""

from typing import TYPE_CHECKING

from orchestrator.experiment.lease import lease_is_lost

if TYPE_CHECKING:
    from orchestrator.tracking.tracker import Tracker

_LAST_WORDS_SECONDS = 10.0
"""How long work that has failed waits for MLflow to be told so."""


def end_tracking(tracker: "Tracker", error: BaseException) -> None:
    """Tell MLflow how work has failed: KILLED where a person has stopped it, else FAILED."""
    if lease_is_lost():
        tracker.close(0)
        return
    tracker.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
    tracker.close(_LAST_WORDS_SECONDS)
