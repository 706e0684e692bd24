"""Idempotent MLflow writer: operations of the journal as client calls that may be repeated without being seen twice."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_SOURCE_NAME

from orchestrator.tracking.database import create_database
from orchestrator.tracking.journal import Journal, Operation
from orchestrator.tracking.server import is_server
from orchestrator.tracking.state import SendState

_ID_TAG = "latentswarm.id"
_LONGEST_PARAM = 500
_LARGEST_BATCH = 1000


class RunNotOpenError(LookupError):
    """An operation of a run that MLflow does not have."""


class MlflowWriter:
    """Applies operations of a journal; what has been applied is noted by whom has asked for it.

    Attributes:
        state: How far earlier commands have come; the ids of runs are added here.
    """

    def __init__(self, uri: str, experiment: str, journal: Journal, state: SendState) -> None:
        """Nothing is sent yet."""
        self._uri, self._experiment, self._journal, self.state = uri, experiment, journal, state
        self._client: MlflowClient | None = None

    def connect(self) -> None:
        """Open the database or ask the server, and find or make the experiment; once is enough.

        An experiment that has been deleted for good has nothing of this journal, and its successor gets all of it.

        Raises:
            MlflowException: If MLflow refuses it or cannot be reached.
            OSError: If it cannot be reached.
        """
        if self._client is not None:
            return
        # Creating the tables of a new database is reported line by line at this level.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        create_database(self._uri)
        client = MlflowClient(self._uri)
        if self.state.experiment_id is not None and not _exists(client, self.state.experiment_id):
            self.state.begin_anew()
        if self.state.experiment_id is None:
            self.state.experiment_id = self._find_experiment(client)
        self._client = client

    def apply(self, index: int, late: bool = False) -> None:
        """Apply an operation of the journal.

        Args:
            index: Its place.
            late: Whether later operations may have been applied, which it then must not undo.

        Raises:
            MlflowException: If MLflow refuses it or cannot be reached.
            OSError: If MLflow, the place of artifacts, or a file cannot be reached.
            RunNotOpenError: If its run could not be opened.
        """
        operation: Operation | None = self._journal[index]
        if late:
            operation = _what_still_counts(self._journal[index], self._journal.after(index))
        if operation is not None and operation.kind != "lost":
            self._apply(operation)

    def is_there(self) -> bool:
        """Whether MLflow answers a simple question, so that what has failed failed for a reason of its own."""
        try:
            self._connected().get_experiment(str(self.state.experiment_id))
        except Exception:  # noqa: BLE001 - however it fails, it does not answer
            return False
        return True

    def deletion(self) -> str | None:
        """Say that somebody has deleted the experiment, and how it is restored; None where it is there."""
        experiment_id = str(self.state.experiment_id)
        try:
            experiment = self._connected().get_experiment(experiment_id)
        except Exception:  # noqa: BLE001 - the reason that is known already will do
            return None
        if experiment.lifecycle_stage != LifecycleStage.DELETED:
            return None
        return (
            f"the experiment {experiment.name!r} has been deleted in MLflow; `mlflow experiments restore "
            f"--experiment-id {experiment_id}` brings it back"
        )

    def _apply(self, operation: Operation) -> None:
        run, content, client = operation.run, operation.content, self._connected()
        if operation.kind == "start":
            self._start(run, content)
            return
        run_id = self._run_id(run)
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

    def _run_id(self, run: str) -> str:
        if run not in self.state.runs:
            raise RunNotOpenError(f"its run, {run}, could not be opened")
        return self.state.runs[run]

    def _start(self, run: str, content: dict[str, Any]) -> None:
        client, mark = self._connected(), f"{self._journal.id}/{run}".replace("'", "")
        # The driver may have been killed after it created the run and before it noted the id.
        found = client.search_runs([str(self.state.experiment_id)], f"tags.`{_ID_TAG}` = '{mark}'")
        if found:
            run_id = str(found[0].info.run_id)
        else:
            tags = {MLFLOW_RUN_NAME: content["name"], MLFLOW_SOURCE_NAME: "latentswarm", _ID_TAG: mark}
            if content["parent"] is not None:
                tags[MLFLOW_PARENT_RUN_ID] = self._run_id(content["parent"])
            run_id = client.create_run(str(self.state.experiment_id), tags={**tags, **content["tags"]}).info.run_id
        # Even if it was found: the same parameters may be given twice, and it may have been created without them.
        params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in content["params"].items()]
        client.log_batch(run_id, params=params, tags=[RunTag("latentswarm", "true")])
        self.state.runs[run] = run_id

    def _log_table(self, run_id: str, file: Path) -> None:
        """Log a CSV as a table that the UI shows; MLflow would append to one that is there."""
        client, name = self._connected(), f"{file.stem}.json"
        if not any(one.path == name for one in client.list_artifacts(run_id)):
            # As plain objects: MLflow asks for columns in a way that newer pandas warns about.
            client.log_table(run_id, pd.read_csv(file).astype(object), name)

    def _find_experiment(self, client: MlflowClient) -> str:
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
        return str(found.experiment_id)

    def _connected(self) -> MlflowClient:
        self.connect()
        assert self._client is not None
        return self._client


def _exists(client: MlflowClient, experiment_id: str) -> bool:
    try:
        client.get_experiment(experiment_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _what_still_counts(operation: Operation, later: Sequence[Operation]) -> Operation | None:
    """Return what an operation still has to do after later ones of its run; None where it is nothing."""
    same = [one for one in later if one.run == operation.run]
    if operation.kind in ("resume", "end") and any(one.kind in ("resume", "end") for one in same):
        return None
    if operation.kind in ("file", "table") and any(
        (one.kind, one.content) == (operation.kind, operation.content) for one in same
    ):
        return None
    if operation.kind == "tags":
        newer = {key for one in same if one.kind == "tags" for key in one.content}
        content = {key: value for key, value in operation.content.items() if key not in newer}
        return replace(operation, content=content) if content else None
    return operation
