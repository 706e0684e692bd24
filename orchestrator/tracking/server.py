"""MLflow tracking URI, health check of its server, and the links that open it in a browser."""

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from latent_core.errors import UserError
from orchestrator.config.run import TrackingConfig

_UI_PORT = 5000
_PATIENCE_SECONDS = 5.0


def tracking_uri(config: TrackingConfig, out: Path) -> str:
    """Return the tracking URI: the environment's, else the configured one, else a SQLite file beside the runs."""
    from_environment = os.environ.get("MLFLOW_TRACKING_URI")
    return from_environment or config.uri or f"sqlite:///{out.absolute().parent}/mlflow.db"


def is_server(uri: str) -> bool:
    """Whether a URI names a server, which may be away, instead of a file."""
    return uri.startswith(("http://", "https://"))


def check_tracking(uri: str) -> None:
    """Refuse a tracking server that does not answer, before anything is computed for it.

    Raises:
        UserError: If it does not.
    """
    if not is_server(uri):
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_PATIENCE_SECONDS):
            pass
    except urllib.error.HTTPError:
        # Something answers; a proxy in front of a server may not let everybody ask for its health.
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"tracking.uri {uri}: no MLflow server answers there ({reason}); start it, or unset "
            "MLFLOW_TRACKING_URI and tracking.uri to write to a local file"
        ) from error


def ui_command(uri: str) -> str | None:
    """Return the command that serves the UI, or None where a server is running already."""
    if is_server(uri):
        return None
    # Without an activated environment the shell would not find the one that is installed beside this program.
    mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
    return f"{mlflow} server --backend-store-uri {uri} --port {_UI_PORT}"


def chart_link(uri: str, experiment_id: str, run_ids: Sequence[str], metric: str) -> str:
    """Return the link that shows a metric of some runs in one chart over N."""
    base = uri.rstrip("/") if is_server(uri) else f"http://127.0.0.1:{_UI_PORT}"
    runs = ",".join(f'"{run_id}"' for run_id in run_ids)
    query = f'runs=[{runs}]&metric="{metric}"&experiments=["{experiment_id}"]&plot_metric_keys=["{metric}"]&x_axis=step'
    # Without it MLflow shows its pages for generative models around the chart.
    query += "&workflowType=machine_learning"
    return f"{base}/#/metric?{quote(query, safe='=&,')}"
