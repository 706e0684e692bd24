"""MLflow run of a training: found again by a resumed one, and closed with final numbers and files; step = update."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.config.environment import TrackingConfig
from orchestrator.console import masked, say
from orchestrator.tracking.server import tracking_uri
from orchestrator.tracking.tracker import Tracker


class TrainingTracking:
    """One MLflow run with the curves of a training. A resumed training goes on in the same run."""

    def __init__(self, config: TrackingConfig, out: Path, params: dict[str, Any], console: Console) -> None:
        """Open the run, or find it again."""
        self.tracker = Tracker(tracking_uri(config, out), config.experiment, out, out.name, partial(say, console))
        self.name, self.console = out.name, console
        self.tracker.start_child(self.name, params)

    def run_id(self) -> str | None:
        """Return MLflow's id of the run, once MLflow has all of it; None where it is away."""
        self.tracker.flush()
        return self.tracker.run_id()

    def conclude(self, final: dict[str, float], best_update: int, files: Sequence[Path]) -> None:
        """Log the final numbers under `final/`, attach the files and close the run."""
        self.tracker.log(self.name, [(f"final/{name}", value, best_update) for name, value in final.items()])
        self.tracker.log_files(files)
        self.tracker.end()
        if left := self.tracker.close():
            text = f"tracking: {left} records have not reached {masked(self.tracker.uri)}; {self.tracker.left()}"
            say(self.console, text)
