"""The headline table."""

from orchestrator.analysis.curves import CurveRow
from orchestrator.reporting.headline import headline


def row(trial: str, aggregation: str, n: int, value: float) -> CurveRow:
    return CurveRow(trial, trial, aggregation, n, value, value - 0.1, value + 0.1, 10, 1e9)


def test_the_best_trial_of_every_way_to_choose() -> None:
    rows = [
        row("greedy", "greedy", 1, 0.4),
        row("a", "coverage", 1, 0.3),
        row("a", "coverage", 4, 0.7),
        row("b", "coverage", 4, 0.6),
        row("b", "majority_vote", 4, 0.5),
        row("b", "majority_vote", 8, float("nan")),
        row("random_guess", "random_guess", 4, 0.99),
    ]
    assert headline(rows).replace("\N{EM SPACE}", "").splitlines() == [
        "| | trial | N | % correct [95 % interval] |",
        "|---|---|---|---|",
        "| greedy | greedy | 1 | 40.0 [30.0, 50.0] |",
        "| coverage (pass@N) | a | 4 | 70.0 [60.0, 80.0] |",
        "| majority vote | b | 4 | 50.0 [40.0, 60.0] |",
    ]
