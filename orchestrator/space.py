"""The search space of a sweep: grids over configuration keys, expanded into named settings."""

import itertools
from collections.abc import Mapping
from typing import Any

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.config import RunConfig, parse_config
from orchestrator.overrides import with_overrides

_PLAIN_KEYS = ("latent_steps", "answer_tokens", "seed")
"""What may vary beside the sampler: anything else would change the model or the questions themselves."""


def expand_space(config: RunConfig) -> dict[str, RunConfig]:
    """Return the configuration of every trial by its name, in the order of the space.

    Raises:
        UserError: If the space is empty, a key cannot be varied, or a combination is not a valid configuration.
    """
    if not config.sweep.space:
        raise UserError(
            "sweep.space: empty; give at least one grid, such as {sampler.kind: gaussian, sampler.sigma: [0.4, 0.8]}"
        )
    raw = config.model_dump(mode="json")
    trials: dict[str, RunConfig] = {}
    for number, grid in enumerate(config.sweep.space):
        values = [value if isinstance(value, list) else [value] for value in _checked(number, grid).values()]
        for combination in itertools.product(*values):
            choice = dict(zip(grid, combination, strict=True))
            try:
                trial = parse_config(with_overrides(raw, _kind_first(choice)))
            except UserError as error:
                hint = "; a list stands for several values, and [[a, b]] for one value that is a list"
                raise UserError(f"sweep.space[{number}]: {error}{hint * ('valid tuple' in str(error))}") from None
            trials.setdefault(_name(trial, choice), trial)
    return trials


def _checked(number: int, grid: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, value in grid.items():
        if not key.startswith("sampler.") and key not in _PLAIN_KEYS:
            hint = nearest_hint(key, [*_PLAIN_KEYS, "sampler.kind"])
            raise UserError(
                f"sweep.space[{number}]: {key!r} cannot be varied in a sweep: {hint} (or any sampler setting)"
            )
        if value == []:
            raise UserError(f"sweep.space[{number}]: {key!r} has no values")
    return grid


def _kind_first(choice: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # Setting the kind drops the other sampler settings, so it has to come before them.
    return sorted(choice.items(), key=lambda item: item[0] != "sampler.kind")


def _name(trial: RunConfig, choice: Mapping[str, Any]) -> str:
    others = [f"{key}={choice[key]}" for key in _PLAIN_KEYS if key in choice]
    return " ".join([trial.sampler.describe(), *others])
