"""Artifacts: every file that a report writes, one entry each, found by name.

A new plot or table is one new file in `orchestrator.reporting.plots` with a function under `@register_artifact(...)`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from latent_core.registry import Registry
from orchestrator.analysis.evaluation import Evaluation

S = TypeVar("S")

_LAST = 100


@dataclass(frozen=True)
class Report:
    """What the artifacts of a run directory are made of.

    Attributes:
        title: What stands above its pictures.
        evaluation: The results.
        summary: What `summary.json` says; None where a report is made from the store alone, which does not know it.
    """

    title: str
    evaluation: Evaluation
    summary: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Artifact(Generic[S]):
    """A file that is made of a subject, such as a `Report`.

    Attributes:
        name: Its file name.
        write: Writes it to a path.
        applies: Whether there is anything to write.
        place: Where it stands among the others when they are written and named.
        lasting: Whether a file of an earlier state stays where there is nothing to write.
    """

    name: str
    write: Callable[[S, Path], None]
    applies: Callable[[S], bool] = lambda _: True
    place: int = _LAST
    lasting: bool = False


ARTIFACTS: Registry[Artifact[Report]] = Registry("artifact", "orchestrator.reporting", "orchestrator.reporting.plots")
"""The files of a run directory that its results are written to, by name."""


def register_artifact(
    name: str, applies: Callable[[Report], bool] = lambda _: True, *, place: int = _LAST, lasting: bool = False
) -> Callable[[Callable[[Report, Path], None]], Artifact[Report]]:
    """Decorator that makes a function the writer of a file of every run directory; see `Artifact`."""

    def register(write: Callable[[Report, Path], None]) -> Artifact[Report]:
        return ARTIFACTS.register(name, Artifact(name, write, applies, place, lasting))

    return register


def registered_artifacts() -> list[Artifact[Report]]:
    """Return all artifacts of a run directory."""
    return [ARTIFACTS[name] for name in ARTIFACTS]


def write_artifacts(artifacts: Iterable[Artifact[S]], subject: S, out: Path) -> list[Path]:
    """Write what applies into a directory that exists, and remove what does not; returns the files."""
    written = []
    for artifact in sorted(artifacts, key=lambda artifact: artifact.place):
        path = out / artifact.name
        if artifact.applies(subject):
            artifact.write(subject, path)
            written.append(path)
        elif not artifact.lasting:
            # What an earlier state of the run had must not outlive it.
            path.unlink(missing_ok=True)
    return written
