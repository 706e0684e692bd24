"""Texts of the progress display: the status line, the table of trials, and the line about a stall."""

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from orchestrator.names import GREEDY
from orchestrator.progress.board import Snapshot, TrialProgress
from orchestrator.progress.utilization import PoolState

_MOST_TRIALS = 12


def describe_progress(
    snapshot: Snapshot,
    total: int,
    rate: float,
    pools: Mapping[str, PoolState] | None = None,
    *,
    with_trials: bool = True,
    mode: str = "max",
) -> str:
    """Return "rate, time left, how busy, failures, the best, what runs" for a person.

    Args:
        snapshot: State of the board.
        total: Trajectories that are to be sampled.
        rate: Rows per second.
        pools: What the actors are doing.
        with_trials: Whether to name the best trial and what runs; a table may say it already.
        mode: Whether the best value of a trial is the largest, "max", or the smallest, "min".
    """
    left = max(total - snapshot.done, 0)
    # Greedy decoding has one row a question, and takes as long for it as for dozens: it says nothing about the rest.
    known = rate > 0 and snapshot.running != (GREEDY,)
    parts = [f"{rate:,.0f} rows/s", f"ETA {left / rate:,.0f} s" if known else "ETA unknown"]
    parts += [f"{name} {100 * pool.busy:.0f} % busy" for name, pool in (pools or {}).items()]
    for count, what in ((snapshot.errors, "failed"), (snapshot.unparsable, "unparsable"), (snapshot.cut, "cut")):
        parts += [f"{count:,} {what}"] if count else []
    if snapshot.open is not None:
        parts.append(f"{snapshot.open:,} questions open")
    if not with_trials:
        return ", ".join(parts)
    if snapshot.trials:
        ended = sum(trial.ended for trial in snapshot.trials)
        parts.append(f"{ended} of {len(snapshot.trials)} trials ended")
    if best := best_trial(snapshot, mode):
        # Named by its N: what is best there never falls, while a larger N may begin lower.
        parts.append(f"best at N={best.reached}: {best.value:.3g} ({best.name})")
    if snapshot.running:
        parts.append(" | ".join(snapshot.running))
    elif snapshot.done == 0:
        parts.append("waiting for the actors")
    return ", ".join(parts)


def best_trial(snapshot: Snapshot, mode: str) -> TrialProgress | None:
    """Return the trial with the best objective among those that have come furthest."""
    sign = -1 if mode == "min" else 1
    known = [trial for trial in snapshot.trials if trial.value is not None and not math.isnan(trial.value)]
    return max(known, key=lambda trial: (trial.reached, sign * (trial.value or 0.0)), default=None)


def trials_table(snapshot: Snapshot, objective: str, mode: str = "max") -> Table:
    """Return a table of the trials: those that run, and the latest of those that have ended."""
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", no_wrap=True)
    for column in ("N reached", objective, ""):
        table.add_column(Text(column), justify="right", no_wrap=True)
    running = [trial for trial in snapshot.trials if not trial.ended]
    ended = [trial for trial in snapshot.trials if trial.ended]
    room = max(0, _MOST_TRIALS - len(running))
    best = best_trial(snapshot, mode)
    for trial in [*(ended[-room:] if room else []), *running]:
        value = "" if trial.value is None else f"{trial.value:.3g}"
        state = "ended" if trial.ended else "running"
        mark = " *" if best is not None and trial.name == best.name else ""
        table.add_row(Text(trial.name), str(trial.reached or ""), value, state + mark)
    hidden = len(ended) - min(len(ended), room)
    if hidden:
        table.add_row(f"and {hidden} that ended earlier", "", "", "")
    return table


def describe_stall(
    snapshot: Snapshot,
    seconds: float,
    pools: Mapping[str, PoolState],
    free: Mapping[str, float],
    whole: Mapping[str, float],
) -> str:
    """Return one line about which stage waits for what when nothing has finished for a while.

    Args:
        snapshot: State of the board.
        seconds: How long nothing has finished.
        pools: What the actors are doing.
        free: What is free on the cluster, by resource.
        whole: What the cluster has.
    """
    resources = ", ".join(
        f"{free.get(name, 0):g} of {whole[name]:g} {name}" for name in ("CPU", "GPU") if name in whole
    )
    running = ", ".join(snapshot.running) or "no trial"
    causes = "; ".join(_causes(pools, free)) or "no pool of actors is known"
    return f"nothing has finished for {seconds:.0f} s while sampling {running}: {causes}; free: {resources}"


def _causes(pools: Mapping[str, PoolState], free: Mapping[str, float]) -> list[str]:
    stages = {"reasoners": "generation", "scorers": "scoring"}
    causes = []
    for name, pool in pools.items():
        stage = stages.get(name, name)
        absent = pool.actors - pool.answering
        if absent:
            causes.append(
                f"{stage} waits for {absent} of {pool.actors} {name} that are starting, restarting, or have no node"
            )
        if pool.requests:
            causes.append(
                f"{stage} waits for {name} that compute ({pool.requests} requests, {pool.waiting} of them wait)"
            )
    if not causes and pools:
        few = free.get("CPU", 0) < 1
        causes.append(
            "all actors are idle: the pipeline's own tasks wait for "
            + ("CPUs, which others hold" if few else "the store, or for processes to start")
        )
    return causes
