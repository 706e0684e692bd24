"""Configurations of all commands: which typed settings each of them reads."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from latent_core.settings import Settings

_MODELS: Final[Mapping[str, str]] = {
    "run": "orchestrator.config.run:RunConfig",
    "sweep": "orchestrator.config.run:RunConfig",
    "annotate": "orchestrator.config.annotate:AnnotateConfig",
    "train-rm": "orchestrator.config.reward_training:TrainRewardConfig",
    "train-policy": "orchestrator.config.policy_training:TrainPolicyConfig",
    "train-reasoner": "latent_core.training.settings:ReasonerTrainingSettings",
}

CONFIGURED: Final = tuple(_MODELS)
"""Commands that read a configuration, in the order in which one needs them."""


def model_of(command: str) -> type[Settings]:
    """Return the settings that the configuration of a command is read into."""
    module, _, name = _MODELS[command].partition(":")
    model: type[Settings] = getattr(import_module(module), name)
    return model


def readers() -> dict[type[Settings], tuple[str, ...]]:
    """Return the commands that read each kind of configuration."""
    found: dict[type[Settings], tuple[str, ...]] = {}
    for command in CONFIGURED:
        found[model_of(command)] = (*found.get(model_of(command), ()), command)
    return found
