"""Objectives of sweeps: read from short expressions, computed from curves."""

import math
from typing import Any

import pytest

from orchestrator.analysis.curves import CurveRow
from orchestrator.config.loading import parse_config
from orchestrator.config.objective import parse_objective
from orchestrator.config.run import RunConfig


def rows(aggregation: str, values: dict[int, float], questions: int = 10) -> list[CurveRow]:
    """A curve that costs 3 TFLOPs per question and sample."""
    return [
        CurveRow("t", "gaussian", aggregation, n, value, value, value, questions * n, 3e12 * n * questions)
        for n, value in values.items()
    ]


CURVES = rows("coverage", {1: 0.2, 4: 0.6, 16: 0.8}) + rows("majority_vote", {1: 0.2, 4: 0.3, 16: 0.4})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("coverage", 0.8),
        ("majority_vote@4", 0.3),
        # Two equal stretches of the logarithm: the mean of the means of their ends.
        ("area(coverage)", (0.4 + 0.7) / 2),
        ("flops", 48.0),
        ("flops@4", 12.0),
        ("per_flop(coverage@4)", 0.6 / 12),
        ("per_flop(area(coverage))", 0.55 / 48),
    ],
)
def test_values(text: str, value: float) -> None:
    objective = parse_objective(text)
    assert objective.value(CURVES) == pytest.approx(value)
    assert objective.mode == ("min" if text.startswith("flops") else "max")
    assert set(objective.key) <= set("abcdefghijklmnopqrstuvwxyz_0123456789")


@pytest.mark.parametrize(
    ("text", "upto", "value"),
    [
        ("coverage", 4, 0.6),
        ("coverage@4", 16, 0.6),
        ("coverage@4", 1, 0.2),
        ("area(coverage)", 4, 0.4),
        ("area(coverage)", 1, 0.2),
        ("flops@16", 4, 12.0),
    ],
)
def test_values_of_a_trial_that_is_still_running(text: str, upto: int, value: float) -> None:
    assert parse_objective(text).value(CURVES, upto) == pytest.approx(value)


def test_what_has_not_been_sampled_has_no_value() -> None:
    stopped = [*rows("coverage", {1: 0.2, 4: 0.6}), *rows("coverage", {16: math.nan})]
    assert math.isnan(parse_objective("coverage@16").value(stopped))
    for text in ("coverage", "area(coverage)", "flops", "per_flop(coverage)"):
        assert math.isnan(parse_objective(text).value(stopped))
    assert parse_objective("coverage@4").value(stopped) == 0.6
    assert parse_objective("coverage").value(stopped, 4) == 0.6
    assert math.isnan(parse_objective("best_of_n").value(stopped))
    assert math.isnan(parse_objective("coverage@2").value(stopped))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("majority_votes", "unknown aggregation 'majority_votes': did you mean 'majority_vote'?"),
        ("coverage@0", "cannot be read: it is AGGREGATION, AGGREGATION@N"),
        ("area(coverage@4)", "cannot be read"),
        ("per_flop(flops)", "only an accuracy can be divided by its cost"),
        ("per_flop(per_flop(coverage))", "only an accuracy"),
        ("", "cannot be read"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="objective") as caught:
        parse_objective(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "objective"),
    [
        ({}, ("majority_vote",)),
        ({"scorer": {"checkpoint": "rm"}}, ("best_of_n",)),
        ({"scorer": {"checkpoint": None}}, ("majority_vote",)),
        ({"scorer": {"checkpoint": "rm"}, "sweep": {"objective": "coverage"}}, ("coverage",)),
        ({"scorer": {"checkpoint": "rm"}, "sweep": {"draws": 2}}, ("best_of_n",)),
    ],
)
def test_by_default_what_chooses_best_is_made_large(changes: dict[str, Any], objective: tuple[str, ...]) -> None:
    """Coverage rises with noise that no way to choose can make use of."""
    config = parse_config(RunConfig, {"checkpoint": "c", "task": {"name": "gsm8k"}, **changes})
    assert config.sweep.objective == objective
    # What a run directory has written down is read as it was.
    assert parse_config(RunConfig, config.model_dump(mode="json")) == config
