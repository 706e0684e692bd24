"""Search space of a sweep: grids and distributions over configuration keys, expanded into named trials."""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

from latent_core.budgets import DEFAULT_WAVES, Budget
from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.config.distributions import bounds, draw, is_distribution
from orchestrator.config.loading import parse_config, with_overrides
from orchestrator.config.run import RunConfig

BUDGET = "budget"
PLAIN_KEYS = (
    "latent_steps",
    "answer_tokens",
    "seed",
    "budgets",
    "search.kind",
    "search.beams",
    "search.candidates",
    "search.prune_from",
    "search.temperature",
)
"""What may vary within a sweep beside the sampler and the budget rule."""
GROUP_KEYS = ("checkpoint", "scorer.checkpoint")
GROUP_PREFIX = "task."
"""Checkpoints, LatentRMs and tasks make several sweeps of one."""


def expand_space(config: RunConfig) -> dict[str, RunConfig]:
    """Return the configuration of every trial by its name, in the order of the space.

    Raises:
        UserError: If the space is empty, a key cannot be varied, or a combination is not a valid configuration.
    """
    check_space(config)
    trials: dict[str, RunConfig] = {}
    for number, grid in enumerate(config.sweep.space):
        for choice in _choices(number, grid, config):
            name, trial = trial_of(config, number, choice)
            trials.setdefault(name, trial)
    return trials


def corners(config: RunConfig) -> dict[str, RunConfig]:
    """Return trials at the edges of the space: all combinations of its lists and of the ends of its distributions.

    What holds for all of them, such as that rollouts fit into the model's context, holds for whatever lies between.

    Raises:
        UserError: As `expand_space`.
    """
    check_space(config)
    trials: dict[str, RunConfig] = {}
    for number, grid in enumerate(config.sweep.space):
        where = f"sweep.space[{number}]"
        ends = {key: _ends(f"{where}: {key}", value) for key, value in grid.items()}
        for combination in itertools.product(*ends.values()):
            name, trial = trial_of(config, number, dict(zip(grid, combination, strict=True)))
            trials.setdefault(name, trial)
    return trials


def _ends(where: str, value: Any) -> list[Any]:
    if is_distribution(value):
        return list(bounds(where, value))
    values = listed(value)
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return sorted({min(values), max(values)})
    return values


def trial_of(config: RunConfig, number: int, choice: Mapping[str, Any]) -> tuple[str, RunConfig]:
    """Return name and configuration of the trial that a choice from a grid stands for.

    Args:
        config: The sweep's configuration.
        number: Which grid it is from, for error messages.
        choice: A value for each of the grid's keys.

    Raises:
        UserError: If the choice is not a valid configuration.
    """
    try:
        trial = parse_config(RunConfig, with_overrides(config.model_dump(mode="json"), _kind_first(choice)))
    except UserError as error:
        hint = "; a list stands for several values, and [[a, b]] for one value that is a list"
        raise UserError(f"sweep.space[{number}]: {error}{hint * ('valid tuple' in str(error))}") from None
    return _name(trial, choice), trial


def check_space(config: RunConfig) -> None:
    """Refuse a space that is empty or names a key that cannot be varied.

    Raises:
        UserError: The message names the key and the nearest one that can.
    """
    if not config.sweep.space:
        raise UserError(
            "sweep.space: empty; give at least one grid, such as {sampler.kind: gaussian, sampler.sigma: [0.4, 0.8]}"
        )
    for number, grid in enumerate(config.sweep.space):
        for key, value in grid.items():
            if key == "aggregation":
                raise UserError(
                    f"sweep.space[{number}]: every aggregation is computed of every trial, from the same samples; "
                    "say in sweep.objective by which of them trials are compared"
                )
            if not key.startswith(("sampler.", f"{BUDGET}.")) and key not in (*PLAIN_KEYS, BUDGET):
                hint = nearest_hint(key, [*PLAIN_KEYS, BUDGET, "sampler.kind", "checkpoint", "task.name", "task.path"])
                raise UserError(
                    f"sweep.space[{number}]: {key!r} cannot be varied in a sweep: {hint} (or any sampler setting)"
                )
            if value == []:
                raise UserError(f"sweep.space[{number}]: {key!r} has no values")


def listed(value: Any) -> list[Any]:
    """Return the values of a key of a grid that is no distribution."""
    return value if isinstance(value, list) else [value]


def _choices(number: int, grid: Mapping[str, Any], config: RunConfig) -> Iterator[dict[str, Any]]:
    """Return what a grid stands for: combinations of its lists, with values drawn from its distributions."""
    where = f"sweep.space[{number}]"
    rng = random.Random(f"{config.seed} {where}")
    for combination in itertools.product(*map(listed, grid.values())):
        choice = dict(zip(grid, combination, strict=True))
        drawn = {key: value for key, value in choice.items() if is_distribution(value)}
        for _ in range(config.sweep.draws if drawn else 1):
            yield {**choice, **{key: draw(f"{where}: {key}", value, rng) for key, value in drawn.items()}}


def _kind_first(choice: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # Setting the kind or the rule drops the other settings, so it has to come before them.
    return sorted(choice.items(), key=lambda item: item[0] not in ("sampler.kind", BUDGET, f"{BUDGET}.rule"))


def _name(trial: RunConfig, choice: Mapping[str, Any]) -> str:
    others = [f"{key}={_spelled(choice[key])}" for key in PLAIN_KEYS if key in choice]
    return " ".join([trial_name(trial), *others])


def describe_budget(budget: Budget) -> str:
    """Return a budget rule in words, such as "budget posterior confidence=0.9"; waves that are the default are not."""
    waves = "" if budget.waves == DEFAULT_WAVES else f" waves={','.join(map(str, budget.waves))}"
    return f"budget {budget.rule.describe()}{waves}"


def trial_name(config: RunConfig) -> str:
    """Return what the trial of a configuration is called: its sampler, and its budget rule where it has one."""
    name = config.sampler.describe()
    return name if config.budget is None or config.sampler.deterministic else f"{name} {describe_budget(config.budget)}"


def _spelled(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
