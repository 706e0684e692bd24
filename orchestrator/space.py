"""The search space of a sweep: grids and distributions over configuration keys, expanded into named settings."""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.config import RunConfig, parse_config
from orchestrator.distributions import draw, is_distribution
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
        where = f"sweep.space[{number}]"
        for choice in _choices(where, _checked(number, grid), config):
            try:
                trial = parse_config(with_overrides(raw, _kind_first(choice)))
            except UserError as error:
                hint = "; a list stands for several values, and [[a, b]] for one value that is a list"
                raise UserError(f"sweep.space[{number}]: {error}{hint * ('valid tuple' in str(error))}") from None
            trials.setdefault(_name(trial, choice), trial)
    return trials


def _choices(where: str, grid: Mapping[str, Any], config: RunConfig) -> Iterator[dict[str, Any]]:
    """Return what a grid stands for: combinations of its lists, with values drawn from its distributions."""
    values = [value if isinstance(value, list) else [value] for value in grid.values()]
    rng = random.Random(f"{config.seed} {where}")
    for combination in itertools.product(*values):
        choice = dict(zip(grid, combination, strict=True))
        drawn = {key: value for key, value in choice.items() if is_distribution(value)}
        for _ in range(config.sweep.draws if drawn else 1):
            yield {**choice, **{key: draw(f"{where}: {key}", value, rng) for key, value in drawn.items()}}


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
