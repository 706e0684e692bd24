"""Training report: `training.json`, and the table of selection accuracies in the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.console import say
from orchestrator.reward_training.plan import RewardPlan


def summarize(
    plan: RewardPlan, model: Path, history: list[dict[str, Any]], measured: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return everything there is to say as plain data.

    Args:
        plan: What was trained.
        model: Directory of the LatentRM.
        history: All evaluations.
        measured: What `finish_training` found.
        seconds: How long that took.
    """
    best = max((entry for entry in history if entry["better"]), key=lambda entry: entry["update"])
    per_evaluation = measured["flops_per_evaluation"]
    training = plan.config.training
    return {
        "model": str(model),
        "data": plan.config.data,
        "validation_data": plan.config.validation_data,
        "objective": training.objective,
        "score_answer": training.score_answer,
        "reasoner": {"source": plan.reasoner.source, "fingerprint": plan.reasoner.fingerprint},
        "train_questions": len(plan.train),
        "train_questions_left_out": plan.left_out,
        "train_questions_in_validation": plan.in_both,
        "validation_questions": len(plan.validation),
        "validation_questions_mixed": sum(ref.is_mixed for ref in plan.validation),
        "candidates": plan.manifest.candidates,
        "rollouts": plan.manifest.rollouts,
        "questions_per_batch": plan.per_batch,
        "updates_planned": plan.updates,
        "updates": history[-1]["update"],
        "best_update": best["update"],
        "stopped_on": training.stop_on,
        "final": {
            **measured["validation"],
            **{f"train_{name}": value for name, value in measured["train"].items()},
            "backbone_greedy_accuracy": measured["backbone_greedy_accuracy"],
            "reasoner_greedy_accuracy": measured["reasoner_greedy_accuracy"],
        },
        "vote_calibration": measured["calibration"],
        "answer_vote_calibration": measured["answer_calibration"],
        "gain_table": measured["gain_table"],
        "costs": {
            "training_flops": history[-1]["flops"],
            "evaluation_flops": per_evaluation * len(history),
            "training_seconds": history[-1]["seconds"],
            "final_measurement_seconds": round(seconds, 3),
        },
    }


def print_report(summary: dict[str, Any], console: Console) -> None:
    """Print the selection accuracies by budget, and what they have to be compared with."""
    final = summary["final"]
    curves: dict[str, dict[int, float]] = {}
    for name, value in final.items():
        aggregation, found, budget = name.rpartition("_at_")
        if found:
            curves.setdefault(aggregation, {})[int(budget)] = value
    budgets = sorted({n for curve in curves.values() for n in curve})
    table = Table(title=f"{summary['validation_questions']} held-out questions, best update {summary['best_update']}")
    table.add_column("aggregation")
    for n in budgets:
        table.add_column(f"n={n}", justify="right")
    for name, curve in curves.items():
        table.add_row(Text(name), *(f"{curve[n]:.1%}" if n in curve else "" for n in budgets))
    console.print(table)
    greedy = f"backbone {final['backbone_greedy_accuracy']:.1%}, reasoner {final['reasoner_greedy_accuracy']:.1%}"
    aucs = ", ".join(
        f"{label} {final[name]:.3f}"
        for name, label in (
            ("auc", "held-out"),
            ("auc_answer", "held-out with answers"),
            ("train_auc", "training"),
            ("train_auc_answer", "training with answers"),
        )
        if name in final
    )
    costs = summary["costs"]
    spent = f"{costs['training_flops']:.3g} training FLOPs, {costs['training_seconds']:.0f} s"
    for label, value in (
        ("greedy", greedy),
        ("AUC", aucs),
        ("cost", f"{spent} for {summary['updates']} updates"),
        ("LatentRM", summary["model"]),
    ):
        say(console, f"{label:<13} {value}")
