"""What stopping rules are worth: replayed on finished runs of the same questions with several seeds.

    python -m benchmarks.adaptive RUN_DIR... > benchmarks/results/adaptive.md

Questions are averaged over runs before intervals are made, so that these are over questions alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latent_core.budgets import RULES, Budget, GainTables
from latent_core.budgets.gain_table import read_gain_tables
from latent_core.budgets.replay import REPLAYED, Replay, replay
from latent_core.models.files import locate
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import Interval, paired_difference
from orchestrator.analysis.adaptive import waves_within
from orchestrator.analysis.evaluation import CURVE_COLUMNS, blocks
from orchestrator.analysis.outcomes import join_outcomes, outcomes_of
from orchestrator.experiment.run_directory import open_run
from orchestrator.jobs.run_reports import config_of, task_of
from orchestrator.names import GREEDY

MEANS = (8, 12, 16, 20, 24, 28.8)
GRID = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 25, 28, 32, 36, 40, 45, 50, 56, 64)


def outcomes_in(directory: Path) -> tuple[Outcomes, GainTables]:
    """Read the one sampled trial of a run, and what was fitted for its LatentRM."""
    run = open_run(directory)
    config = config_of(run)
    task = task_of(run, config)
    (trial,) = (one for one in run.trials if one.name != GREEDY)
    read = blocks(trial, task.problems, trial.samples, CURVE_COLUMNS)
    gains = read_gain_tables(locate(config.scorer.checkpoint or ""))
    assert gains is not None
    return join_outcomes([outcomes_of(trial, records, some) for records, some in read]), gains


def budgets_of(waves: tuple[int, ...], aggregation: str) -> dict[str, Budget]:
    """Every rule at some settings, for one aggregation."""
    means = [RULES["gain"].model_validate({"mean": mean, "aggregation": aggregation}) for mean in MEANS]
    others = [rule for kind in RULES if kind != "gain" for rule in RULES[kind].ladder(waves, aggregation)]
    named = {f"gain mean={mean:g}": rule for mean, rule in zip(MEANS, means, strict=True)}
    named |= {rule.describe(): rule for rule in others}
    return {name: Budget(rule, rule.replayed_at(waves)) for name, rule in named.items()}


def shown(interval: Interval) -> str:
    """Points with their 95 % interval."""
    return f"{100 * interval.value:+.2f} [{100 * interval.lo:+.2f}, {100 * interval.hi:+.2f}]"


def at_mean(curves: FloatArray, mean: float) -> FloatArray:
    """The curve [budgets, Q] of fixed budgets at a mean, linearly between budgets."""
    above = int(np.clip(np.searchsorted(GRID, mean), 1, len(GRID) - 1))
    share = (mean - GRID[above - 1]) / (GRID[above] - GRID[above - 1])
    return np.asarray((1 - share) * curves[above - 1] + share * curves[above])


def replay_of(outcomes: Outcomes, gains: GainTables, budgets: dict[str, Budget]) -> dict[str, Replay]:
    """Replay budgets, each at its own waves."""
    decisions = {name: budget.prepare(scored=True, fitted=gains) for name, budget in budgets.items()}
    asked_at = {name: budget.waves for name, budget in budgets.items()}
    looks = sorted({n for waves in asked_at.values() for n in waves})
    return replay(outcomes, decisions, looks, asked_at=asked_at)


def table(runs: Sequence[tuple[Outcomes, GainTables]], aggregation: str) -> list[str]:
    """Lines of one table: a row per rule, the mean over runs and each run by itself."""
    waves = waves_within(min(outcomes.samples for outcomes, _ in runs))
    budgets = budgets_of(waves, aggregation)
    curves = [np.array([AGGREGATIONS[aggregation](outcomes, n) for n in GRID]) for outcomes, _ in runs]
    replays = [replay_of(outcomes, gains, budgets) for outcomes, gains in runs]
    full = np.mean([curve[-1] for curve in curves], axis=0)
    lines = [
        f"## {aggregation}: {100 * full.mean():.2f} % with N = {waves[-1]}",
        "",
        f"| rule | mean samples | share of {waves[-1]} | % correct | minus fixed N at its mean | minus N = {waves[-1]} "
        "| minus fixed N, run by run |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in budgets:
        made = [one[name] for one in replays]
        credit = np.mean([one.credit[aggregation] for one in made], axis=0)
        means = [float(one.samples.mean()) for one in made]
        fixed = [at_mean(curve, mean) for curve, mean in zip(curves, means, strict=True)]
        difference = paired_difference(credit, np.mean(fixed, axis=0))
        alone = [100 * float((one.credit[aggregation] - at).mean()) for one, at in zip(made, fixed, strict=True)]
        mean = float(np.mean(means))
        cells = (name, f"{mean:.1f}", f"{100 * mean / waves[-1]:.0f} %", f"{100 * credit.mean():.2f}")
        own = ", ".join(f"{value:+.2f}" for value in alone)
        lines.append(
            f"| {' | '.join(cells)} | {shown(difference)} | {shown(paired_difference(credit, full))} | {own} |"
        )
    return [*lines, ""]


def main() -> None:
    """Print the tables of the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directories", metavar="RUN_DIR", type=Path, nargs="+")
    runs = [outcomes_in(directory) for directory in parser.parse_args().directories]
    for aggregation in REPLAYED:
        print("\n".join(table(runs, aggregation)))  # noqa: T201


if __name__ == "__main__":
    main()
