"""Where the golden outputs are. The directory is a setting: other weights under the same file names must pass too."""

import os
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2].parent / "shared"
_DEFAULT, _DEFAULT_2026 = _SHARED / "parity", _SHARED / "parity-2026"


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The directory of golden outputs; tests skip where there is none."""
    directory = Path(os.environ.get("LATENTSWARM_PARITY_DIR", _DEFAULT))
    if not directory.is_dir():
        pytest.skip(f"no golden outputs: LATENTSWARM_PARITY_DIR ({directory}) is not a directory")
    return directory


@pytest.fixture(scope="session")
def parity_2026_dir() -> Path:
    """The directory of golden outputs of newer reasoners; tests skip where there is none."""
    directory = Path(os.environ.get("LATENTSWARM_PARITY_2026_DIR", _DEFAULT_2026))
    if not directory.is_dir():
        pytest.skip(f"no golden outputs: LATENTSWARM_PARITY_2026_DIR ({directory}) is not a directory")
    return directory
