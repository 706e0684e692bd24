"""Model actor of a LatentRM: it scores one shard of trajectories per call.

Every process that looks the actor up imports this module, so torch is imported only where an actor is built.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latent_core.failures import failure_text
from latent_core.reward.types import QuestionToScore, ScoreBatch
from workers.model_actor import ModelActor
from workers.requests import ScoreRequest
from workers.tables import questions_to_score, score_table

if TYPE_CHECKING:
    import pyarrow as pa

_QUESTION_ERRORS = (RuntimeError, ValueError, IndexError)
"""What a question that cannot be scored raises; anything else is no question's fault."""

logger = logging.getLogger(__name__)


class ScorerWorker(ModelActor):
    """Model actor that holds a LatentRM."""

    def __init__(self, checkpoint: str, dtype: str, threads: int, device: str = "cpu") -> None:
        """Load the LatentRM.

        Args:
            checkpoint: A directory, a hub id, or "bundled:NAME".
            dtype: Name of a precision in `DTYPES`.
            threads: CPU threads.
            device: "cpu", or "cuda" for the GPU that Ray makes visible to this actor.
        """
        super().__init__()
        import torch

        from latent_core.models.reasoner import DTYPES
        from latent_core.reward.checkpoint import RewardCheckpoint
        from latent_core.reward.model import LatentRewardModel

        torch.set_num_threads(threads)
        self._checkpoint = RewardCheckpoint.open(checkpoint)
        self._model = LatentRewardModel.from_pretrained(checkpoint, device=device, dtype=DTYPES[dtype])
        self._freeze_garbage_collector()

    def row_invariance(self) -> dict[str, object] | None:
        """Return how this actor keeps rows apart to the bit, see `summary_of`; None where it is not on a CPU."""
        from latent_core.models.invariant_layers import summary_of

        return summary_of(self._model.row_rules) if self._model.device.type == "cpu" else None

    def score(self, request: ScoreRequest) -> "pa.Table":
        """Score a shard; returns its table, one row per trajectory in the order of the request, see `score_table`.

        A batch that fails is repeated question by question; trajectories of a question that fails alone have an error
        in place of a score, so one bad question neither stops a run nor takes its neighbours with it.
        """
        with self._exclusive_section():
            questions = questions_to_score(request.trajectories, request.samples, request.questions, request.latents)
            return score_table(request.trajectories, self._score_or_isolate(questions, request.score_answer))

    def _score_or_isolate(self, questions: Sequence[QuestionToScore], score_answer: bool) -> ScoreBatch:
        try:
            return self._score(questions, score_answer)
        except _QUESTION_ERRORS as error:
            logger.warning("scoring %d questions failed (%s); one by one", len(questions), error)
        return ScoreBatch.concat([self._score_alone(one, score_answer) for one in questions])

    def _score_alone(self, question: QuestionToScore, score_answer: bool) -> ScoreBatch:
        try:
            return self._score([question], score_answer)
        except _QUESTION_ERRORS as error:
            return ScoreBatch.failed(len(question.latents), failure_text(error))

    def _score(self, questions: Sequence[QuestionToScore], score_answer: bool) -> ScoreBatch:
        from latent_core.reward.batch_scoring import score_groups

        prompts = [self._checkpoint.prompt_ids(one.question) for one in questions]
        return score_groups(self._model, prompts, questions, score_answer)
