"""MLflow tracker of a sweep or a single run: parent and child runs, curves, counts, files, in this project's terms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.analysis.adaptive import AdaptiveRow
from orchestrator.analysis.curves import CurveRow, best_trials
from orchestrator.analysis.dynamics_rows import DynamicsRow
from orchestrator.console import masked
from orchestrator.names import GREEDY
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.sender import Sender
from orchestrator.tracking.server import chart_link, run_link, ui_command

_HEADLINE = "coverage"
_NOTE_TAG = "mlflow.note.content"
_COLOUR_TAG = "mlflow.runColor"
_PARENT = "(parent)"
_COUNTS = ("errors", "unparsable", "cut")

Point = tuple[str, float, int]
"""Metric, value and step."""


class Tracker:
    """Writes the runs of one sweep (or of one single run) to MLflow, by way of the journal of its run directory.

    Nothing here waits for MLflow or fails because of it, except where it is said.
    """

    def __init__(
        self, uri: str, experiment: str, out: Path, configuration: str = "", say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Open the journal of a run directory and begin to send it.

        Args:
            uri: Where MLflow is.
            experiment: Name of the experiment; it is created if it does not exist.
            out: The run directory.
            configuration: Identifies what is run: a command that goes on with the same continues its runs.
            say: Called with one line when MLflow goes away, comes back, or refuses something.
        """
        self.uri = uri
        self.journal = Journal(out, configuration, say)
        self._sender = Sender(uri, experiment, self.journal, say)
        self._children: list[str] = [run for run in self.journal.runs() if run != _PARENT]

    def start_parent(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> None:
        """Open the run that stands for the whole sweep; later runs become its children."""
        self._start(_PARENT, name, params, tags or {}, None)

    def start_child(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str] | None = None, title: str | None = None
    ) -> None:
        """Open the run of a setting, unless it is open already.

        Args:
            name: What it is called here.
            params: Its parameters.
            tags: Its tags.
            title: What MLflow calls it, if that is something else.
        """
        parent = _PARENT if self.journal.has_run(_PARENT) else None
        if name not in self._children:
            self._children.append(name)
        self._start(name, title or name, params, tags or {}, parent)

    def log(self, child: str, points: Sequence[Point], *, final: bool = False) -> None:
        """Log points of a run; what is not a number is left out, and what has been logged is not logged again.

        Args:
            child: The run.
            points: Name, value and step of each.
            final: Whether a value that differs from the one that has been logged replaces it.
        """
        self.journal.append_metrics(child, list(points), final=final)
        self._sender.wake()

    def log_live(self, child: str, n: int, metrics: Mapping[str, float]) -> None:
        """Log what a setting looks like after n samples per question, under `live/`."""
        self.log(child, [(f"live/{key}", value, n) for key, value in metrics.items()])

    def log_curves(self, rows: Sequence[CurveRow], colours: Mapping[str, str] | None = None) -> None:
        """Log the final curves: each child's own, and on the parent the best one of every aggregation.

        Args:
            rows: Rows of `curves.csv`.
            colours: By child, its colour in charts, "#rrggbb". Left to itself, MLflow draws several runs in one colour.
        """
        budgets = sorted({row.n for row in rows})
        colours = colours or {}
        for name in self._children:
            if name in colours:
                self._append("tags", name, **{_COLOUR_TAG: colours[name]})
            own = [row for row in rows if row.trial == name]
            self.log(name, [point for row in own for point in _points(row)], final=True)
            if name == GREEDY:
                # All greedy samples are the same, so greedy decoding is a level line in every chart.
                level = [
                    replace(row, aggregation=aggregation, n=n)
                    for row in own
                    for aggregation in AGGREGATIONS
                    if AGGREGATIONS[aggregation].needs is None or any(row.aggregation == aggregation for row in rows)
                    for n in budgets
                ]
                self.log(name, [point for row in level for point in _points(row)], final=True)
        if self.journal.has_run(_PARENT):
            best = best_trials(rows)
            chosen = [row for row in rows if best.get(row.aggregation) == row.trial or row.trial not in self._children]
            self.log(_PARENT, [point for row in chosen for point in _points(row)], final=True)
            self._append("tags", _PARENT, **{f"best.{aggregation}": trial for aggregation, trial in best.items()})

    def log_counts(self, child: str, summary: Mapping[str, Any]) -> None:
        """Log how many trajectories of a setting, and of its beam searches, failed, cannot be read, or were cut off.

        Args:
            child: The setting; where it has no run of its own nothing is logged.
            summary: Its part of `summary.json`.
        """
        if not self.journal.has_run(child):
            return
        points = [(f"counts.{key}", float(summary[key]), int(summary["samples"])) for key in _COUNTS]
        for search in summary["searches"]:
            n = int(search["beams"]) * int(search["candidates"])
            points += [(f"counts.beam_search.{key}", float(search[key]), n) for key in _COUNTS]
        self.log(child, points, final=True)

    def log_dynamics(self, child: str, rows: Sequence[DynamicsRow]) -> None:
        """Log what the samples of a setting do, under `dynamics/`, where a step is a latent step.

        Args:
            child: The setting; where it has no run of its own nothing is logged.
            rows: Rows of `dynamics.csv`.
        """
        if not self.journal.has_run(child):
            return
        points = []
        for row in rows:
            name = f"dynamics/{row.measure}"
            points += [(name, row.value, row.step), (f"{name}_lo", row.lo, row.step), (f"{name}_hi", row.hi, row.step)]
        self.log(child, points)

    def log_adaptive(self, rows: Sequence[AdaptiveRow]) -> None:
        """Log what stopping rules would have come to, under `adaptive/`, where a step is a mean number of samples.

        Args:
            rows: Rows of `adaptive.csv`; those of settings without a run of their own are left out.
        """
        points: dict[tuple[str, str, int], AdaptiveRow] = {}
        for row in rows:
            if self.journal.has_run(row.trial):
                # Settings of a rule are points of one chart. A step has one value: that of the mean closest to it.
                step = round(row.samples)
                place = row.trial, f"adaptive/{row.rule.split()[0]}.{row.aggregation}", step
                known = points.setdefault(place, row)
                if abs(row.samples - step) < abs(known.samples - step):
                    points[place] = row
        for (trial, name, step), row in points.items():
            ends = [(f"{name}_lo", row.lo, step), (f"{name}_hi", row.hi, step)]
            gain = [] if isnan(row.difference) else [(f"{name}_minus_fixed", row.difference, step)]
            self.log(trial, [(name, row.value, step), *ends, *gain], final=True)

    def describe(self, text: str) -> None:
        """Set the description of the top run, in Markdown."""
        self._append("tags", self._top(), **{_NOTE_TAG: text})

    def log_files(self, files: Sequence[Path]) -> None:
        """Attach files to the top run; they have to stay where they are until they are sent."""
        for file in files:
            self._append("file", self._top(), path=str(file.absolute()))

    def log_table(self, file: Path) -> None:
        """Attach a CSV file to the top run as a table that the UI shows."""
        self._append("table", self._top(), path=str(file.absolute()))

    def end(self, status: str = "FINISHED", child: str | None = None) -> None:
        """Close a child, or everything: status is FINISHED, FAILED or KILLED as MLflow names them."""
        for run in [child] if child is not None else [*self._children, _PARENT]:
            if self.journal.is_open(run):
                self._append("end", run, status=status)

    def close(self, seconds: float | None = None) -> int:
        """Wait until MLflow has everything, and stop sending; returns how many records are left.

        What is left is sent when a command goes on in the same run directory.

        Args:
            seconds: At most so long; where it is not given, as long as records go out, but no longer than a minute.
        """
        return self._sender.close(seconds)

    def flush(self, seconds: float | None = None) -> int:
        """Wait until MLflow has everything, as `close` does; returns how many records are left."""
        return self._sender.flush(seconds)

    def sent(self) -> int:
        """Return how many records MLflow has."""
        return self._sender.sent()

    def left(self) -> str:
        """Say why MLflow does not have everything, for somebody who wants to mend it."""
        reasons = self._sender.reasons()
        where = f"they wait in {self.journal.file}, and the same command sends them"
        if not reasons:
            return where
        more = f" and {len(reasons) - 1} other reasons, which `latentswarm status` names" if len(reasons) > 1 else ""
        return f"{where} once the cause is gone: {reasons[0]}{more}"

    def last_step(self, child: str, metric: str) -> int:
        """Return the largest step at which a metric has been logged, by earlier commands too; 0 where it has not."""
        return self.journal.last_step(child, metric)

    def history(self, child: str, metric: str) -> list[tuple[int, float]]:
        """Return steps and values of a metric that have been logged, by earlier commands too, by step."""
        return self.journal.history(child, metric)

    def run_id(self, child: str | None = None) -> str | None:
        """Return MLflow's id of a run, the top run by default; None as long as MLflow does not have it."""
        return self._sender.state.runs.get(self._top() if child is None else child)

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None as long as nothing has reached MLflow."""
        return self._sender.state.experiment_id

    def ui_command(self) -> str | None:
        """Return the command that serves the UI, or None where a server is running already."""
        return ui_command(self.uri)

    def ui_link(self, metric: str = _HEADLINE) -> str | None:
        """Return the link that shows a curve of all children in one chart over N; None before MLflow has them."""
        ids = [run_id for child in self._children if (run_id := self.run_id(child)) is not None]
        if self.experiment_id is None or not ids:
            return None
        return chart_link(self.uri, self.experiment_id, ids, metric)

    def run_link(self) -> str | None:
        """Return the link that shows the top run; None before MLflow has it."""
        run_id = self.run_id()
        return None if self.experiment_id is None or run_id is None else run_link(self.uri, self.experiment_id, run_id)

    def _top(self) -> str:
        return _PARENT if self.journal.has_run(_PARENT) else self._children[0]

    def _start(
        self, run: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str | None
    ) -> None:
        if not self.journal.has_run(run):
            self._append("start", run, name=name, params=flatten(params), tags=dict(tags), parent=parent)
        elif not self.journal.is_open(run):
            self._append("resume", run)

    def _append(self, kind: Any, run: str, **content: Any) -> None:
        self.journal.append(kind, run, **content)
        self._sender.wake()


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested settings into dotted keys, without passwords."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = masked(value) if isinstance(value, str) else value
    return flat


def _points(row: CurveRow) -> list[Point]:
    name = row.aggregation
    return [(name, row.value, row.n), (f"{name}_lo", row.lo, row.n), (f"{name}_hi", row.hi, row.n)]
