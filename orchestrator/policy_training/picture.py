"""Picture of a policy's training: rewards of rollouts and validation, over updates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_core.policy.accuracy import MEASURES
from orchestrator.reporting.plots.png import new_figure, save_figure

PICTURE_FILE = "training.png"
_INCHES = (10.4, 4.2)
_COLOURS = ("#000000", "#009e73", "#0072b2", "#d55e00")
_REWARD, _NO_SIGNAL = "#56b4e9", "#999999"


def draw_training(history: Sequence[dict[str, Any]], samples: int, title: str, path: Path) -> None:
    """Draw what every update and every validation came to.

    Args:
        history: See `Entry` of the worker.
        samples: Samples per validation question.
        title: What was trained.
        path: The PNG file to write.
    """
    figure = new_figure(*_INCHES)
    left, right = figure.subplots(1, 2)
    learnt = [entry for entry in history if "reward" in entry["numbers"]]
    updates = [entry["update"] for entry in learnt]
    for name, label, colour in (
        ("reward", "mean reward of rollouts", _REWARD),
        ("no_signal", "questions whose answers all earn the same", _NO_SIGNAL),
    ):
        left.plot(updates, [entry["numbers"][name] for entry in learnt], color=colour, lw=1.2, label=label)
    left.set(xlabel="update", ylabel="mean of an update", title="rollouts on training questions")

    judged = [entry for entry in history if "quality" in entry]
    labels = ("greedy", f"mean of {samples}", f"majority@{samples}", f"coverage@{samples}")
    for name, label, colour in zip(MEASURES, labels, _COLOURS, strict=True):
        _band(right, judged, name, label, colour)
    best = max((entry for entry in judged if entry.get("better")), key=lambda entry: entry["update"], default=None)
    if best is not None:
        right.axvline(best["update"], color="#999999", lw=0.8, ls=":", label="the policy")
    right.set(xlabel="update", ylabel="accuracy", title="validation questions, 95 % intervals")
    for axis in (left, right):
        axis.grid(color="#dddddd", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        # Below, where no curve can be.
        axis.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    figure.suptitle(title)
    save_figure(figure, path)


def _band(axis: Any, judged: Sequence[dict[str, Any]], name: str, label: str, colour: str) -> None:
    updates = [entry["update"] for entry in judged]
    values, low, high = (
        [entry["numbers"][f"validation/{name}{end}"] for entry in judged] for end in ("", "_lo", "_hi")
    )
    axis.plot(updates, values, "o-", color=colour, ms=3, lw=1.3, label=label)
    axis.fill_between(updates, low, high, color=colour, alpha=0.12, lw=0)
