"""What Ray Tune hands on to trials."""

import pytest
from ray.tune.execution import class_cache

from orchestrator.tuning.environment import keep_cloud_keys


class Trainable:
    """What Tune makes an actor of."""


def test_trials_are_given_no_cloud_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", class_cache.ENV_VARS_TO_PROPAGATE)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "hidden")
    keep_cloud_keys()
    actor = class_cache._ActorClassCache().get(Trainable)
    assert "hidden" not in str(actor._default_options["runtime_env"])
