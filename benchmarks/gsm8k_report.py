"""Tables and a picture of what was measured on real benchmarks; what is not there is said."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latent_core.selection.aggregations import AGGREGATIONS, Outcomes, available
from latent_core.selection.intervals import mean_interval

_SHOWN = ("coverage", "majority_vote", "best_of_n", "weighted_vote")


def write_report(parts: Mapping[str, Any], directory: Path) -> None:
    """Write `report.md`, `curves.csv`, `dynamics.csv` and `curves.png`.

    Args:
        parts: What `measure` has computed, by name.
        directory: Where to.
    """
    reward = parts.get("latent-rm")
    calibration = reward.calibration if reward is not None and reward.has_learned else None
    measured = {name: part for name, part in parts.items() if hasattr(part, "outcomes")}
    curves = [row for part in measured.values() for row in _curve(part, part.outcomes(calibration))]
    _write_csv(directory / "curves.csv", ("task", "setting", "aggregation", "n", "value", "lo", "hi"), curves)
    dynamics = [
        (part.task, part.setting, one.measure, one.step, one.value, one.lo, one.hi)
        for part in measured.values()
        for one in part.dynamics
    ]
    _write_csv(directory / "dynamics.csv", ("task", "setting", "measure", "step", "value", "lo", "hi"), dynamics)
    lines = [line for task in dict.fromkeys(row[0] for row in curves) for line in _table(task, curves, measured)]
    lines += _reward_lines(reward)
    (directory / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if any(row[3] > 1 for row in curves):
        _draw(curves, directory / "curves.png")


def _curve(part: Any, outcomes: Outcomes) -> Iterator[tuple[Any, ...]]:
    budgets = [1 << power for power in range(outcomes.samples.bit_length()) if 1 << power <= outcomes.samples]
    names = ["majority_vote"] if outcomes.samples == 1 else [name for name in _SHOWN if name in available(outcomes)]
    for name in names:
        for n in budgets:
            interval = mean_interval(AGGREGATIONS[name](outcomes, n))
            yield (part.task, part.setting, "greedy" if outcomes.samples == 1 else name, n, *interval)


def _table(task: str, curves: list[tuple[Any, ...]], measured: Mapping[str, Any]) -> Iterator[str]:
    most = max(row[3] for row in curves if row[0] == task)
    questions = next(sum(map(len, part.correct)) for part in measured.values() if part.task == task)
    yield f"## {task}, {questions} questions, n = {most}, 95 % intervals"
    yield ""
    yield "| setting | aggregation | n | % | from | to |"
    yield "|---|---|---|---|---|---|"
    for row in curves:
        if row[0] == task and (row[3] == most or row[2] == "greedy" or (row[3] == 1 and row[2] == "coverage")):
            yield f"| {row[1]} | {row[2]} | {row[3]} | {100 * row[4]:.1f} | {100 * row[5]:.1f} | {100 * row[6]:.1f} |"
    rates = [(part.setting, sum(one.size for one in part.correct) / part.seconds) for part in measured.values()
             if part.task == task and part.seconds]  # fmt: skip
    yield ""
    yield "Trajectories per second: " + ", ".join(f"{setting} {rate:,.0f}" for setting, rate in rates)
    yield ""


def _reward_lines(reward: Any) -> list[str]:
    if reward is None:
        return ["No LatentRM: the labels are not complete."]
    if not reward.has_learned:
        return ["No LatentRM: no labelled question has right and wrong candidates on both sides of the split."]
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in reward.numbers.items())
    return [f"LatentRM, trained on {reward.train} mixed questions, on {reward.validation} held-out ones: {numbers}"]


def _write_csv(file: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(header)
        writer.writerows(rows)


def _draw(curves: list[tuple[Any, ...]], file: Path) -> None:
    """Draw accuracy over n: a panel for each task and aggregation, greedy decoding as a line across."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(row[0] for row in curves))
    names = [name for name in _SHOWN if any(row[2] == name for row in curves)]
    figure = Figure(figsize=(5 * len(names), 4 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), len(names), squeeze=False, sharex=True)
    for line, task in zip(panels, tasks, strict=True):
        for panel, name in zip(line, names, strict=True):
            own = [row for row in curves if row[0] == task and row[2] == name]
            for setting in dict.fromkeys(row[1] for row in own):
                points = [row for row in own if row[1] == setting]
                panel.plot([row[3] for row in points], [row[4] for row in points], marker="o", ms=3, label=setting)
                ends = [row[5] for row in points], [row[6] for row in points]
                panel.fill_between([row[3] for row in points], *ends, alpha=0.08)
            for row in curves:
                if row[0] == task and row[2] == "greedy":
                    panel.axhline(row[4], color="black", linestyle=":", label="greedy")
            panel.set_xscale("log", base=2)
            panel.set_title(f"{task}: {name.replace('_', ' ')}")
            panel.set_xlabel("n")
    panels[0][0].legend(fontsize=6)
    figure.savefig(file, dpi=110)
