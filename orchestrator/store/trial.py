"""Trial: a curve of a run, as the processes that work on it need to know it, and as JSON.

With its plain form what has been planned can be found again without the models: in `run.json`, and in Ray Tune's trial
processes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np

from latent_core.selection.calibration import VoteCalibration
from latent_core.trajectory import CutAnswers
from orchestrator.store.decisions import Decisions, SeenSamples, WaveBudget
from orchestrator.store.folder import ShardFolder
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import BoolArray, Shard, covered_by, missing_shards
from orchestrator.store.specs import BeamShape, ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore

T = TypeVar("T")

CUT_ANSWERS_BEFORE: Final[CutAnswers] = "vote"
"""What became of cut answers before there was a setting for it: what run directories and labels without it were made
with."""


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

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "scores": self.store.spec.content,
            "calibration": _plain_calibration(self.calibration),
            "answer_calibration": _plain_calibration(self.answer_calibration),
        }

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any], trajectories: TrajectoryStore) -> "Scored":
        """Return what `to_plain` has described; errors are those of `Trial.from_plain`."""
        spec = ScoreSpec(**_without_version(raw["scores"]))
        _check_version(raw["scores"], spec.content)
        calibrations = [_calibration(raw[name]) for name in ("calibration", "answer_calibration")]
        return cls(ScoreStore(trajectories, spec), *calibrations)


@dataclass(frozen=True)
class Coverage:
    """Snapshot of what the store holds of a trial: one listing of each of its folders.

    Attributes:
        sampled: Trajectories that are there, bool [questions, samples].
        scored: Those that have a score, of the same shape; None where nothing scores the trial.
        files: Where the trajectories are, and which latent vectors each file has; None where that is not known.
        decisions: How far each question goes; None where all of them go to the end.
    """

    sampled: BoolArray
    scored: BoolArray | None = None
    files: Sequence[tuple[Shard, str]] | None = None
    decisions: Decisions | None = None

    @property
    def wanted(self) -> BoolArray:
        """What the trial asks for, bool [questions, samples]; of questions that a rule has not settled, all."""
        return np.ones_like(self.sampled) if self.decisions is None else self.decisions.wanted

    @property
    def lacking(self) -> BoolArray:
        """What the trial asks for and is not ready, bool [questions, samples]."""
        return self.wanted & ~self.ready

    def of(self, sampled: BoolArray, scored: BoolArray | None) -> "Coverage":
        """Return it where something has come or gone; where the trajectories are is not known any more."""
        found = Coverage(sampled, scored)
        return found if self.decisions is None else replace(found, decisions=self.decisions.within(found.ready))

    @property
    def ready(self) -> BoolArray:
        """What has been sampled and, where a LatentRM scores the trial, scored, bool [questions, samples]."""
        return self.sampled if self.scored is None else self.sampled & self.scored

    @property
    def ready_samples(self) -> int:
        """How many samples of every question are ready; an interrupted or stopped trial has fewer than it wants.

        Where a rule decides on further waves, none beyond the first: what others have left in the store is no result
        of it.
        """
        ready = self.ready if self.decisions is None else self.ready[:, : self.decisions.first]
        complete = ready.all(axis=0)
        return int(np.argmin(complete)) if not complete.all() else complete.size

    def shards_with_latents(self) -> list[Shard]:
        """Return the shards that have latent vectors; none where it is not known which they are."""
        return sorted({shard for shard, latents in self.files or () if latents != "none"})

    @property
    def lacks_latents(self) -> bool:
        """Whether some of what is there is known to have no latent vectors."""
        with_latents = covered_by(self.shards_with_latents(), *self.sampled.shape)
        return self.files is not None and bool((self.sampled & ~with_latents).any())

    @property
    def missing(self) -> int:
        """Number of trajectories that the store lacks."""
        return int(np.count_nonzero(~self.sampled))

    def unscored(self, questions_per_shard: int, samples_per_shard: int) -> list[Shard]:
        """Return the trajectories that are there without scores, and are asked for, cut into shards."""
        if self.scored is None:
            return []
        return missing_shards(self.scored | ~self.sampled | ~self.wanted, questions_per_shard, samples_per_shard)


@dataclass(frozen=True)
class Trial:
    """One trial of a run: a curve.

    Attributes:
        name: Unique within the run, readable.
        sampler: Kind of its sampler; its complete setting is in `store.spec`.
        samples: Samples per question at its largest budget; for a beam search, its beams.
        budgets: Where its curve is reported.
        store: Where its trajectories are.
        scored: What a LatentRM adds to it, or None where nothing scores it.
        scorer: Where the LatentRM of a beam search is found; None for independent samples.
        cut_answers: What becomes of answers that were cut off.
        searches: The beam searches that go with a sampled trial.
        budget: Which questions get further samples; None where all of them get the same number.
    """

    name: str
    sampler: str
    samples: int
    budgets: tuple[int, ...]
    store: TrajectoryStore
    scored: Scored | None = None
    scorer: str | None = None
    cut_answers: CutAnswers = "abstain"
    searches: tuple["Trial", ...] = ()
    budget: WaveBudget | None = None

    @property
    def fixed_budgets(self) -> tuple[int, ...]:
        """Budgets that every question gets: without a rule all of them, else those of the first wave."""
        return self.budgets if self.budget is None else tuple(n for n in self.budgets if n <= self.budget.first)

    @property
    def with_searches(self) -> tuple["Trial", ...]:
        """The trial itself, followed by its beam searches."""
        return (self, *self.searches)

    @property
    def vote_calibration(self) -> VoteCalibration | None:
        """How latent-only scores become vote weights, of its samples and of the beams of its searches."""
        return None if self.scored is None else self.scored.calibration

    @property
    def folders(self) -> tuple[ShardFolder, ...]:
        """Where its results are: the trajectories, and their scores if it is scored."""
        return (self.store,) if self.scored is None else (self.store, self.scored.store)

    def coverage(self, questions: int, samples: int | None = None) -> Coverage:
        """Look what the store holds of it, by default of all its samples; with a budget rule, always of all."""
        samples = self.samples if samples is None or self.budget is not None else samples
        scored = None if self.scored is None else self.scored.store.covered(questions, samples)
        files = self.store.files()
        found = Coverage(covered_by((shard for shard, _ in files), questions, samples), scored, files)
        return found if self.budget is None else replace(found, decisions=self._decisions(found.sampled))

    def _decisions(self, sampled: BoolArray) -> Decisions:
        seen = self.seen(range(len(sampled)))
        try:
            if sampled.any():
                self.read_into(seen)
        except DamagedShard:
            # Whoever reads everything says so and mends it; until then every question is open.
            seen = self.seen(range(len(sampled)))
        return seen.decide()

    def seen(self, questions: range) -> SeenSamples:
        """Return the samples of some questions as its budget rule sees them, none so far.

        Raises:
            ValueError: If it has no budget rule.
        """
        if self.budget is None:
            raise ValueError(f"{self.name} has no budget rule")
        return SeenSamples(self.budget, questions, self.cut_answers, self.name)

    def read_into(self, seen: SeenSamples) -> None:
        """Add what the store holds; raises what `SeenSamples.read` does."""
        seen.read(self.store, None if self.scored is None else self.scored.store)

    def to_plain(self) -> dict[str, Any]:
        """Return the trial as JSON can hold it; the place of the store is left out: stores are moved and copied."""
        return {**self._to_plain_alone(), "searches": [search._to_plain_alone() for search in self.searches]}

    def _to_plain_alone(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sampler": self.sampler,
            "samples": self.samples,
            "budgets": list(self.budgets),
            "trajectories": self.store.spec.content,
            "latents": self.store.latents,
            "scored": None if self.scored is None else self.scored.to_plain(),
            "scorer": self.scorer,
            "cut_answers": self.cut_answers,
            "end_ids": None if self.store.end_ids is None else list(self.store.end_ids),
            **({} if self.budget is None else {"budget": self.budget.to_plain()}),
        }

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any], store: str) -> "Trial":
        """Return the trial that `to_plain` has described.

        Args:
            raw: What it returned.
            store: Where the store is.

        Raises:
            ValueError: If the store of that time named its folders otherwise.
            KeyError: If something is missing.
            TypeError: If something is not what it should be.
        """
        searches = tuple(cls._from_plain_alone(search, store) for search in raw["searches"])
        return replace(cls._from_plain_alone(raw, store), searches=searches)

    @classmethod
    def _from_plain_alone(cls, raw: Mapping[str, Any], store: str) -> "Trial":
        content = _without_version(raw["trajectories"])
        beam = content.pop("beam", None)
        spec = TrajectorySpec(**content, beam=BeamShape(**beam) if beam else None)
        _check_version(raw["trajectories"], spec.content)
        trajectories = TrajectoryStore(store, spec, raw["latents"], raw.get("end_ids"))
        return cls(
            name=raw["name"],
            sampler=raw["sampler"],
            samples=int(raw["samples"]),
            budgets=tuple(int(n) for n in raw["budgets"]),
            store=trajectories,
            scored=None if raw["scored"] is None else Scored.from_plain(raw["scored"], trajectories),
            scorer=raw["scorer"],
            cut_answers=raw.get("cut_answers", CUT_ANSWERS_BEFORE),
            budget=_budget(raw),
        )


def disregard_damaged(trials: Iterable[Trial], question_ids: Sequence[str]) -> list[str]:
    """Read the shards of trials, and take those that are damaged for absent; returns a line for each of them."""
    return [line for folder in _folders(trials) for line in folder.disregard_damaged(folder.damaged(question_ids))]


def around_damage(trials: Sequence[Trial], work: Callable[[], T]) -> tuple[T, list[str]]:
    """Do something that reads trials, and again without what turns out to be damaged; lists that, a line for each.

    To look for damage before would be to read everything twice.
    """
    lines: list[str] = []
    while True:
        try:
            return work(), lines
        except DamagedShard as damage:
            concerned = [folder for folder in _folders(trials) if folder.directory == damage.directory]
            if not concerned:
                raise
            for folder in concerned:
                folder.disregard(damage)
            lines.append(f"{damage.what}; it counts as absent until the command of this run makes it anew")


def _folders(trials: Iterable[Trial]) -> list[ShardFolder]:
    return [folder for trial in trials for folder in trial.folders]


def _without_version(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "version"}


def _check_version(recorded: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    # The version is part of what names a folder: under another one nothing would be found, and all seem to be missing.
    if recorded["version"] != own["version"]:
        raise ValueError(
            f"its store has version {recorded['version']}, this latentswarm reads version {own['version']}"
        )


def _plain_calibration(calibration: VoteCalibration | None) -> dict[str, Any] | None:
    return None if calibration is None else calibration.model_dump(mode="json")


def _budget(raw: Mapping[str, Any]) -> WaveBudget | None:
    plain = raw.get("budget")
    return None if plain is None else WaveBudget.from_plain(plain, scored=raw["scored"] is not None)


def _calibration(raw: Mapping[str, Any] | None) -> VoteCalibration | None:
    return None if raw is None else VoteCalibration.model_validate(raw)
