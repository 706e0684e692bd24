"""Address of a Ray cluster: what is none is refused at once, and what does not answer within a stated time."""

import os
import re
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import services
from ray._private.authentication import authentication_token_setup
from ray._raylet import GcsClient  # type: ignore[attr-defined]

from latent_core.errors import UserError

_TRY_SECONDS = 2.0
_PAUSE_SECONDS = 0.5
_LEAST_FOR_AN_ANSWER_SECONDS = 5.0
_INIT_SECONDS = 60.0
_TOKEN_CURE = (
    "start the command with RAY_AUTH_MODE=token and the cluster's token, in RAY_AUTH_TOKEN or ~/.ray/auth_token "
    "(docs/clusters.md)"
)


def check_address(address: str, seconds: float) -> str:
    """Refuse an address that no cluster answers at; returns it as host and port.

    Ray itself would try for minutes, in a call that Ctrl-C does not reach.

    Args:
        address: What the user gave: host:port, or "auto" for a cluster that was started on this machine.
        seconds: How long to wait for an answer.

    Raises:
        UserError: With what is wrong.
    """
    where = f"cluster.address {address}"
    if address.startswith("ray://"):
        raise UserError(
            f"{where}: Ray Client, through which no pipeline can be run; start the command on a node of the "
            "cluster with host:port (6379 by default), or as a job (docs/clusters.md)"
        )
    if address.startswith(("http://", "https://")):
        raise UserError(
            f"{where}: the address of the job server; `ray job submit --address {shlex.quote(address)} -- ...` takes "
            "it, cluster.address wants host:port (6379 by default)"
        )
    if address == "auto":
        try:
            address = services.get_ray_address_from_environment("auto", None) or ""
        except ConnectionError as error:
            raise UserError(f"{where}: no Ray cluster runs on this machine") from error
        where = f"{where} ({address})"
    host, port = _host_and_port(address, where)
    deadline = time.monotonic() + seconds
    _reach(host, port, where, deadline, seconds)
    _ask(f"{host}:{port}" if ":" not in host else f"[{host}]:{port}", where, deadline, seconds)
    return address


@contextmanager
def ends_in_time(where: str, seconds: float = _INIT_SECONDS) -> Iterator[None]:
    """End the process with one line if connecting takes longer; nothing has begun by then that could be lost.

    The call is one that neither exceptions nor signals reach.
    """

    def end() -> None:
        sys.stderr.write(f"latentswarm: {where}: Ray has not let this process in within {seconds:g} s\n")
        sys.stderr.flush()
        os._exit(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def refusal(where: str, error: BaseException) -> UserError:
    """Return the one line for what Ray says about an address."""
    text = " ".join(str(error).split())
    if re.search(r"unauthenticated|auth.*token|token.*auth|invalid.{0,20}token", text, re.IGNORECASE):
        sent = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
        what = "refuses the token of this command" if sent else "asks for a token, and this command sends none"
        return UserError(f"{where}: the cluster {what}; {_TOKEN_CURE}")
    return UserError(f"{where}: {text[:300] or type(error).__name__}")


def _host_and_port(address: str, where: str) -> tuple[str, int]:
    match = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\]:(\d{1,5})|([^\s:/@\[\]]+):(\d{1,5})", address)
    port = int(match[2] or match[4]) if match else 0
    if match is None or not 0 < port < 65536:
        raise UserError(f"{where}: expected host:port, such as 10.0.0.1:6379, or auto")
    return match[1] or match[3], port


def _reach(host: str, port: int, where: str, deadline: float, seconds: float) -> None:
    """Wait until something listens there: a head may be just starting."""
    while True:
        try:
            socket.create_connection((host, port), timeout=_TRY_SECONDS).close()
        except socket.gaierror as error:
            raise UserError(f"{where}: {host} is no host that can be found ({error.strerror})") from error
        except OSError as error:
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                raise UserError(
                    f"{where}: nothing answers there within {seconds:g} s ({error.strerror or error}); check the "
                    "address, or raise cluster.connect_seconds; without an address a local cluster is started"
                ) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _ask(address: str, where: str, deadline: float, seconds: float) -> None:
    """Ask whoever listens whether it is a Ray that lets this process in."""
    # As Ray does itself where nothing is said of tokens and there is one; versions before 2.60 wait to be told.
    use_token = getattr(authentication_token_setup, "maybe_enable_token_auth_if_token_available", None)
    if use_token is not None:
        use_token(warn_if_disabled=False)
    answers: list[BaseException | None] = []

    def ask() -> None:
        try:
            GcsClient(address=address)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            answers.append(error)
        else:
            answers.append(None)

    # In a thread, since this call of Ray's neither ends in time nor can be interrupted.
    thread = threading.Thread(target=ask, daemon=True, name="ray-address")
    thread.start()
    until = max(deadline, time.monotonic() + _LEAST_FOR_AN_ANSWER_SECONDS)
    while thread.is_alive() and time.monotonic() < until:
        thread.join(0.05)
    if not answers:
        raise UserError(
            f"{where}: something listens there that does not answer as a Ray cluster does within {seconds:g} s; give "
            "the port of the head (6379 by default), not that of the dashboard or of Ray Client"
        )
    if answers[0] is not None:
        raise refusal(where, answers[0]) from answers[0]
