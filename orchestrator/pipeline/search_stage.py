"""The stage of the pipeline that searches with beams, and the columns that it adds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestrator.pipeline.stages import problems_of
from orchestrator.store.specs import BeamShape, TrajectoryStore
from workers.pool import actor_pool
from workers.records import trajectory_table
from workers.requests import SearchRequest

if TYPE_CHECKING:
    from latent_core.search.beam import Beam

BEAM_COLUMNS = ("step_scores", "score", "score_prompt_flops", "score_flops")


class Search:
    """Have an actor search the shard; the samples of a question are its beams, the best one first."""

    def __init__(self, reasoners: Sequence[str], store: TrajectoryStore, beam: BeamShape, scorer: str) -> None:
        self._reasoners = tuple(reasoners)
        self._spec, self._latents = store.spec, store.latents
        self._beam = beam
        self._scorer = scorer

    def __call__(self, block: pa.Table) -> pa.Table:
        """Turn work items into the table of their beams."""
        tables: list[pa.Table] = []
        for item in block.to_pylist():
            request = SearchRequest(
                problems=problems_of(item),
                sampler=self._spec.sampler,
                beams=self._beam.beams,
                candidates=self._beam.candidates,
                scorer=self._scorer,
                scorer_dtype=self._beam.scorer_dtype,
                latent_steps=self._spec.latent_steps,
                answer_tokens=self._spec.answer_tokens,
                seed=self._spec.seed,
                keep_latents=self._latents != "none",
                code=self._spec.code,
            )
            tables.append(
                self._table(actor_pool(self._reasoners).call("search", request, item["number"]), item["first_question"])
            )
        return pa.concat_tables(tables)

    def _table(self, beams: "Sequence[Beam]", first_question: int) -> pa.Table:
        table = trajectory_table([beam.trajectory for beam in beams], first_question, self._beam.beams, self._latents)
        scored = [None if beam.trajectory.error else beam.score for beam in beams]
        columns = (
            pa.array([beam.step_scores for beam in beams], pa.list_(pa.float32())),
            pa.array(scored, pa.float64()),
            pa.array([beam.score_prompt_flops for beam in beams], pa.float64()),
            pa.array([beam.score_flops for beam in beams], pa.float64()),
        )
        for name, column in zip(BEAM_COLUMNS, columns, strict=True):
            table = table.append_column(name, column)
        return table
