"""A reasoner whose compute is a fixed sleep: what remains of a run's time is what the orchestrator costs."""

import time
import zlib

import pyarrow as pa

from latent_core.trajectory import Trajectory, TrajectoryBatch
from workers.model_actor import ModelActor
from workers.requests import SampleRequest
from workers.tables import trajectory_table


class SleepingReasoner(ModelActor):
    """Takes its time and returns made-up trajectories."""

    def __init__(self, seconds: float, per_row: float = 0.0, most_answers: int = 0) -> None:
        """Take so many seconds for every shard, and more for each of its trajectories.

        Args:
            seconds: For a shard.
            per_row: For a trajectory of it.
            most_answers: Questions have 1 to so many different answers; 0 for one to every sample.
        """
        super().__init__()
        self._seconds, self._per_row, self._most_answers = seconds, per_row, most_answers

    def _answer(self, question_id: str, sample: int) -> str:
        if not self._most_answers:
            return str(sample)
        number = zlib.crc32(f"{question_id} {sample}".encode())
        return str(number % (1 + zlib.crc32(question_id.encode()) % self._most_answers))

    def sample(self, request: SampleRequest) -> pa.Table:
        """Sleep, and make trajectories up."""
        with self._exclusive_section():
            time.sleep(self._seconds + self._per_row * len(request.problems) * request.samples)
            rows = [
                Trajectory(
                    question_id=problem.question_id,
                    sample_index=sample,
                    answer_text=f"# {sample}",
                    answer=self._answer(problem.question_id, sample),
                    correct=sample % 2 == 0,
                    latent_steps=request.latent_steps,
                    answer_tokens=4,
                    answer_ids=(1, 2, 3, 4),
                    latents=None,
                    prompt_flops=1e9,
                    flops=1e9,
                    seconds=0.01,
                )
                for problem in request.problems
                for sample in range(request.first_sample, request.first_sample + request.samples)
            ]
        return trajectory_table(TrajectoryBatch.of(rows), request.first_question, request.samples, request.latents)
