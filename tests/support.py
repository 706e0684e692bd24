"""What integration tests share besides fixtures."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., subprocess.CompletedProcess[str]]
"""Runs `latentswarm` with the given arguments in a process of its own."""

WriteConfig = Callable[[dict[str, Any]], Path]
"""Writes settings to a YAML file."""


def environment() -> dict[str, str]:
    """The environment of a user's shell: nothing of it decides where tracking or the cluster are."""
    return {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
