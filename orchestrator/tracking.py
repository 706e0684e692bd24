"""MLflow: one parent run per sweep, one child per setting, step = N. Only the driver writes."""

import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME

from latent_core.selection.aggregations import AGGREGATIONS
from orchestrator.config import TrackingConfig
from orchestrator.curves import GREEDY, RANDOM_GUESS, CurveRow

_UI_PORT = 5000
_LONGEST_PARAM = 500
_HEADLINE = "coverage"


def tracking_uri(config: TrackingConfig, out: Path) -> str:
    """Return the tracking URI: the environment's, else the configured one, else a SQLite file beside the runs."""
    from_environment = os.environ.get("MLFLOW_TRACKING_URI")
    return from_environment or config.uri or f"sqlite:///{out.absolute().parent}/mlflow.db"


class Tracker:
    """Writes the runs of one sweep (or of one single run) to MLflow."""

    def __init__(self, uri: str, experiment: str, out: Path) -> None:
        """Connect, and create the experiment if it does not exist."""
        # Creating the tables of a new database is reported line by line at this level.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.uri = uri
        self._client = MlflowClient(uri)
        found = self._client.get_experiment_by_name(experiment)
        if found is not None:
            self.experiment_id = str(found.experiment_id)
        else:
            # A server decides for itself where artifacts go; a local database would put them below the current folder.
            artifacts = None if uri.startswith("http") else (out.absolute().parent / "mlartifacts").as_uri()
            tags = {"mlflow.experimentKind": "custom_model_development"}
            self.experiment_id = self._client.create_experiment(experiment, artifact_location=artifacts, tags=tags)
        self.parent_id: str | None = None
        self.children: dict[str, str] = {}

    def start_parent(self, name: str, params: Mapping[str, Any]) -> str:
        """Open the run that stands for the whole sweep; later runs become its children."""
        self.parent_id = self._start(name, params, {})
        return self.parent_id

    def start_child(self, name: str, params: Mapping[str, Any]) -> str:
        """Open the run of a setting, or return the one that is open already."""
        if name not in self.children:
            tags = {MLFLOW_PARENT_RUN_ID: self.parent_id} if self.parent_id else {}
            self.children[name] = self._start(name, params, tags)
        return self.children[name]

    def log_live(self, child: str, n: int, metrics: Mapping[str, float]) -> None:
        """Log what a setting looks like after n samples per question, under `live/`."""
        self._log(self.children[child], [(f"live/{key}", value, n) for key, value in metrics.items()])

    def log_curves(self, rows: Sequence[CurveRow]) -> None:
        """Log the final curves: each child's own, and on the parent the best one of every aggregation."""
        budgets = sorted({row.n for row in rows})
        for name, run_id in self.children.items():
            own = [row for row in rows if row.trial == name]
            self._log(run_id, [point for row in own for point in _points(row)])
            if name == GREEDY:
                # All greedy samples are the same, so greedy decoding is a level line in every chart.
                level = [
                    replace(row, aggregation=aggregation, n=n)
                    for row in own
                    for aggregation in AGGREGATIONS
                    if AGGREGATIONS[aggregation].needs is None or any(row.aggregation == aggregation for row in rows)
                    for n in budgets
                ]
                self._log(run_id, [point for row in level for point in _points(row)])
        if self.parent_id is not None:
            best = best_trials(rows)
            chosen = [row for row in rows if best.get(row.aggregation) == row.trial or row.trial not in self.children]
            self._log(self.parent_id, [point for row in chosen for point in _points(row)])
            for aggregation, trial in best.items():
                self._client.set_tag(self.parent_id, f"best.{aggregation}", trial)

    def describe(self, text: str) -> None:
        """Set the description of the top run, in Markdown."""
        self._client.set_tag(self._top(), MLFLOW_RUN_NOTE, text)

    def log_files(self, files: Sequence[Path]) -> None:
        """Attach files to the top run."""
        for file in files:
            self._client.log_artifact(self._top(), str(file))

    def end(self, status: str = "FINISHED", child: str | None = None) -> None:
        """Close a child, or everything: status is FINISHED, FAILED or KILLED as MLflow names them."""
        if child is not None:
            self._client.set_terminated(self.children[child], status)
            return
        for run_id in [*self.children.values(), *([self.parent_id] if self.parent_id else [])]:
            if self._client.get_run(run_id).info.status == "RUNNING":
                self._client.set_terminated(run_id, status)

    def ui_command(self) -> str | None:
        """Return the command that serves the UI, or None where a server is running already."""
        if self.uri.startswith("http"):
            return None
        # Without an activated environment the shell would not find the one that is installed beside this program.
        mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
        return f"{mlflow} server --backend-store-uri {self.uri} --port {_UI_PORT}"

    def ui_link(self) -> str:
        """Return the link that shows the curves of all children in one chart over N."""
        base = self.uri.rstrip("/") if self.uri.startswith("http") else f"http://127.0.0.1:{_UI_PORT}"
        runs = ",".join(f'"{run_id}"' for run_id in self.children.values())
        query = (
            f'runs=[{runs}]&metric="{_HEADLINE}"&experiments=["{self.experiment_id}"]'
            f'&plot_metric_keys=["{_HEADLINE}"]&x_axis=step'
        )
        return f"{base}/#/metric?{quote(query, safe='=&,')}"

    def _top(self) -> str:
        return self.parent_id or next(iter(self.children.values()))

    def _start(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        run = self._client.create_run(
            self.experiment_id, tags={MLFLOW_RUN_NAME: name, MLFLOW_SOURCE_NAME: "latentswarm", **tags}
        )
        run_id: str = run.info.run_id
        entries = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in flatten(params).items()]
        self._client.log_batch(run_id, params=entries, tags=[RunTag("latentswarm", "true")])
        return run_id

    def _log(self, run_id: str, points: Sequence[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        finite = [Metric(key, value, now, step) for key, value, step in points if value == value]
        for start in range(0, len(finite), 1000):
            self._client.log_batch(run_id, metrics=finite[start : start + 1000])


def best_trials(rows: Sequence[CurveRow]) -> dict[str, str]:
    """Return, for each aggregation, the sampled trial with the highest value at its largest budget."""
    best: dict[str, CurveRow] = {}
    for row in rows:
        if row.trial in (GREEDY, RANDOM_GUESS) or row.value != row.value:
            continue
        leader = best.get(row.aggregation)
        if leader is None or (row.n, row.value) > (leader.n, leader.value):
            best[row.aggregation] = row
    return {aggregation: row.trial for aggregation, row in best.items()}


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested settings into dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _points(row: CurveRow) -> list[tuple[str, float, int]]:
    name = row.aggregation
    return [(name, row.value, row.n), (f"{name}_lo", row.lo, row.n), (f"{name}_hi", row.hi, row.n)]
