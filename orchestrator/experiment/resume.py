"""Going on with a run directory: what `--resume` asks for, and refuses where something else is in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from orchestrator.analysis.cut_answers import as_begun
from orchestrator.config.loading import read_yaml
from orchestrator.config.run import RunConfig, parse_config
from orchestrator.experiment.fingerprint import NO_INFLUENCE
from orchestrator.experiment.run_directory import check_run_file


def check_resume(out: Path, config: RunConfig) -> None:
    """Refuse to go on with a run directory that belongs to another configuration.

    Where and on how many actors it runs may change.

    Raises:
        UserError: If there is no such run directory, a newer version has written it, or its configuration would give
            other curves.
    """
    file = out / "config.yaml"
    if not file.is_file():
        raise UserError(f"--resume {out}: no config.yaml there; name the directory that an earlier --out made")
    check_run_file(out)
    before = parse_config(as_begun(read_yaml(file))).model_dump(mode="json", exclude=NO_INFLUENCE)
    key = _first_difference(before, config.model_dump(mode="json", exclude=NO_INFLUENCE))
    if key is not None:
        raise UserError(
            f"--resume {out}: it was begun with another {key}, and its curves would be mixed with others; leave "
            "--resume out and choose another --out, where everything that both have in common is taken from the store"
        )


def _first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Return the dotted key of the first value that differs, or None."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            found = _first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
            if found is not None:
                return found
        return None
    return None if before == now else path
