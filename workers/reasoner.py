"""Model actor of a latent reasoner: it samples, searches or annotates one shard per call.

Every process that looks the actor up imports this module, so torch is imported only where an actor is built.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from latent_core.columns import ColumnBatch
from latent_core.failures import failure_text
from latent_core.reward.types import LabelledBatch
from latent_core.search.beam import BeamBatch
from latent_core.tasks.base import Problem
from latent_core.trajectory import TrajectoryBatch
from workers.model_actor import ModelActor
from workers.requests import AnnotateRequest, SampleRequest, SearchRequest
from workers.tables import beam_table, label_table, trajectory_table

if TYPE_CHECKING:
    import pyarrow as pa

    from latent_core.reward.model import LatentRewardModel

Batch = TypeVar("Batch", bound=ColumnBatch[Any])

_QUESTION_ERRORS = (RuntimeError, ValueError, IndexError)
"""What a question that cannot be computed raises; anything else is no question's fault."""

logger = logging.getLogger(__name__)


class ReasonerWorker(ModelActor):
    """Model actor that holds a reasoner."""

    def __init__(
        self, checkpoint: str, dtype: str, threads: int, device: str = "cpu", *, trainable: bool = False
    ) -> None:
        """Load the checkpoint.

        Args:
            checkpoint: A directory, a hub id, or "bundled:NAME".
            dtype: Name of a precision in `DTYPES`.
            threads: CPU threads.
            device: "cpu", or "cuda" for the GPU that Ray makes visible to this actor.
            trainable: Whether its weights are to be replaced.
        """
        super().__init__()
        import torch

        from latent_core.models.reasoner import DTYPES, LatentReasoner

        torch.set_num_threads(threads)
        self._reasoner = LatentReasoner.from_pretrained(
            checkpoint, device=device, dtype=DTYPES[dtype], trainable=trainable
        )
        self._reward_models: dict[tuple[str, str], LatentRewardModel] = {}
        self._checked: set[tuple[str, frozenset[str], str]] = set()
        self._freeze_garbage_collector()

    def row_invariance(self) -> dict[str, object] | None:
        """Return how this actor keeps rows apart to the bit, see `summary_of`; None where it is not on a CPU."""
        from latent_core.models.invariant_layers import summary_of

        rules = [*self._reasoner.row_rules, *(rule for one in self._reward_models.values() for rule in one.row_rules)]
        return summary_of(rules) if self._reasoner.device.type == "cpu" else None

    def prompts(self) -> tuple[int, int]:
        """Return how many prompts this actor had to read and how many it had kept, of questions asked wave by wave."""
        from latent_core.engine.runtime import RolloutRuntime

        kept = RolloutRuntime.of(self._reasoner).prompts
        return kept.read, kept.recalled

    def sample(self, request: SampleRequest) -> "pa.Table":
        """Sample a shard; returns its table, see `trajectory_table`."""
        samples = range(request.first_sample, request.first_sample + request.samples)

        def failed(problem: Problem, error: str) -> TrajectoryBatch:
            return TrajectoryBatch.failed([problem.question_id] * len(samples), samples, [error] * len(samples))

        batch = self._one_by_one_if_needed(lambda some: self._sample(request, some), request.problems, failed)
        return trajectory_table(batch, request.first_question, request.samples, request.latents)

    def search(self, request: SearchRequest) -> "pa.Table":
        """Search a shard with beams or particles; returns its table, see `beam_table`.

        The LatentRM that guides them is loaded beside the reasoner.
        """

        def failed(problem: Problem, error: str) -> BeamBatch:
            return BeamBatch.failed(problem.question_id, request.beams, request.latent_steps, error)

        batch = self._one_by_one_if_needed(lambda some: self._search(request, some), request.problems, failed)
        return beam_table(batch, request.first_question, request.beams, request.latents)

    def annotate(self, request: AnnotateRequest) -> "pa.Table":
        """Sample and label a shard of candidates; returns its table, see `label_table`."""

        def failed(problem: Problem, error: str) -> LabelledBatch:
            return LabelledBatch.failed(problem.question_id, request.candidates, error)

        batch = self._one_by_one_if_needed(lambda some: self._annotate(request, some), request.problems, failed)
        return label_table(batch, request.problems, request.first_question, request.candidates, request.rollouts)

    def _check_code(self, request: SampleRequest | SearchRequest | AnnotateRequest) -> None:
        """Refuse a request that was planned for other code than is at work here.

        Raises:
            UserError: If it was.
        """
        if request.code is None:
            return
        from latent_core.kinds import check_same_code
        from latent_core.models.backbones import find_backbone
        from latent_core.samplers import parse_sampler

        # Of a family of graders, one stands for all.
        graders = {problem.grader.partition(":")[0]: problem.grader for problem in request.problems}
        looked_at = str(request.sampler), frozenset(graders), repr(request.code)
        if looked_at not in self._checked:
            checkpoint = self._reasoner.checkpoint
            backbone = find_backbone(checkpoint.source, self._reasoner.model.base_model)
            sampler = parse_sampler(request.sampler)
            code = request.code
            check_same_code(checkpoint, backbone, sampler, graders.values(), code.extras, code.reading)
            self._checked.add(looked_at)

    def _one_by_one_if_needed(
        self,
        compute: Callable[[Sequence[Problem]], Batch],
        problems: Sequence[Problem],
        failed: Callable[[Problem, str], Batch],
    ) -> Batch:
        """Compute a batch, and where it fails, each of its questions.

        Only questions that fail alone become error rows, so one bad question neither stops a run nor takes its
        neighbours with it.
        """
        with self._exclusive_section():
            try:
                return compute(problems)
            except _QUESTION_ERRORS as error:
                logger.warning("a batch of %d questions failed (%s); one by one", len(problems), error)
            batches = [_alone(compute, problem, failed) for problem in problems]
            return type(batches[0]).concat(batches)

    def _sample(self, request: SampleRequest, problems: Sequence[Problem]) -> TrajectoryBatch:
        from latent_core.engine.sampling import sample_trajectories
        from latent_core.models.reasoner import DTYPES
        from latent_core.samplers import parse_sampler

        self._check_code(request)
        return sample_trajectories(
            self._reasoner,
            parse_sampler(request.sampler),
            problems,
            range(request.first_sample, request.first_sample + request.samples),
            latent_steps=request.latent_steps,
            answer_tokens=request.answer_tokens,
            seed=request.seed,
            # The device turns numbers into those that are stored much faster than the host, and has fewer to copy.
            latents=None if request.latents == "none" else DTYPES[request.latents],
            keep_prompts=request.keep_prompts,
        )

    def _search(self, request: SearchRequest, problems: Sequence[Problem]) -> BeamBatch:
        from latent_core.samplers import parse_sampler
        from latent_core.search.beam_search import search_latents
        from latent_core.search.rules import search_rule

        self._check_code(request)
        return search_latents(
            self._reasoner,
            self._reward_model(request.scorer, request.scorer_dtype),
            parse_sampler(request.sampler),
            problems,
            search_rule(request.kind, request.beams, request.branching, request.prune_from, request.temperature),
            latent_steps=request.latent_steps,
            answer_tokens=request.answer_tokens,
            seed=request.seed,
        )

    def _annotate(self, request: AnnotateRequest, problems: Sequence[Problem]) -> LabelledBatch:
        from latent_core.reward.annotation import annotate
        from latent_core.samplers import parse_sampler

        self._check_code(request)
        return annotate(
            self._reasoner,
            parse_sampler(request.sampler),
            problems,
            request.candidates,
            request.rollouts,
            latent_steps=request.latent_steps,
            answer_tokens=request.answer_tokens,
            seed=request.seed,
            cut_answers=request.cut_answers,
        )

    def _reward_model(self, source: str, dtype: str) -> "LatentRewardModel":
        """Return the LatentRM, loaded when it is first asked for."""
        if (source, dtype) not in self._reward_models:
            from latent_core.models.reasoner import DTYPES
            from latent_core.reward.model import LatentRewardModel

            model = LatentRewardModel.from_pretrained(source, device=self._reasoner.device, dtype=DTYPES[dtype])
            self._reward_models[source, dtype] = model
        return self._reward_models[source, dtype]


def _alone(
    compute: Callable[[Sequence[Problem]], Batch], problem: Problem, failed: Callable[[Problem, str], Batch]
) -> Batch:
    try:
        return compute((problem,))
    except _QUESTION_ERRORS as error:
        return failed(problem, failure_text(error))
