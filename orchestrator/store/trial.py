"""A trial of a run, as the processes that work on it need to know it."""

from dataclasses import dataclass
from typing import TypeAlias

from latent_core.selection.calibration import VoteCalibration
from latent_core.trajectory import CutAnswers
from orchestrator.store.shards import Shard, missing_shards
from orchestrator.store.specs import ScoreStore, TrajectoryStore


@dataclass(frozen=True)
class Scored:
    """What a LatentRM adds to a trial.

    Attributes:
        store: Where the scores are.
        calibration: How latent-only scores become vote weights; None for no weighted vote.
        answer_calibration: The same for answer-aware scores.
    """

    store: ScoreStore
    calibration: VoteCalibration | None = None
    answer_calibration: VoteCalibration | None = None


@dataclass(frozen=True)
class Trial:
    """One trial of a run: a curve.

    Attributes:
        name: Unique within the run, readable.
        sampler: Kind of its sampler; the complete trial is in `store.spec`.
        samples: Samples per question at its largest budget; for a beam search, its beams.
        budgets: Where its curve is reported.
        store: Where its trajectories are.
        scored: What a LatentRM adds to it, or None where nothing scores it.
        scorer: Where the LatentRM of a beam search is found; None for independent samples.
        cut_answers: What becomes of answers that were cut off.
    """

    name: str
    sampler: str
    samples: int
    budgets: tuple[int, ...]
    store: TrajectoryStore
    scored: Scored | None = None
    scorer: str | None = None
    cut_answers: CutAnswers = "abstain"

    def unscored(self, questions: int, samples: int, questions_per_shard: int, samples_per_shard: int) -> list[Shard]:
        """Return what the store holds of its trajectories without scores, cut into shards."""
        if self.scored is None:
            return []
        sampled, scored = self.store.covered(questions, samples), self.scored.store.covered(questions, samples)
        return missing_shards(scored | ~sampled, questions_per_shard, samples_per_shard)


WithSearches: TypeAlias = tuple[Trial, tuple[Trial, ...]]
"""A sampled trial and the beam searches that go with it."""
