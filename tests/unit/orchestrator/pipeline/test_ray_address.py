"""Addresses of clusters: what is none is refused at once, what does not answer in time, each in one line."""

import socket
import time
from collections.abc import Iterator

import pytest

from latent_core.errors import UserError
from orchestrator.pipeline.ray_address import check_address, refusal


@pytest.fixture
def silent() -> Iterator[str]:
    """Somebody who listens and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ray://head:10001", "Ray Client, through which no pipeline can be run"),
        ("http://head:8265", "the address of the job server; `ray job submit --address http://head:8265"),
        ("https://head", "the address of the job server"),
        ("head", "expected host:port"),
        ("head:port", "expected host:port"),
        ("head:0", "expected host:port"),
        ("head:70000", "expected host:port"),
        ("a b:6379", "expected host:port"),
        ("", "expected host:port"),
        ("redis://head:6379", "expected host:port"),
        ("no-such-host.invalid:6379", "is no host that can be found"),
    ],
)
def test_what_is_no_address_is_refused_at_once(address: str, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as refused:
        check_address(address, 30)
    assert time.monotonic() - began < 10
    assert str(refused.value).startswith(f"cluster.address {address}: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_where_nothing_listens_the_wait_has_an_end(nobody: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=r"nothing answers there within 1 s .*cluster\.connect_seconds"):
        check_address(nobody, 1)
    assert time.monotonic() - began < 5


def test_whoever_listens_and_is_no_ray_is_told_apart(silent: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="something listens there that does not answer as a Ray cluster"):
        check_address(silent, 1)
    assert time.monotonic() - began < 15


def test_a_token_that_is_missing_or_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing or incorrect")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert "asks for a token, and this command sends none" in str(refusal("x", error))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "refuses the token of this command; start the command with RAY_AUTH_MODE=token" in str(refusal("x", error))
