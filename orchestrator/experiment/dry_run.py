"""Printed plan of an experiment, before it starts and for `--dry-run`."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.dynamics import GREEDY_LATENTS
from orchestrator.console import masked, say
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.plan import Plan
from orchestrator.pipeline.rereading import rereadable
from orchestrator.store.decisions import Decisions, WaveBudget
from orchestrator.store.trial import Coverage


def show_dry_run(experiment: Experiment, console: Console) -> int:
    """Print what a command would do and the damaged shards that it would set aside; as `show_plan`."""
    coverage, damaged = experiment.coverage_of_sound()
    for line in damaged:
        say(console, line)
    return show_plan(experiment, coverage, console)


def show_plan(
    experiment: Experiment, coverage: Mapping[str, Coverage], console: Console, with_cost: bool = True
) -> int:
    """Print what is to be done; returns the number of trajectories that are to be sampled, or only scored.

    Args:
        experiment: The experiment.
        coverage: What the store holds, by the name of the trial.
        console: Where to print.
        with_cost: Whether to estimate FLOPs, which takes seconds of importing model code.
    """
    plan, total = experiment.plan, 0
    config = plan.config
    known = [(trial, rereadable(trial, coverage[trial.name])) for trial in experiment.all_trials()]
    rereading = any(found.rows for _, found in known)
    for line in (
        f"checkpoint  {config.checkpoint}  ({plan.checkpoint.format.name}, {plan.checkpoint.fingerprint})",
        *_left_out(plan.left_out),
        f"task        {plan.task.name}  ({len(plan.task.problems):,} questions, {plan.task_fingerprint})",
        *reference_lines(plan),
        *(f"            {remark}" for remark in plan.remarks),
        f"rollout     {plan.latent_steps} latent steps, up to {plan.answer_tokens} answer tokens, seed {config.seed}",
        f"actors      {config.actors} x ({config.actor.cpus} CPUs, {config.actor.gpus:g} GPUs)",
        f"store       {masked(config.store.path)}",
        *_scorer_lines(plan),
    ):
        say(console, line)
    table = Table(box=None, pad_edge=False)
    columns = ["trial", "trajectories", "in store", *(["to re-read"] if rereading else []), "to sample"]
    columns += ["to score"] if plan.scorer else []
    for column in (*columns, *(["est. FLOPs"] if with_cost else [])):
        table.add_column(column, justify="left" if column == "trial" else "right", no_wrap=True)
    for trial, found in known:
        own = coverage[trial.name]
        shards = plan.missing(trial, own.sampled | found.trajectories | ~own.wanted)
        wanted = int(own.wanted.sum())
        missing = sum(shard.rows for shard in shards)
        unscored = int(found.unscored.sum())
        read_anew = [f"{found.rows:,}"] if rereading else []
        cells: list[Text | str] = [
            Text(trial.name),
            f"{wanted:,}",
            f"{wanted - missing - found.rows:,}",
            *read_anew,
            f"{missing:,}",
        ]
        if plan.scorer:
            cells.append(f"{unscored + missing:,}" if trial.scored else "-")
        table.add_row(*cells, *([f"{plan.estimated_flops(trial, shards):.3g}"] if with_cost else []))
        total += missing + unscored
    console.print(table)
    if rereading:
        rows = sum(found.rows for _, found in known)
        say(
            console,
            f"{rows:,} trajectories are in the store under another reading: their answers are read anew from the "
            "stored texts, and nothing of them is sampled again",
        )
    for trial, _ in known:
        if trial.budget is not None:
            say(console, budget_line(trial.name, trial.budget, coverage[trial.name].decisions))
    greedy = known[0][0]
    if greedy.store.kept != greedy.store.latents and coverage[greedy.name].lacks_latents:
        say(console, f"greedy decoding is in the store without latents, and stays as it is; {GREEDY_LATENTS}")
    if experiment.unplanned:
        console.print(f"and {experiment.unplanned} trials that {config.sweep.search_alg} will choose")
        total += experiment.unplanned * len(plan.task.problems) * config.samples
    return total


def reference_lines(plan: Plan) -> list[str]:
    """Return a line for each way in which reference answers cannot be met, as plans print it."""
    return [f"references  {line}" for line in plan.references.lines()]


def budget_line(trial: str, budget: WaveBudget, decisions: Decisions | None) -> str:
    """Say that numbers of a plan are the most there can be where a rule decides, and what it has not decided yet."""
    left = "" if decisions is None else f", {decisions.open:,} of {len(decisions.settled):,} questions are open"
    *waves, last = map(str, budget.budget.waves)
    rule = budget.budget.rule.describe()
    return f"{trial}: at most; after {', '.join(waves)} of {last} samples {rule} decides question by question{left}"


def _scorer_lines(plan: Plan) -> list[str]:
    if plan.scorer is None:
        return []
    reads = "latents and answers" if plan.scorer.score_answer else "latents"
    line = f"LatentRM    {plan.config.scorer.checkpoint}  (reads {reads}, {plan.scorer.reward.fingerprint})"
    return [line, *_left_out(plan.scorer.left_out)]


def _left_out(what: str) -> list[str]:
    return [f"weights     {what}"] if what else []
