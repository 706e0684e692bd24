"""Serializable training job of a policy: what travels to the workers of Ray Train."""

from dataclasses import dataclass
from pathlib import Path

from latent_core.models.reasoner import DTYPES, LatentReasoner
from latent_core.policy.learner import PolicyLearner
from latent_core.tasks.base import Problem
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.policy_training.plan import PolicyPlan


@dataclass(frozen=True)
class PolicyJob:
    """Serializable form of a `PolicyPlan`.

    Attributes:
        config: The configuration; local sources are absolute, since workers have folders of their own.
        train: Questions to train on.
        validation: Questions by which training is judged.
        actors: Names of the actors that roll out.
    """

    config: TrainPolicyConfig
    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    actors: tuple[str, ...]

    @classmethod
    def of(cls, plan: PolicyPlan, actors: tuple[str, ...] = ()) -> "PolicyJob":
        """Take from a plan what workers need."""
        config = plan.config
        places = {"checkpoint": _absolute(config.checkpoint)}
        if config.reward_model is not None:
            places["reward_model"] = _absolute(config.reward_model)
        return cls(config.model_copy(update=places), plan.train, plan.validation, actors)

    def new_learner(self, device: str) -> PolicyLearner:
        """Load what training begins with, to be trained on a device."""
        config = self.config
        reasoner = LatentReasoner.from_pretrained(
            config.checkpoint, device=device, dtype=DTYPES[config.dtype], trainable=True
        )
        return PolicyLearner(reasoner, config.sampler, config.policy, config.seed)


def _absolute(source: str) -> str:
    local = Path(source).expanduser()
    return str(local.absolute()) if local.is_dir() else source
