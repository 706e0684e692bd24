"""Model actor of a policy in training: it rolls out and validates with the weights that a request names.

Like `workers.reasoner`, it imports torch only where an actor is built.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latent_core.tasks.base import Problem
from workers.reasoner import ReasonerWorker

if TYPE_CHECKING:
    from ray import ObjectRef

    from latent_core.policy.accuracy import Validation
    from latent_core.policy.rollouts import RolloutBatch
    from latent_core.policy.settings import PolicySettings


@dataclass(frozen=True)
class PolicyWeights:
    """Weights that a request is to be answered with.

    They travel by name, so that an actor which has just been started again has them before it answers.

    Attributes:
        version: The updates that have been done.
        tensors: Where the trained tensors lie in Ray's object store; an actor that has them does not fetch them.
    """

    version: int
    tensors: "ObjectRef[Any]"


@dataclass(frozen=True)
class RolloutRequest:
    """Questions to be rolled out.

    Attributes:
        problems: The questions.
        sampler: What makes trajectories differ, as plain data.
        settings: The recipe.
        seed: Seed of the draws.
        reward_model: The LatentRM that shapes the reward, and its precision; None where there is none.
        weights: The policy.
    """

    problems: tuple[Problem, ...]
    sampler: dict[str, Any]
    settings: "PolicySettings"
    seed: int
    reward_model: tuple[str, str] | None
    weights: PolicyWeights


@dataclass(frozen=True)
class ValidateRequest:
    """Questions by which a policy is judged.

    Attributes:
        problems: As in `RolloutRequest`, like `sampler`, `settings`, `seed` and `weights`.
        samples: Samples per question beside greedy decoding.
    """

    problems: tuple[Problem, ...]
    sampler: dict[str, Any]
    settings: "PolicySettings"
    seed: int
    samples: int
    weights: PolicyWeights


@dataclass(frozen=True)
class PolicyReply:
    """What an actor answers.

    Attributes:
        result: The rollouts, or what validation found.
        version: Version of the weights that it was computed with.
        began: When computing began, in seconds since the epoch by the clock of the actor's node.
        ended: When it ended.
    """

    result: "RolloutBatch | Validation"
    version: int
    began: float
    ended: float


class PolicyWorker(ReasonerWorker):
    """Model actor that holds a policy: a reasoner whose weights can be replaced."""

    def __init__(self, checkpoint: str, dtype: str, threads: int, device: str = "cpu") -> None:
        """Load the checkpoint that training begins with; see `ReasonerWorker`."""
        super().__init__(checkpoint, dtype, threads, device, trainable=True)
        self._weights: ObjectRef[Any] | None = None

    def rollout(self, request: RolloutRequest) -> PolicyReply:
        """Roll questions out with the weights of the request."""
        from latent_core.policy.rollouts import rollout
        from latent_core.samplers import parse_sampler

        with self._exclusive_section():
            began = time.time()
            self._refresh(request.weights)
            rollouts = rollout(
                self._reasoner,
                parse_sampler(request.sampler),
                request.problems,
                request.settings,
                request.seed,
                request.weights.version,
                reward_model=None if request.reward_model is None else self._reward_model(*request.reward_model),
            )
            return PolicyReply(rollouts, request.weights.version, began, time.time())

    def validate(self, request: ValidateRequest) -> PolicyReply:
        """Judge the policy with the weights of the request by greedy decoding and by samples."""
        from latent_core.policy.validation import validate
        from latent_core.samplers import parse_sampler

        with self._exclusive_section():
            began = time.time()
            self._refresh(request.weights)
            found = validate(
                self._reasoner,
                parse_sampler(request.sampler),
                request.problems,
                request.settings,
                request.seed,
                samples=request.samples,
            )
            return PolicyReply(found, request.weights.version, began, time.time())

    def _refresh(self, weights: PolicyWeights) -> None:
        """Take over the weights, unless they are there already."""
        # By the object and not by the version: a learner that was started again counts from an earlier one, and on a
        # GPU need not come to the same bits.
        if self._weights == weights.tensors:
            return
        import ray

        from latent_core.policy.trainable import load_weights

        tensors = ray.get(weights.tensors)
        # Whatever ends this half-way leaves weights of two versions.
        self._weights = None
        load_weights(self._reasoner, tensors)
        self._weights = weights.tensors
