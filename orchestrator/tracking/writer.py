"""Idempotent MLflow writer: operations of the journal as client calls that may be repeated without being seen twice."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_SOURCE_NAME

from orchestrator.files import write_json
from orchestrator.tracking.journal import Journal, Operation
from orchestrator.tracking.server import is_server

STATE_FILE = "tracking.state.json"
_ID_TAG = "latentswarm.id"
_LONGEST_PARAM = 500
_LARGEST_BATCH = 1000


class MlflowWriter:
    """Applies operations in order and notes in the run directory how far it has come.

    Attributes:
        applied: Operations that MLflow has.
        run_ids: MLflow's id of each run.
        experiment_id: MLflow's id of the experiment, once it is known.
    """

    def __init__(self, uri: str, experiment: str, journal: Journal) -> None:
        """Read how far earlier commands have come; nothing is sent yet."""
        self._uri, self._experiment, self._journal = uri, experiment, journal
        self._state_file = journal.file.with_name(STATE_FILE)
        self._client: MlflowClient | None = None
        noted = json.loads(self._state_file.read_text(encoding="utf-8")) if self._state_file.is_file() else {}
        # Another place has nothing of this journal yet, and gets all of it.
        if (noted.get("uri"), noted.get("experiment"), noted.get("journal")) != (uri, experiment, journal.id):
            noted = {}
        self.applied = int(noted.get("applied", 0))
        self.run_ids: dict[str, str] = dict(noted.get("runs", {}))
        self.experiment_id: str | None = noted.get("experiment_id")

    def apply_next(self) -> None:
        """Apply the next operation of the journal.

        Raises:
            MlflowException: If MLflow refuses it or cannot be reached.
            OSError: If it cannot be reached.
        """
        operation = self._journal[self.applied]
        self._ensure_experiment()
        self._apply(operation)
        self.skip_next()

    def skip_next(self) -> None:
        """Count the next operation as done."""
        self.applied += 1
        self._save()

    def _apply(self, operation: Operation) -> None:
        run, content, client = operation.run, operation.content, self._connected()
        if operation.kind == "start":
            self._start(run, content)
            return
        run_id = self.run_ids[run]
        if operation.kind == "resume":
            client.update_run(run_id, status="RUNNING")
        elif operation.kind == "metrics":
            # The same value at the same time and step is one point, however often it is sent.
            metrics = [Metric(key, value, operation.time, int(step)) for key, value, step in content["points"]]
            for first in range(0, len(metrics), _LARGEST_BATCH):
                client.log_batch(run_id, metrics=metrics[first : first + _LARGEST_BATCH])
        elif operation.kind == "tags":
            client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in content.items()])
        elif operation.kind == "file":
            client.log_artifact(run_id, content["path"])
        elif operation.kind == "table":
            self._log_table(run_id, Path(content["path"]))
        else:
            client.set_terminated(run_id, content["status"])

    def _start(self, run: str, content: dict[str, Any]) -> None:
        client, mark = self._connected(), f"{self._journal.id}/{run}"
        # The driver may have been killed after it created the run and before it noted the id.
        found = client.search_runs([str(self.experiment_id)], f"tags.`{_ID_TAG}` = '{mark.replace(chr(39), '')}'")
        if found:
            self.run_ids[run] = str(found[0].info.run_id)
            return
        tags = {MLFLOW_RUN_NAME: content["name"], MLFLOW_SOURCE_NAME: "latentswarm", _ID_TAG: mark.replace("'", "")}
        if content["parent"] is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self.run_ids[content["parent"]]
        created = client.create_run(str(self.experiment_id), tags={**tags, **content["tags"]})
        run_id: str = created.info.run_id
        params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in content["params"].items()]
        client.log_batch(run_id, params=params, tags=[RunTag("latentswarm", "true")])
        self.run_ids[run] = run_id

    def _log_table(self, run_id: str, file: Path) -> None:
        """Log a CSV as a table that the UI shows; MLflow would append to one that is there."""
        client, name = self._connected(), f"{file.stem}.json"
        if not any(one.path == name for one in client.list_artifacts(run_id)):
            # As plain objects: MLflow asks for columns in a way that newer pandas warns about.
            client.log_table(run_id, pd.read_csv(file).astype(object), name)

    def _ensure_experiment(self) -> None:
        if self.experiment_id is not None:
            return
        client = self._connected()
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            # A server decides for itself where artifacts go; a local database would put them below the current folder.
            folder = self._journal.file.absolute().parent.parent / "mlartifacts"
            artifacts = None if is_server(self._uri) else folder.as_uri()
            tags = {"mlflow.experimentKind": "custom_model_development"}
            try:
                client.create_experiment(self._experiment, artifact_location=artifacts, tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = client.get_experiment_by_name(self._experiment)
        assert found is not None
        self.experiment_id = str(found.experiment_id)

    def _connected(self) -> MlflowClient:
        if self._client is None:
            # Creating the tables of a new database is reported line by line at this level.
            logging.getLogger("mlflow").setLevel(logging.WARNING)
            logging.getLogger("alembic").setLevel(logging.WARNING)
            self._client = MlflowClient(self._uri)
        return self._client

    def _save(self) -> None:
        state = {
            "uri": self._uri,
            "experiment": self._experiment,
            "experiment_id": self.experiment_id,
            "journal": self._journal.id,
            "applied": self.applied,
            "runs": self.run_ids,
        }
        write_json(self._state_file, state)
