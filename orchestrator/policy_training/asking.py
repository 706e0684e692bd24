"""Rollouts asked of the actors ahead of the learner, by the first worker of the training."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import ray
import ray.cloudpickle

from latent_core.policy.accuracy import Validation
from latent_core.policy.rollouts import RolloutBatch
from latent_core.tasks.base import Problem
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.policy_training.busy import Interval
from orchestrator.policy_training.order import parts_of, seed_of
from workers.policy import PolicyReply, PolicyWeights, RolloutRequest, ValidateRequest
from workers.pool import ActorPool

_PARTS_PER_ACTOR = 2
"""Requests per actor and update: one that is slower than the others leaves the rest of its share to them."""


class RolloutDesk:
    """Asks the actors for rollouts and validations with the weights that were published last.

    Attributes:
        bytes_per_rollout: What travels per rollout, question and reply, as pickled; None before the first.
    """

    def __init__(self, config: TrainPolicyConfig, actors: Sequence[str]) -> None:
        """Find the actors by their names."""
        self._config, self._actors = config, len(actors)
        self._pool = ActorPool(actors)
        self._threads = ThreadPoolExecutor(max_workers=4 * self._actors * _PARTS_PER_ACTOR)
        self._weights: PolicyWeights | None = None
        self._asked: dict[int, list[Future[RolloutBatch]]] = {}
        self._ready: dict[int, RolloutBatch] = {}
        self._model = None if config.reward_model is None else (config.reward_model, config.dtype)
        self._computing: list[Interval] = []
        self.bytes_per_rollout: float | None = None

    def publish(self, version: int, tensors: dict[str, Any]) -> None:
        """Let what is asked from now on be answered with these weights."""
        self._weights = PolicyWeights(version, ray.put(tensors))

    def ask(self, update: int, problems: Sequence[Problem]) -> None:
        """Ask for the rollouts of an update; returns at once."""
        seed, weights = seed_of(self._config.seed, update), self._published()
        requests = [
            RolloutRequest(part, self._config.sampler.to_config(), self._config.policy, seed, self._model, weights)
            for part in parts_of(problems, self._actors * _PARTS_PER_ACTOR)
        ]
        self._asked[update] = [
            self._threads.submit(self._rollouts, update, number, one) for number, one in enumerate(requests)
        ]

    def rollouts(self, update: int) -> RolloutBatch:
        """Return the rollouts of an update, and keep them until `forget`; waits for them."""
        if update not in self._ready:
            parts = [one.result() for one in self._asked.pop(update)]
            self._ready[update] = RolloutBatch.concat(parts)
        return self._ready[update]

    def keep(self, update: int, rollouts: RolloutBatch) -> None:
        """Take rollouts that were asked for before a restart."""
        self._ready[update] = rollouts

    def forget(self, update: int) -> None:
        """Drop the rollouts of an update that has been done."""
        del self._ready[update]

    def validate(self, problems: Sequence[Problem]) -> Validation:
        """Judge the policy that was published last; waits for it."""
        config, weights = self._config, self._published()
        seed = seed_of(config.seed, "validation")
        requests = [
            ValidateRequest(part, config.sampler.to_config(), config.policy, seed, config.validation.samples, weights)
            for part in parts_of(problems, self._actors * _PARTS_PER_ACTOR)
        ]
        asked = [self._threads.submit(self._call, "validate", number, one) for number, one in enumerate(requests)]
        return Validation.concat([cast(Validation, one.result().result) for one in asked])

    def computing(self) -> list[Interval]:
        """Return when actors have computed since this was last asked, by their clocks."""
        # Threads append meanwhile.
        taken = self._computing[:]
        del self._computing[: len(taken)]
        return taken

    def close(self) -> None:
        """Ask for nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _published(self) -> PolicyWeights:
        assert self._weights is not None  # Nothing is asked before `publish`.
        return self._weights

    def _rollouts(self, update: int, number: int, request: RolloutRequest) -> RolloutBatch:
        reply = self._call("rollout", number, request)
        while is_too_old(reply.version, update, self._config.staleness):
            reply = self._call("rollout", number, replace(request, weights=self._published()))
        rollouts = cast(RolloutBatch, reply.result)
        if self.bytes_per_rollout is None:
            # References are Ray's to count; their bytes are those of a version number and an id.
            asked = len(ray.cloudpickle.dumps((request.problems, request.sampler, request.settings, request.seed)))
            self.bytes_per_rollout = (asked + len(ray.cloudpickle.dumps(reply))) / len(rollouts)
        return rollouts

    def _call(self, method: str, number: int, request: RolloutRequest | ValidateRequest) -> PolicyReply:
        reply = cast(PolicyReply, self._pool.call(method, request, number))
        self._computing.append(Interval(reply.began, reply.ended))
        return reply


def is_too_old(version: int, update: int, staleness: int) -> bool:
    """Whether rollouts of a version of the weights are further behind an update than its staleness allows.

    Args:
        version: Updates that had been done when the weights were taken.
        update: The update that is to learn from them, 0-based.
        staleness: By how many versions they may be behind.
    """
    return version < update - staleness
