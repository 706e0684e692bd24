"""What Ray Tune hands on to trials."""

from typing import Any

import pytest
from ray.runtime_env import RuntimeEnv
from ray.tune.execution import class_cache

from orchestrator.tuning.environment import trim_environment


class Trainable:
    """What Tune makes an actor of."""


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what is changed within Ray, and begin with nothing that Tune would hand on."""
    for name in ("ENV_VARS_TO_PROPAGATE", "DEFAULT_ENV_VARS"):
        monkeypatch.setattr(class_cache, name, getattr(class_cache, name))
    for name in class_cache.ENV_VARS_TO_PROPAGATE:
        monkeypatch.delenv(name, raising=False)


def environment() -> dict[str, Any]:
    """The runtime environment of trials."""
    options = class_cache._ActorClassCache().get(Trainable)._default_options
    return dict(options.get("runtime_env") or {})


def test_trials_are_given_no_cloud_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    trim_environment()
    assert "hidden" not in str(environment())
    # What somebody has set for Tune is handed on as ever.
    assert environment() == {"env_vars": {"RAY_CHDIR_TO_TRIAL_DIR": "0"}}


def test_trials_need_no_processes_of_their_own() -> None:
    """With any runtime environment a worker is started from nothing, and its stages are too."""
    assert environment()
    trim_environment()
    assert RuntimeEnv(**environment()).serialize() == RuntimeEnv().serialize() == "{}"
