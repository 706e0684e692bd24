"""Sampling pipeline: work list -> Ray Data -> reasoner actors -> store -> scorer actors -> store, for run and sweep.

One shard is one input block and one actor call, because Ray Data streams between tasks, not inside one. The stages
wait for actors; they take a little CPU each, different amounts so that Ray Data does not fuse them and generation and
scoring overlap. Trajectories reach the store before they are scored, so what has been sampled is never sampled again
because a scorer failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
from ray.actor import ActorHandle

from latent_core.tasks.base import Problem
from orchestrator.pipeline.blocks import dataset_of
from orchestrator.pipeline.dispatch import call_actors, call_actors_and_write, users_errors
from orchestrator.pipeline.stages import CallActor, Load, Persist, SampleRequests, ScoreRequests, SearchRequests
from orchestrator.pipeline.waves import RunWaves
from orchestrator.store.decisions import Decisions
from orchestrator.store.shards import Shard, missing_shards
from orchestrator.store.trial import Coverage, Trial

GENERATE_CPUS = 0.02
_LOAD_CPUS = 0.01
_SCORE_CPUS = 0.015


@dataclass(frozen=True)
class Sampling:
    """What the pipelines of a run share; small enough to travel to trials.

    Attributes:
        problems: All questions.
        reasoners: Names of the reasoner actors.
        micro_batch: Questions per shard.
        samples_per_shard: Most samples in a shard.
        scorers: Names of the scorer actors, if there are any.
    """

    problems: tuple[Problem, ...]
    reasoners: tuple[str, ...]
    micro_batch: int
    samples_per_shard: int
    scorers: tuple[str, ...] = ()

    def run(self, trial: Trial, samples: int, board: ActorHandle[Any]) -> None:
        """Sample, and score, what the store lacks of a trial's first `samples` samples.

        Args:
            trial: The trial.
            samples: Samples per question.
            board: The progress board; it hears of every shard that has been dealt with.
        """
        coverage = trial.coverage(len(self.problems), samples)
        if coverage.decisions is not None:
            self._run_waves(trial, coverage, coverage.decisions, board)
            return
        to_sample = missing_shards(coverage.sampled, self.micro_batch, self._samples_per_shard(trial))
        to_score = coverage.unscored(self.micro_batch, self.samples_per_shard)
        if not to_sample and not to_score:
            return
        ray.get(board.begin.remote(trial.name))
        try:
            # What is in the store already needs no reasoner: it is scored first.
            if to_score and trial.scored is not None:
                trial.scored.store.prepare()
                self._consume(self._score(trial, self._read(trial, to_score), to_score), board, trial)
            if to_sample:
                trial.store.prepare()
                fresh = self._generate(trial, to_sample)
                if trial.scored is not None:
                    trial.scored.store.prepare()
                    fresh = self._score(trial, fresh, to_sample)
                self._consume(fresh, board, trial)
        finally:
            board.end.remote(trial.name)

    def _run_waves(self, trial: Trial, coverage: Coverage, decisions: Decisions, board: ActorHandle[Any]) -> None:
        if not decisions.open:
            return
        trial.store.prepare()
        if trial.scored is not None:
            trial.scored.store.prepare()
        starts = range(0, len(self.problems), self.micro_batch)
        spans = [(first, min(first + self.micro_batch, len(self.problems))) for first in starts]
        blocks = [Shard(*span, 0, decisions.last) for span in spans if not decisions.settled[slice(*span)].all()]
        begun = [bool(own.any()) for own in coverage.sampled]
        stage = RunWaves(trial, self.reasoners, self.scorers, self.samples_per_shard, begun)
        ray.get(board.begin.remote(trial.name, decisions.open))
        try:
            # While a block is being scored or decided upon, its reasoner needs another one.
            actors = len(self.reasoners) + len(self.scorers)
            self._consume(
                call_actors(dataset_of(blocks, self.problems), stage, actors, len(blocks), GENERATE_CPUS), board, trial
            )
        finally:
            board.end.remote(trial.name)

    def _samples_per_shard(self, trial: Trial) -> int:
        # The beams of a question are found together.
        return self.samples_per_shard if trial.store.spec.beam is None else trial.samples

    def _generate(self, trial: Trial, shards: Sequence[Shard]) -> ray.data.Dataset:
        store, beam = trial.store, trial.store.spec.beam
        stage = CallActor(self.reasoners, "sample", SampleRequests(store.spec, store.kept))
        if beam is not None:
            requests = SearchRequests(store.spec, beam, str(trial.scorer), store.latents)
            stage = CallActor(self.reasoners, "search", requests)
        work = dataset_of(shards, self.problems)
        write = Persist(store, trial.scored is not None)
        return call_actors_and_write(work, stage, write, len(self.reasoners), len(shards), GENERATE_CPUS)

    def _read(self, trial: Trial, shards: Sequence[Shard]) -> ray.data.Dataset:
        return dataset_of(shards, self.problems).map_batches(
            Load(trial.store), batch_size=None, batch_format="pyarrow", num_cpus=_LOAD_CPUS
        )

    def _score(self, trial: Trial, trajectories: ray.data.Dataset, shards: Sequence[Shard]) -> ray.data.Dataset:
        assert trial.scored is not None
        store = trial.scored.store
        texts = tuple(problem.question for problem in self.problems)
        requests = ScoreRequests(texts, trial.store.latents, store.spec.score_answer)
        stage = CallActor(self.scorers, "score", requests)
        return call_actors_and_write(trajectories, stage, Persist(store), len(self.scorers), len(shards), _SCORE_CPUS)

    def _consume(self, receipts: ray.data.Dataset, board: ActorHandle[Any], trial: Trial) -> None:
        # Receipts are all that comes back, so memory here does not grow with the number of trajectories.
        with users_errors():
            for batch in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
                table: Any = batch
                for one in table.to_pylist():
                    settled, spared = one.pop("settled", 0), one.pop("spared", 0)
                    board.advance.remote(**one)
                    if trial.budget is not None:
                        board.settle.remote(trial.name, settled, spared)
