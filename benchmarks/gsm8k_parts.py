"""Parts of a long measurement: each is computed once and kept in a file, whichever call computes it."""

import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latent_core.dynamics.dynamics import Measured
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import VoteCalibration


@dataclass
class Part:
    """What was measured of one sampler setting on one task.

    Attributes:
        task: Its name.
        setting: The sampler in words.
        correct: Which samples are right, bool [questions, samples].
        votes: Number of each sample's answer within its question, -1 for none, int64 [questions, samples].
        scores: Of the LatentRM, float64 [questions, samples]; None without one.
        seconds: How long sampling took.
        dynamics: Measures per latent step; none of greedy decoding.
    """

    task: str
    setting: str
    correct: list[Any] = field(default_factory=list)
    votes: list[Any] = field(default_factory=list)
    scores: list[Any] | None = None
    seconds: float = 0.0
    dynamics: list[Measured] = field(default_factory=list)

    def outcomes(self, calibration: VoteCalibration | None) -> Outcomes:
        """Return all questions as the estimators read them."""
        correct, votes = np.concatenate(self.correct), np.concatenate(self.votes)
        if self.scores is None or calibration is None:
            return Outcomes(correct, votes)
        scores = np.concatenate(self.scores)
        return Outcomes(correct, votes, scores, calibration.weights(scores))


class Parts:
    """Parts in a folder, each computed once; none is begun after a deadline."""

    def __init__(self, folder: Path, minutes: float) -> None:
        """Make the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._deadline = folder, time.monotonic() + 60 * minutes
        self.left_out = 0

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return a part, computed if it is not there; None if there is no time left for it."""
        file = self._folder / f"{name}.pkl"
        if file.is_file():
            return pickle.loads(file.read_bytes())
        if time.monotonic() > self._deadline:
            self.left_out += 1
            return None
        started = time.monotonic()
        found = compute()
        partial = file.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(found))
        partial.rename(file)
        sys.stdout.write(f"{name}: {time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()
        return found


def read_parts(folder: Path) -> dict[str, Any]:
    """Return the parts that are there, by name."""
    return {file.stem: pickle.loads(file.read_bytes()) for file in sorted(folder.glob("*.pkl"))}
