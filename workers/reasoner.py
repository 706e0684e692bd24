"""The actor that holds a resident latent reasoner and samples one shard per call.

Every process that looks the actor up imports this module, so torch is imported only where an actor is built.
"""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace

from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from workers.requests import SampleRequest

logger = logging.getLogger(__name__)


class ReasonerWorker:
    """A resident reasoner.

    Calls may arrive in several threads: they compute one at a time, and those that wait are counted by `load`.
    """

    def __init__(self, checkpoint: str, dtype: str, threads: int, device: str = "cpu") -> None:
        """Load the checkpoint.

        Args:
            checkpoint: A directory, a hub id, or "bundled:NAME".
            dtype: Name of a precision in `DTYPES`.
            threads: CPU threads.
            device: "cpu", or "cuda" for the GPU that Ray makes visible to this actor.
        """
        import torch

        from latent_core.models.reasoner import DTYPES, LatentReasoner

        torch.set_num_threads(threads)
        self._reasoner = LatentReasoner.from_pretrained(checkpoint, device=device, dtype=DTYPES[dtype])
        self._requests: set[int] = set()
        self._computing = threading.Lock()

    def load(self) -> int:
        """Return the number of requests that are running or waiting here; also a sign of life."""
        return len(self._requests)

    def process_id(self) -> int:
        """Return the operating system's id of the actor's process, to tell a restarted actor from its former self."""
        return os.getpid()

    def sample(self, request: SampleRequest) -> list[Trajectory]:
        """Sample a shard.

        A batch that fails is repeated question by question; only questions that fail alone become error rows, so one
        bad question neither stops a run nor takes its neighbours with it.
        """
        self._requests.add(id(request))
        try:
            with self._computing:
                return self._sample_or_isolate(request)
        finally:
            self._requests.discard(id(request))

    def _sample_or_isolate(self, request: SampleRequest) -> list[Trajectory]:
        try:
            return self._sample(request, request.problems)
        except (RuntimeError, ValueError, IndexError) as error:
            logger.warning("a batch of %d questions failed (%s); trying them one by one", len(request.problems), error)
            return [row for problem in request.problems for row in self._sample_alone(request, problem)]

    def _sample_alone(self, request: SampleRequest, problem: Problem) -> list[Trajectory]:
        try:
            return self._sample(request, (problem,))
        except (RuntimeError, ValueError, IndexError) as error:
            message = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            samples = range(request.first_sample, request.first_sample + request.samples)
            return [Trajectory.failed(problem, sample, message) for sample in samples]

    def _sample(self, request: SampleRequest, problems: Sequence[Problem]) -> list[Trajectory]:
        from latent_core.engine.sampling import sample_trajectories
        from latent_core.samplers import parse_sampler

        trajectories = sample_trajectories(
            self._reasoner,
            parse_sampler(request.sampler),
            problems,
            range(request.first_sample, request.first_sample + request.samples),
            latent_steps=request.latent_steps,
            answer_tokens=request.answer_tokens,
            seed=request.seed,
        )
        if request.keep_latents:
            return trajectories
        return [replace(trajectory, latents=None) for trajectory in trajectories]
