"""Shipped configurations and their schemas: where they lie, in a checkout as well as where a wheel was installed."""

import importlib.metadata
from pathlib import Path

_FOLDER = "tune_configs"
_CHECKOUT = Path(__file__).parents[2]

SCHEMAS = Path(__file__).with_name("schemas")
"""Folder of the JSON schemas by which editors check configurations, part of the package."""


def shipped_configs() -> dict[str, Path]:
    """Return the configurations that come with the package by name, in the order of the alphabet.

    A wheel has them as data files, whose place depends on how it was installed and stands in its record of files; a
    checkout, installed or not, has them beside the packages.
    """
    own = _CHECKOUT / _FOLDER
    found = list(own.glob("*.yaml")) if own.is_dir() else _installed()
    return {file.stem: file for file in sorted(found)}


def _installed() -> list[Path]:
    record = importlib.metadata.files("latentswarm") or []
    wanted = [file for file in record if file.parent.name == _FOLDER and file.suffix == ".yaml"]
    return [Path(str(file.locate())).resolve() for file in wanted]
