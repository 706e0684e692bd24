"""MLflow tracking URI, health check of its server, and the links that open it in a browser."""

import http.client
import json
import os
import shlex
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from latent_core.errors import UserError
from orchestrator.config.environment import TrackingConfig
from orchestrator.console import MASK, masked
from orchestrator.tracking.database import check_database

_UI_PORT = 5000
_PATIENCE_SECONDS = 5.0
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVERS = ("http", "https")
_QUESTION = "api/2.0/mlflow/experiments/search?max_results=1"
_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH")


def tracking_uri(config: TrackingConfig, out: Path) -> str:
    """Return the tracking URI: the environment's, else the configured one, else a SQLite file beside the runs."""
    from_environment = os.environ.get("MLFLOW_TRACKING_URI")
    return from_environment or config.uri or f"sqlite:///{out.absolute().parent}/mlflow.db"


def is_server(uri: str) -> bool:
    """Whether a URI names a server, which may be away, instead of a database."""
    return _scheme(uri) not in _DATABASES


def check_uri(config: TrackingConfig) -> None:
    """Refuse a tracking URI that MLflow does not write to; asks nobody, so that planning can.

    Raises:
        UserError: If it is one.
    """
    key = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "tracking.uri"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or config.uri
    if uri is None:
        return
    scheme = _scheme(uri)
    if MASK in uri:
        raise UserError(
            f"{key} {uri}: its password was left out where this was written down; give it again, or set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if scheme in ("", "file"):
        folder = uri.partition(":")[2] if scheme else uri
        database = Path("/" + folder.lstrip("/") if folder.startswith("/") else folder).absolute() / "mlflow.db"
        raise UserError(
            f"{key} {uri}: MLflow writes to folders of files no more; name a database instead, such as "
            f"sqlite:///{database}, or a server"
        )
    if scheme not in (*_DATABASES, *_SERVERS):
        _ask_for_store(key, uri)


def check_tracking(uri: str) -> None:
    """Refuse a tracking server that does not answer as one, before anything is computed for it.

    Raises:
        UserError: If it does not, or refuses who asks.
    """
    if _scheme(uri) not in _SERVERS:
        check_database(uri)
        return
    try:
        if _answers(uri):
            return
    except (TimeoutError, ConnectionRefusedError, socket.gaierror) as error:
        raise UserError(
            f"tracking.uri {masked(uri)}: no MLflow server answers there ({error}); start it, or unset "
            "MLFLOW_TRACKING_URI and tracking.uri to write to a local file"
        ) from None
    _ask_client(uri)


def ui_command(uri: str) -> str | None:
    """Return the command that serves the UI, or None where a server is running already."""
    if is_server(uri):
        return None
    # Without an activated environment the shell would not find the one that is installed beside this program.
    mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
    # One process serves one person; by default there are four, each of which takes seconds to start.
    options = ["--backend-store-uri", masked(uri), "--port", str(_UI_PORT), "--workers", "1"]
    return shlex.join([str(mlflow), "server", *options])


def chart_link(uri: str, experiment_id: str, run_ids: Sequence[str], metric: str) -> str:
    """Return the link that shows a metric of some runs in one chart over N."""
    runs = ",".join(f'"{run_id}"' for run_id in run_ids)
    query = f'runs=[{runs}]&metric="{metric}"&experiments=["{experiment_id}"]&plot_metric_keys=["{metric}"]&x_axis=step'
    # Without it MLflow shows its pages for generative models around the chart.
    query += "&workflowType=machine_learning"
    return f"{_ui(uri)}/#/metric?{quote(query, safe='=&,')}"


def run_link(uri: str, experiment_id: str, run_id: str) -> str:
    """Return the link that shows a run: its parameters, metrics, files and children."""
    return f"{_ui(uri)}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def _ui(uri: str) -> str:
    """Return where the UI is, or will be once the command that serves it has been given."""
    return _without_user(uri).rstrip("/") if is_server(uri) else f"http://127.0.0.1:{_UI_PORT}"


def _scheme(uri: str) -> str:
    """Return the scheme in small letters, without the driver of a database."""
    before, separator, _ = uri.partition(":")
    return before.lower().partition("+")[0] if separator and "/" not in before else ""


def _without_user(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _answers(uri: str) -> bool:
    """Whether a server answers as MLflow does, without a password or certificates of one's own; takes milliseconds.

    Raises:
        OSError: If nobody answers: `TimeoutError`, `ConnectionRefusedError` or `socket.gaierror`.
    """
    if urlsplit(uri).username is not None or any(os.environ.get(name) for name in _CREDENTIALS):
        return False
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/{_QUESTION}", timeout=_PATIENCE_SECONDS) as response:
            return isinstance(json.load(response), dict)
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | ConnectionRefusedError | socket.gaierror):
            raise error.reason from None
        return False
    except TimeoutError:
        raise
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _ask_client(uri: str) -> None:
    """Ask through MLflow's own client, which knows passwords, tokens, certificates and plugins.

    Raises:
        UserError: If it is refused, or if what answers is no MLflow server.
    """
    import requests
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
        response = http_request(  # type: ignore[no-untyped-call]
            credentials, f"/{_QUESTION}", "GET", max_retries=0, timeout=_PATIENCE_SECONDS
        )
        if response.status_code in (401, 403):
            raise UserError(
                f"tracking.uri {masked(uri)}: the server there lets nobody in with these credentials "
                f"({response.status_code} {response.reason}); see MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD "
                "and MLFLOW_TRACKING_TOKEN"
            )
        if response.status_code == http.client.OK and isinstance(response.json(), dict):
            return
        reason = f"{response.status_code} {response.reason}"
    except requests.exceptions.JSONDecodeError:
        reason = "its answer is not MLflow's"
    except (MlflowException, OSError) as error:
        reason = _reason(error)
    raise UserError(
        f"tracking.uri {masked(uri)}: what is there does not answer as an MLflow server does ({reason}); correct it, "
        "or unset MLFLOW_TRACKING_URI and tracking.uri to write to a local file"
    )


def _ask_for_store(key: str, uri: str) -> None:
    """Refuse a scheme that neither MLflow nor one of its plugins knows.

    Raises:
        UserError: If nobody knows it.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri)
    except (MlflowException, ImportError, OSError) as error:
        raise UserError(f"{key} {masked(uri)}: MLflow cannot write there ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return masked(" ".join(str(error).split()))[:200] or type(error).__name__
