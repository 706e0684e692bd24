"""A reasoner whose compute is a fixed sleep: what remains of a run's time is what the orchestrator costs."""

import time

import pyarrow as pa

from latent_core.trajectory import Trajectory, TrajectoryBatch
from workers.model_actor import ModelActor
from workers.requests import SampleRequest
from workers.tables import trajectory_table


class SleepingReasoner(ModelActor):
    """Takes its time and returns made-up trajectories."""

    def __init__(self, seconds: float) -> None:
        """Take so many seconds for every shard."""
        super().__init__()
        self._seconds = seconds

    def sample(self, request: SampleRequest) -> pa.Table:
        """Sleep, and answer every question with its sample index."""
        with self._exclusive_section():
            time.sleep(self._seconds)
            rows = [
                Trajectory(
                    question_id=problem.question_id,
                    sample_index=sample,
                    answer_text=f"# {sample}",
                    answer=str(sample),
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
