"""Where MLflow is, and whether it is there."""

import contextlib
import http.server
import shlex
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from latent_core.errors import UserError
from orchestrator.config.environment import TrackingConfig
from orchestrator.tracking.server import chart_link, check_tracking, check_uri, tracking_uri, ui_command


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


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """A port on which something answers."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Answer(http.server.BaseHTTPRequestHandler):
    """Health is not for everybody, as behind some proxies; experiments are there for whom has the password."""

    status, body, password = 200, b'{"experiments": []}', ""

    def do_GET(self) -> None:
        allowed = not self.password or self.headers["Authorization"] == self.password
        answers = self.path.startswith("/prefix/api/2.0/mlflow/experiments/search")
        self.send_response(self.status if allowed and answers else 404 if allowed else 401)
        self.end_headers()
        self.wfile.write(self.body if allowed and answers else b"no")

    def log_message(self, *_: object) -> None:
        pass


class WithPassword(Answer):
    password = "Basic dXNlcjpwQHNz"  # user:p@ss


class NotForAnybody(Answer):
    status = 401


class WebPage(Answer):
    body = b"<html>hello</html>"


class Other(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        self.request.recv(1000)


def test_what_answers_as_mlflow_does_will_do() -> None:
    with serving(Answer) as port:
        check_tracking(f"http://127.0.0.1:{port}/prefix/")
        check_tracking(f"HTTP://127.0.0.1:{port}/prefix")


def test_a_user_and_a_password_in_the_uri_reach_the_server_and_nobody_else() -> None:
    with serving(WithPassword) as port:
        check_tracking(f"http://user:p%40ss@127.0.0.1:{port}/prefix")
        with pytest.raises(UserError) as caught:
            check_tracking(f"http://user:secret@127.0.0.1:{port}/prefix")
    assert "lets nobody in with these credentials (401" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (NotForAnybody, "lets nobody in"),
        (WebPage, "its answer is not MLflow's"),
        (Other, "does not answer as an MLflow server does"),
    ],
)
def test_whatever_else_answers_is_one_clear_line(handler: type[socketserver.BaseRequestHandler], words: str) -> None:
    with serving(handler) as port, pytest.raises(UserError) as caught:
        check_tracking(f"http://127.0.0.1:{port}/prefix")
    assert str(caught.value).startswith(f"tracking.uri http://127.0.0.1:{port}/prefix: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_https_with_a_certificate_of_ones_own_is_asked_for_through_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Server(socketserver.ThreadingTCPServer):
        def get_request(self) -> tuple[socket.socket, object]:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True), address

    with Server(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"https://127.0.0.1:{server.server_address[1]}/prefix"
        with pytest.raises(UserError, match=r"does not answer as an MLflow server does"):
            check_tracking(uri)
        for name, value in (
            ("MLFLOW_TRACKING_INSECURE_TLS", "true"),
            ("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate)),
            ("REQUESTS_CA_BUNDLE", str(certificate)),
        ):
            with monkeypatch.context() as changed:
                changed.setenv(name, value)
                check_tracking(uri)
        server.shutdown()


def test_a_file_needs_no_server(tmp_path: Path) -> None:
    check_tracking(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize(
    ("uri", "cure"),
    [
        ("./mlruns", "sqlite:///{here}/mlruns/mlflow.db"),
        ("file:///tmp/mlruns", "sqlite:////tmp/mlruns/mlflow.db"),
        ("file:mlruns", "sqlite:///{here}/mlruns/mlflow.db"),
        ("nonsense://x", "MLflow cannot write there"),
        ("http://***@host", "its password was left out"),
    ],
)
def test_a_place_that_mlflow_does_not_write_to_is_refused(
    uri: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"^tracking\.uri ") as caught:
        check_uri(TrackingConfig(uri=uri))
    assert cure.format(here=tmp_path) in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI "):
        check_uri(TrackingConfig())


@pytest.mark.parametrize(
    "uri", ["sqlite:///x.db", "SQLITE:///x.db", "http://host", "HTTPS://host", "postgresql+x://h/d"]
)
def test_databases_and_servers_are_not_asked_while_planning(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    check_uri(TrackingConfig(uri=uri))


def test_the_command_that_is_printed_can_be_pasted() -> None:
    uri = "sqlite:////tmp/my runs/$x.db"
    command = ui_command(uri)
    assert command is not None
    words = shlex.split(command)
    assert words[words.index("--backend-store-uri") + 1] == uri
    assert words[words.index("--workers") + 1] == "1"
    assert ui_command("HTTP://host") is None
    assert "secret" not in str(ui_command("postgresql://user:secret@host/db"))


def test_links_carry_no_password() -> None:
    assert chart_link("http://user:secret@host:5000/", "1", ["a"], "coverage").startswith("http://host:5000/#/metric?")


def test_an_experiment_that_mlflow_would_refuse_is_refused() -> None:
    TrackingConfig(experiment="x" * 500)
    with pytest.raises(ValueError, match="500"):
        TrackingConfig(experiment="x" * 2000)
