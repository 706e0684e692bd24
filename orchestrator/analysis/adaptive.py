"""Adaptive budgets on a store: what stopping rules would have come to, beside as many samples for every question.

Nothing is sampled: rules run on random orders of the stored samples (`latent_core.budgets.replay`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import yaml

from latent_core.budgets import RULES, Budget, BudgetRule, GainTables, parse_budget
from latent_core.budgets.replay import Replay, replay, replayable
from latent_core.errors import UserError
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import (
    DEFAULT_LEVEL,
    DIFFERENCE_BOUNDS,
    mean_interval,
    pseudo_question_intervals,
    unbounded_interval,
)
from orchestrator.analysis.curves import QuestionCosts
from orchestrator.files import write_csv

REPLAYED, ONLINE = "replayed", "online"
"""How a rule has decided: on samples that there were anyway, or on what is sampled."""

_FIRST_WAVE = 4
_FEWEST_SAMPLES = 2 * _FIRST_WAVE
# Ratio of neighbouring budgets between which the curve of fixed budgets is read linearly.
_FINEST_RATIO = 1.13


@dataclass(frozen=True)
class AdaptiveRow:
    """One line of `adaptive.csv`.

    Attributes:
        trial: Name of the sampler setting.
        rule: The rule and its settings, such as "posterior confidence=0.9".
        aggregation: What makes an answer of the samples of a question.
        horizon: Most samples of a question.
        samples: Mean samples of a question.
        samples_lo: Lower end of its 95 % interval.
        samples_hi: Upper end of its 95 % interval.
        waves: Mean waves of a question.
        value: Accuracy as a fraction of 1.
        lo: Lower end of its 95 % interval.
        hi: Upper end of its 95 % interval.
        fixed: Accuracy where every question has the mean number of samples.
        difference: `value` minus `fixed`.
        difference_lo: Lower end of its 95 % interval, paired over questions.
        difference_hi: Upper end of its 95 % interval.
        questions: Number of questions.
        flops: Expected cost over all questions, of scoring too where rule or aggregation needs scores; prompts are read
            once.
        flops_prompts_again: The same where every wave reads its prompts again.
        how: "replayed" on samples that there were, or "online", where the rule decided what was sampled.
    """

    trial: str
    rule: str
    aggregation: str
    horizon: int
    samples: float
    samples_lo: float
    samples_hi: float
    waves: float
    value: float
    lo: float
    hi: float
    fixed: float
    difference: float
    difference_lo: float
    difference_hi: float
    questions: int
    flops: float
    flops_prompts_again: float
    how: str = REPLAYED


COLUMNS = tuple(field.name for field in fields(AdaptiveRow))


@dataclass(frozen=True)
class AskedRule:
    """A rule that a report shows.

    Attributes:
        kind: Its name.
        settings: Its settings; without any, a curve through settings is drawn.
    """

    kind: str
    settings: Mapping[str, Any]

    def budgets(self, waves: tuple[int, ...], aggregation: str) -> list[Budget]:
        """Return what is replayed for an aggregation.

        Raises:
            UserError: If a setting is unknown or out of range.
        """
        if self.settings:
            return [parse_budget({"rule": self.kind, "waves": RULES[self.kind].replayed_at(waves), **self.settings})]
        return [Budget(rule, rule.replayed_at(waves)) for rule in RULES[self.kind].ladder(waves, aggregation)]


def parse_asked(text: str) -> AskedRule:
    """Read a rule as `--budgets` names it: "posterior", or "posterior:confidence=0.9" with commas between settings.

    Raises:
        UserError: If there is no such rule, or a setting is none.
    """
    kind, _, said = text.partition(":")
    rule: type[BudgetRule] = RULES[kind]
    settings: dict[str, Any] = {}
    for part in filter(None, said.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(
                f"--budgets {text}: {part!r} is no setting; write {kind}:NAME=VALUE with one of "
                f"{', '.join(rule.model_fields) or 'none'}"
            )
        settings[name] = yaml.safe_load(value)
    asked = AskedRule(kind, settings)
    if settings:
        # Waves are those of the run: a mean beyond them is seen there.
        parse_budget({"rule": kind, "waves": [1, 1 << 30], **settings})
    return asked


def waves_within(samples: int) -> tuple[int, ...]:
    """Return the waves of a replay: 4, 8, 16, ... as far as there are samples; none of fewer than 8."""
    waves = [_FIRST_WAVE << step for step in range(max(samples, 1).bit_length()) if _FIRST_WAVE << step <= samples]
    return tuple(waves) if samples >= _FEWEST_SAMPLES else ()


def adaptive_rows(
    trial: str,
    outcomes: Outcomes,
    costs: QuestionCosts,
    asked: Sequence[AskedRule] | None,
    gains: GainTables | None,
) -> list[AdaptiveRow]:
    """Replay rules on the samples of a trial.

    Args:
        trial: Its name.
        outcomes: What became of its samples.
        costs: What they cost, question by question.
        asked: The rules; None for all that can be replayed here.
        gains: What was fitted for the LatentRM that scores it.

    Raises:
        UserError: If a rule that was asked for needs what is not there.
    """
    waves = waves_within(outcomes.samples)
    if not waves:
        return []
    rules = [AskedRule(kind, {}) for kind in RULES] if asked is None else asked
    names = replayable(outcomes)
    wanted: dict[str, dict[str, Budget]] = {
        name: {budget.rule.describe(): budget for rule in rules for budget in rule.budgets(waves, name)}
        for name in names
    }
    everything = {title: budget for budgets in wanted.values() for title, budget in budgets.items()}
    scored, confident = outcomes.scores is not None, outcomes.confidences is not None
    decisions = {}
    for title, budget in everything.items():
        if asked is not None or _serves(budget, scored, gains, confident):
            decisions[title] = budget.prepare(scored=scored, fitted=gains, confident=confident)
    asked_at = {title: everything[title].waves for title in decisions}
    looks = sorted({n for own in asked_at.values() for n in own} | {waves[-1]})
    replays = replay(outcomes, decisions, looks, asked_at=asked_at)
    rows = []
    for name in names:
        fixed = FixedBudgets(outcomes, name, waves[-1])
        for title, budget in wanted[name].items():
            if title in replays:
                uses_scores = budget.rule.needs_scores or AGGREGATIONS[name].scorer is not None
                rows.append(_row(trial, title, name, replays[title], fixed, costs, uses_scores))
    return rows


def write_adaptive_csv(rows: Iterable[AdaptiveRow], path: Path) -> None:
    """Write rows; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, map(astuple, rows))


def _serves(budget: Budget, scored: bool, gains: GainTables | None, confident: bool) -> bool:
    """Whether a rule that nobody has asked for has all it needs."""
    if (budget.rule.needs_scores and not scored) or (budget.rule.reads_confidence and not confident):
        return False
    if not budget.rule.needs_fitted:
        return True
    tables = {} if gains is None else gains.tables
    known = [{stage.samples for stage in table.stages} for table in tables.values()]
    return bool(known) and all(set(budget.waves) <= waves for waves in known)


class FixedBudgets:
    """The curve of an aggregation over fixed budgets, question by question, estimated where it is read."""

    def __init__(self, outcomes: Outcomes, aggregation: str, most: int, least: int = _FIRST_WAVE) -> None:
        """Begin with no point; budgets are between the least and the most."""
        self._outcomes, self._aggregation = outcomes, aggregation
        grid, n = [least], least
        while n < most:
            n = min(most, max(n + 1, int(n * _FINEST_RATIO)))
            grid.append(n)
        self.horizon = most
        self._grid, self._known = np.array(grid), dict[int, FloatArray]()

    def at(self, mean: float) -> tuple[FloatArray, float]:
        """Accuracies [Q] of that many samples, linearly between budgets, and the slope of their mean per sample."""
        above = int(np.clip(np.searchsorted(self._grid, mean), 1, len(self._grid) - 1))
        before, behind = self._grid[above - 1], self._grid[above]
        share = float((mean - before) / (behind - before))
        low, high = self._of(int(before)), self._of(int(behind))
        return (1 - share) * low + share * high, float((high - low).mean() / (behind - before))

    def _of(self, n: int) -> FloatArray:
        if n not in self._known:
            self._known[n] = AGGREGATIONS[self._aggregation](self._outcomes, n)
        return self._known[n]


def _row(
    trial: str, rule: str, name: str, made: Replay, fixed: FixedBudgets, costs: QuestionCosts, uses_scores: bool
) -> AdaptiveRow:
    credit, samples = np.clip(made.credit[name], 0.0, 1.0), made.samples
    mean = float(samples.mean())
    at_mean, slope = fixed.at(mean)
    prompts, each = costs.of("trajectory" if uses_scores else None)
    flops = float((prompts + samples * each).sum())
    return AdaptiveRow(
        trial,
        rule,
        name,
        fixed.horizon,
        *unbounded_interval(samples),
        float(made.waves.mean()),
        *mean_interval(credit),
        float(at_mean.mean()),
        *paired_at_mean(credit, samples, at_mean, slope),
        len(credit),
        flops,
        flops + float(((made.waves - 1) * prompts).sum()),
    )


def paired_at_mean(
    credit: FloatArray, samples: FloatArray, fixed: FloatArray, slope: float
) -> tuple[float, float, float]:
    """Mean difference of a rule from a fixed budget at its own mean samples, with a paired 95 % interval.

    That mean is an estimate too: a question that uses more samples than others also moves the point of the fixed curve
    that the rule is compared with. To first order (the delta method) its part of the difference is its own difference
    less the slope of the fixed curve times what it uses beyond the mean.

    Args:
        credit: [Q], accuracy of the rule.
        samples: [Q], samples it used.
        fixed: [Q], accuracy of as many samples as it used in the mean.
        slope: Of the fixed curve there, per sample.

    Returns:
        The difference and the ends of its interval.
    """
    parts = np.clip(credit - fixed - slope * (samples - samples.mean()), *DIFFERENCE_BOUNDS)
    z = NormalDist().inv_cdf((1.0 + DEFAULT_LEVEL) / 2)
    _, lo, hi = pseudo_question_intervals(parts, z, DIFFERENCE_BOUNDS, 1)
    value = float((credit - fixed).mean())
    return value, min(value, float(lo)), max(value, float(hi))
