"""Where MLflow is, and whether it is there."""

import http.server
import socket
import threading
from pathlib import Path

import pytest

from latent_core.errors import UserError
from orchestrator.config.run import TrackingConfig
from orchestrator.tracking.server import check_tracking, tracking_uri


def test_the_uri_of_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configured, default = TrackingConfig(uri="http://host:1"), TrackingConfig()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(configured, Path("runs/demo")) == "http://host:1"
    assert tracking_uri(default, Path("runs/demo")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:2")
    assert tracking_uri(configured, Path("runs/demo")) == "http://other:2"
    assert tracking_uri(default, Path("runs/demo")) == "http://other:2"


def test_a_server_that_is_away_is_one_clear_line() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    with pytest.raises(UserError) as caught:
        check_tracking(uri)
    assert str(caught.value).startswith(f"tracking.uri {uri}: no MLflow server answers there (")
    assert "unset MLFLOW_TRACKING_URI" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 401, 404])
def test_whatever_answers_will_do(status: int) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check_tracking(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


def test_a_file_needs_no_server(tmp_path: Path) -> None:
    check_tracking(f"sqlite:///{tmp_path}/mlflow.db")
