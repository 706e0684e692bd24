"""Work list -> Ray Data -> reasoner actors -> store. What run and sweep have in common.

One shard is one input block and one actor call, because Ray Data streams between tasks, not inside one. The stages
are plain functions that wait for actors; they take a little CPU each, different amounts so that Ray Data does not
fuse them and the stages overlap. A stage that scores trajectories belongs between generation and storage.
"""

from dataclasses import dataclass
from typing import Any

import ray
import ray.data
from ray.actor import ActorHandle

from latent_core.tasks.base import Problem
from orchestrator.setting import Setting
from orchestrator.shards import Shard, missing_shards
from orchestrator.stages import Generate, Persist

_GENERATE_CPUS = 0.02
_STORE_CPUS = 0.01
_CALLS_WAITING = 1
"""Calls that wait at the actors while every actor computes one; each costs a process that does the waiting."""


@dataclass(frozen=True)
class Sampling:
    """What the pipelines of a run share; small enough to travel to trials.

    Attributes:
        problems: All questions.
        reasoners: Names of the reasoner actors.
        micro_batch: Questions per shard.
        samples_per_shard: Most samples in a shard.
    """

    problems: tuple[Problem, ...]
    reasoners: tuple[str, ...]
    micro_batch: int
    samples_per_shard: int

    def run(self, setting: Setting, samples: int, board: ActorHandle[Any]) -> None:
        """Sample what the store lacks of a setting's first `samples` samples.

        Args:
            setting: The setting.
            samples: Samples per question.
            board: The progress board; it hears of every shard that has reached the store.
        """
        covered = setting.store.covered(len(self.problems), samples)
        shards = missing_shards(covered, self.micro_batch, self.samples_per_shard)
        if not shards:
            return
        setting.store.prepare()
        in_flight = len(self.reasoners) + _CALLS_WAITING
        items = [self._item(number, shard) for number, shard in enumerate(shards)]
        stored = (
            ray.data.from_items(items, override_num_blocks=len(items))
            .map_batches(
                Generate(self.reasoners, setting.store),
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.TaskPoolStrategy(size=in_flight),
                num_cpus=_GENERATE_CPUS,
            )
            .map_batches(Persist(setting.store), batch_size=None, batch_format="pyarrow", num_cpus=_STORE_CPUS)
        )
        ray.get(board.begin.remote(setting.name))
        try:
            # Receipts are all that comes back, so memory here does not grow with the number of trajectories.
            for receipts in stored.iter_batches(batch_size=None, batch_format="pyarrow"):
                for receipt in receipts.to_pylist():
                    board.advance.remote(**receipt)
        finally:
            board.end.remote(setting.name)

    def _item(self, number: int, shard: Shard) -> dict[str, Any]:
        problems = self.problems[shard.first_question : shard.end_question]
        return {
            "number": number,
            "first_question": shard.first_question,
            "first_sample": shard.first_sample,
            "samples": shard.samples,
            "problems": [
                {"question_id": problem.question_id, "question": problem.question, "answer": problem.answer}
                for problem in problems
            ],
        }
