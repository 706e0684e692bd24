"""The stages of the pipeline: plain functions on blocks that wait for actors or for the store.

They run in worker processes of their own, which start the faster the less is imported here: no torch.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import ray

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from orchestrator.records import trajectory_table
from orchestrator.shards import Shard
from orchestrator.store import SettingStore
from workers.pool import ActorPool
from workers.requests import SampleRequest


class Generate:
    """Have an actor sample the shard."""

    def __init__(self, reasoners: Sequence[str], store: SettingStore) -> None:
        self._reasoners = tuple(reasoners)
        self._spec = store.spec
        self._latents = store.latents

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn work items into the table of their trajectories."""
        tables: list[pa.Table] = []
        for item in block.to_pylist():
            request = SampleRequest(
                problems=tuple(Problem(**problem) for problem in item["problems"]),
                first_sample=item["first_sample"],
                samples=item["samples"],
                sampler=self._spec.sampler,
                latent_steps=self._spec.latent_steps,
                answer_tokens=self._spec.answer_tokens,
                seed=self._spec.seed,
                keep_latents=self._latents != "none",
            )
            actor = ActorPool(self._reasoners).least_busy(item["number"])
            trajectories: list[Trajectory] = ray.get(actor.sample.remote(request))
            tables.append(trajectory_table(trajectories, item["first_question"], item["samples"], self._latents))
        return pa.concat_tables(tables)


class Persist:
    """Write the shard and pass on only its receipt."""

    def __init__(self, store: SettingStore) -> None:
        self._store = store

    def __call__(self, block: pa.Table) -> pa.Table:
        """Store a table of trajectories, which has to be one whole shard."""
        questions, samples = pc.min_max(block["question_index"]), pc.min_max(block["sample_index"])
        shard = Shard(
            questions["min"].as_py(), questions["max"].as_py() + 1, samples["min"].as_py(), samples["max"].as_py() + 1
        )
        if shard.rows != len(block):
            raise ValueError(f"a block of {len(block)} rows is not the whole shard {shard}")
        self._store.write(shard, block)
        errors = len(block) - block["error"].null_count
        return pa.table({"rows": [len(block)], "correct": [pc.sum(block["correct"]).as_py()], "errors": [errors]})
