"""`latentswarm status`: how far a run is, in words for people and as JSON for programs."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.commands.options import PATH, examples
from orchestrator.console import say, widened
from orchestrator.jobs.run_status import ENDED_EARLY, FINISHED, UNFINISHED, RunStatus, TrialStatus, run_status

if TYPE_CHECKING:
    from orchestrator.tracking.state import Unsent

_UNITS = (("day", 86400), ("h", 3600), ("min", 60))
_UNKNOWN = "unfinished: running, or interrupted"
_STATES = {FINISHED: "finished", ENDED_EARLY: "ended; what is missing was left out, as a scheduler does"}


@click.command("status", epilog=examples("status runs/demo", "status runs/demo --json"))
@click.argument("directory", metavar="RUN_DIR", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, for programs.")
def command(directory: Path, as_json: bool) -> None:
    """Say how far a run or a sweep is; starts nothing. RUN_DIR is what --out named, runs/NAME by default."""
    from orchestrator.experiment.run_directory import group_directories
    from orchestrator.jobs.status_of_work import work_status

    work = work_status(directory)
    if work is not None:
        output = Console()
        for line in [work.to_json()] if as_json else work.lines():
            say(output, line)
        return
    found = [run_status(one) for one in group_directories(directory)]
    if as_json:
        texts = [status_json(one) for one in found]
        sys.stdout.write((texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]") + "\n")
    else:
        for one in found:
            print_status(one, Console())


def print_status(status: RunStatus, output: Console) -> None:
    """Print a run's state, and a line per setting and beam search."""
    widened(output)
    now = datetime.now(UTC)
    for line in _lines(status, now):
        say(output, line)
    output.print()
    output.print(_table(status, now))


def status_json(status: RunStatus) -> str:
    """Return the same as one JSON object: counts, times in UTC, ages in seconds, and shares as fractions of 1."""
    now = datetime.now(UTC)
    content = {
        "out": str(status.out),
        "command": status.command,
        "checkpoint": status.checkpoint,
        "questions": status.questions,
        "state": status.state,
        "running": status.running,
        "done": status.done,
        "wanted": status.wanted,
        "share": status.done / status.wanted,
        **_times(status.last_written, now),
        "trials": [{**asdict(one), "share": one.share, **_times(one.last_written, now)} for one in status.trials],
        "remark": status.remark,
        "damaged": list(status.damaged),
        "tracking": None if status.tracking is None else asdict(status.tracking),
    }
    return json.dumps(content, indent=2)


def age_in_words(seconds: float) -> str:
    """Return an age such as "12 s ago", "3 min ago" or "2 days ago"."""
    for unit, length in _UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    # Clocks of a file server and of this machine may differ by a little.
    return f"{max(0, int(seconds))} s ago"


def _times(written: datetime | None, now: datetime) -> dict[str, Any]:
    if written is None:
        return {"last_written": None, "seconds_since": None}
    age = (now - written).total_seconds()
    return {"last_written": written.isoformat(timespec="seconds"), "seconds_since": round(age, 1)}


def _lines(status: RunStatus, now: datetime) -> Iterator[str]:
    yield f"{status.command:<10} {status.out}  ({status.checkpoint}, {status.questions:,} questions)"
    yield f"{'state':<10} {_state(status)}"
    yield f"{'done':<10} {status.done:,} of {status.wanted:,} trajectories ({_percent(status.done, status.wanted)} %)"
    if left := [one.open for one in status.trials if one.open is not None]:
        yield f"{'open':<10} {sum(left):,} questions that budget rules have not settled"
    yield f"{'last shard':<10} {_age(status.last_written, now)}"
    if status.remark is not None:
        yield f"{'but':<10} {status.remark}"
    yield from status.damaged
    failed, transient = (sum(getattr(one, name) for one in status.trials) for name in ("failed", "transient"))
    if transient:
        yield f"{'failed':<10} {transient:,} trajectories for a passing reason: the same command tries them again"
    if failed > transient:
        lasting = f"{failed - transient:,} trajectories for good"
        yield f"{'failed':<10} {lasting}: the command with --retry-failed tries them again"
    yield from _tracking_lines(status.tracking)


def _tracking_lines(tracking: "Unsent | None") -> Iterator[str]:
    """Say what MLflow does not have; nothing where it has everything."""
    if tracking is None:
        return
    if tracking.waiting:
        yield f"{'MLflow':<10} {tracking.waiting:,} of {tracking.records:,} records wait to be sent"
    for reason, count in tracking.aside.items():
        yield f"{'MLflow':<10} {count:,} of {tracking.records:,} records are set aside: {reason}"
    if tracking.waiting or tracking.aside:
        yield f"{'':<10} the same command sends them"


def _state(status: RunStatus) -> str:
    if status.running is not None:
        return f"running ({status.running})"
    if status.state == UNFINISHED:
        # Commands of an older version left no word of who is at work.
        return "unfinished: interrupted; the same command goes on" if status.leased else _UNKNOWN
    return _STATES[status.state]


def _table(status: RunStatus, now: datetime) -> Table:
    # "samples" are those that every question has: what curves can be made of.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    scored = any(one.scored is not None for one in status.trials)
    tuned = any(one.tune is not None for one in status.trials)
    by_rule = any(one.open is not None for one in status.trials)
    table.add_column("trial", overflow="fold", min_width=16)
    headings = ["samples", "wanted", "stored", *(["scored"] * scored), "%", "failed", "unparsable", "cut", "last shard"]
    headings += ["open"] if by_rule else []
    for heading in (*headings, *(["Tune"] * tuned)):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in status.trials:
        cells = [f"{one.ready}/{one.samples}", f"{one.wanted:,}", f"{one.stored:,}"]
        cells += ["-" if one.scored is None else f"{one.scored:,}"] if scored else []
        cells += [
            _percent(one.done, one.wanted),
            f"{one.failed:,}",
            f"{one.unparsable:,}",
            "?" if one.cut is None else f"{one.cut:,}",
        ]
        cells += [_age(one.last_written, now)]
        cells += ["-" if one.open is None else f"{one.open:,}"] if by_rule else []
        cells += [*([_tune(one, status.state)] if tuned else [])]
        table.add_row(Text(one.trial), *cells)
    return table


def _percent(done: int, wanted: int) -> str:
    # Rounding must not call complete what is not.
    return f"{1000 * done // wanted / 10:.1f}"


def _tune(one: TrialStatus, state: str) -> str:
    """Tune ends trials that it stops as it ends those that have finished; once it is over, the store tells which."""
    if one.tune != "terminated" or state == UNFINISHED:
        return one.tune or "-"
    return "finished" if one.done == one.wanted else "stopped early"


def _age(written: datetime | None, now: datetime) -> str:
    return "-" if written is None else age_in_words((now - written).total_seconds())
