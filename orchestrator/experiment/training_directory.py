"""Run directory of a training: claimed by one configuration and its data, and gone on with by the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from orchestrator.config.loading import load_config, save_config
from orchestrator.config.training import TrainingConfig
from orchestrator.experiment.run_directory import TRAINING_PLAN_FILE, write_work_file
from orchestrator.files import write_json

_CONFIG_FILE = "config.yaml"


def is_begun(out: Path, config: TrainingConfig, facts: Mapping[str, Any], facts_changed: str) -> bool:
    """Whether a run directory is this training's own.

    Args:
        out: The run directory.
        config: The configuration of the training.
        facts: What identifies its data and its start.
        facts_changed: What is other where the settings are the same and the facts are not, in words.

    Raises:
        UserError: If it belongs to another training.
    """
    config_file, plan_file = out / _CONFIG_FILE, out / TRAINING_PLAN_FILE
    if not plan_file.is_file() or not config_file.is_file():
        return False
    key = config.same_weights(load_config(type(config), config_file))
    if key is None and json.loads(plan_file.read_text(encoding="utf-8")) != facts:
        key = facts_changed
    if key is not None:
        raise UserError(f"--out {out}: holds a training with another {key}; choose another directory")
    return True


def claim(out: Path, command: str, config: TrainingConfig, facts: Mapping[str, Any], updates: int) -> None:
    """Make a run directory that nothing has begun in a training's own.

    Args:
        out: The run directory.
        command: The command that trains.
        config: The configuration of the training.
        facts: What identifies its data and its start, as for `is_begun`.
        updates: How many updates it will take.

    Raises:
        UserError: If it cannot be written.
    """
    try:
        save_config(config, out / _CONFIG_FILE)
        write_json(out / TRAINING_PLAN_FILE, facts)
        write_work_file(out, command, {"updates": updates})
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error
