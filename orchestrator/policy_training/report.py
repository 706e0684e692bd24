"""Report of a trained policy: `summary.json`, the table of its validation, and the card of its checkpoint."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from latent_core.policy.accuracy import MEASURES
from orchestrator.console import say
from orchestrator.files import write_atomically
from orchestrator.policy_training.plan import PolicyPlan


def best_entry(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the validation of the policy that is kept: the best trained one."""
    return max((entry for entry in history if entry.get("better")), key=lambda entry: int(entry["update"]))


def summarize(plan: PolicyPlan, policy: Path, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return everything there is to say as plain data.

    Args:
        plan: What was trained.
        policy: Directory of its checkpoint.
        history: What every update came to.
    """
    config, best = plan.config, best_entry(history)
    updates = int(history[-1]["update"])
    return {
        "model": str(policy),
        "start": {"source": plan.reasoner.source, "fingerprint": plan.reasoner.fingerprint},
        "task": plan.task,
        "objective": config.policy.objective,
        "sampler": config.sampler.to_config(),
        "seed": config.seed,
        "train_questions": len(plan.train),
        "validation_questions": len(plan.validation),
        "validation_samples": config.validation.samples,
        "stopped_on": config.validation.stop_on,
        "updates_planned": config.updates,
        "updates": updates,
        "best_update": int(best["update"]),
        "rollouts": updates * plan.rollouts_per_update,
        "seconds": history[-1].get("seconds"),
        "validation": {"start": _measured(history[0]), "policy": _measured(best)},
        "means": _means(history),
    }


def table_of(summary: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return what validation measured: name, start, policy, and the paired difference with its interval."""
    start, policy = summary["validation"]["start"], summary["validation"]["policy"]
    samples = summary["validation_samples"]
    titles = ("greedy", f"mean of {samples} samples", f"majority@{samples}", f"coverage@{samples}")
    return [
        (title, _percent(start[name]), _percent(policy[name]), _gain(policy, name))
        for name, title in zip(MEASURES, titles, strict=True)
    ]


def print_report(summary: dict[str, Any], console: Console) -> None:
    """Print the table, what the training has cost, and where the policy is."""
    table = Table(title=f"{summary['validation_questions']} validation questions, update {summary['best_update']}")
    table.add_column("")
    for heading in ("start", "policy", "difference, 95 % interval"):
        table.add_column(heading, justify="right")
    for row in table_of(summary):
        table.add_row(*row)
    console.print(table)
    means = summary["means"]
    cost = f"{summary['rollouts']:,} rollouts in {summary['updates']} updates"
    if summary["seconds"] is not None:
        cost += f", {summary['seconds']:.0f} s"
    shares = ", ".join(
        f"{word} {means[name]:.0%}"
        for name, word in (("busy/learner", "learner"), ("busy/actors", "actors"), ("busy/neither", "neither"))
        if name in means
    )
    for label, value in (
        ("objective", f"{summary['objective']}, seed {summary['seed']}"),
        ("cost", cost),
        ("busy", shares),
        ("policy", summary["model"]),
    ):
        say(console, f"{label:<10} {value}")


def write_card(summary: dict[str, Any], policy: Path) -> None:
    """Write the model card into the checkpoint: what it was made of, and what was measured."""
    rows = "\n".join(f"| {' | '.join(row)} |" for row in table_of(summary))
    sampler = " ".join(f"{key}={value}" for key, value in summary["sampler"].items())
    text = f"""# A policy trained by `latentswarm train-policy`

Objective `{summary["objective"]}`, {summary["best_update"]} updates from `{summary["start"]["source"]}` on
{summary["train_questions"]:,} questions of {summary["task"]}, seed {summary["seed"]}, rollouts by {sampler}.

| {summary["validation_questions"]:,} validation questions | start | policy | difference, paired, 95 % interval |
|---|---|---|---|
{rows}

The update was chosen by validation {summary["stopped_on"]}, so its number there is the best of several and a little too
good; test questions were neither trained on nor looked at. Intervals are over questions.
"""
    write_atomically(policy / "README.md", text)


def _measured(entry: dict[str, Any]) -> dict[str, float]:
    prefix = "validation/"
    return {name.removeprefix(prefix): value for name, value in entry["numbers"].items() if name.startswith(prefix)}


def _means(history: list[dict[str, Any]]) -> dict[str, float]:
    """Return means over the training of what tells how busy it was."""
    names = ("busy/learner", "busy/actors", "busy/neither", "rollouts_per_second", "bytes_per_rollout", "no_signal")
    found = {name: [one["numbers"][name] for one in history if name in one["numbers"]] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _gain(policy: dict[str, float], name: str) -> str:
    gain, low, high = (100 * policy[f"{name}_gain{end}"] for end in ("", "_lo", "_hi"))
    return f"{gain:+.1f} ({low:+.1f} to {high:+.1f})"
