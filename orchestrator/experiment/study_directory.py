"""The file that names the run directories of a study. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from latent_core.errors import UserError
from orchestrator.files import write_json

STUDY_FILE = "study.json"


def write_study_file(out: Path, folders: Mapping[str, str]) -> None:
    """Write down the run directories of a study, by the names of its sweeps."""
    write_json(out / STUDY_FILE, {"sweeps": dict(folders)})


def study_directories(out: Path) -> list[Path]:
    """Return the run directories of a study, or the directory itself if it is that of a single run or sweep.

    Raises:
        UserError: If the file that names them cannot be used.
    """
    file = out / STUDY_FILE
    if not file.is_file():
        return [out]
    try:
        return [out / str(folder) for folder in json.loads(file.read_text(encoding="utf-8"))["sweeps"].values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: cannot be used ({error}); the same sweep writes it anew") from error
