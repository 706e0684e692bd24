"""Ray Tune callback: MLflow and the progress board hear of the reports of trials, from the driver."""

from typing import Any

from ray.actor import ActorHandle
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback

from orchestrator.tracking.tracker import Tracker


class ReportCallback(LoggerCallback):
    """Passes on what trials report."""

    def __init__(self, tracker: Tracker, board: ActorHandle[Any], objective: str) -> None:
        """Report.

        Args:
            tracker: Of the sweep; the runs of its trials are open.
            board: The progress board.
            objective: Key of the objective that the board shows.
        """
        self._tracker, self._board, self._objective = tracker, board, objective

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune saves its callbacks, and tracker and board belong to this process."""
        return {}

    def log_trial_start(self, trial: Trial) -> None:
        """Say that a trial has begun."""
        self._board.begin_trial.remote(trial.config["setting"])

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log one report under `live/` with step = n."""
        name, n = trial.config["setting"], result["n"]
        metrics = {key: float(value) for key, value in result["live"].items()}
        self._tracker.log_live(name, n, metrics)
        self._board.report_trial.remote(name, n, float(result[self._objective]))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Close the run of a trial that failed; the others are closed with their final curves."""
        self._board.end_trial.remote(trial.config["setting"])
        if failed:
            self._tracker.end("FAILED", child=trial.config["setting"])
