"""Artifacts: every file that a report writes, one entry each, found by name.

A new plot or table is one new file in `orchestrator.reporting.plots` with a function under `@register_artifact(...)`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from latent_core.registry import Registry
from orchestrator.analysis.evaluation import Evaluation
from orchestrator.reporting.pictures import PictureRecord, digest, drawing_code

S = TypeVar("S")

_LAST = 100
_PICTURES = (".png", ".html")


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

    def content(self) -> str:
        """Return a hash of everything that a picture of it may show."""
        made = self.evaluation
        numbers = [
            made.rows,
            made.comparisons,
            made.difficulties,
            made.judged,
            made.frontier,
            made.adaptive,
            [one.rows for one in made.dynamics],
        ]
        names = [self.title, made.task.name, made.budgets, [objective.text for objective in made.objectives]]
        questions = [[one.trial.name, one.summary, one.questions.to_csv(index=False)] for one in made.trials]
        return digest(repr([numbers, names, questions]).encode())


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

    @property
    def is_picture(self) -> bool:
        """Whether it is drawn, which takes long: once is enough as long as it would look the same."""
        return Path(self.name).suffix in _PICTURES


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


def write_artifacts(artifacts: Iterable[Artifact[S]], subject: S, out: Path, content: str) -> list[Path]:
    """Write what applies into a directory that exists, and remove what does not; returns the files.

    Args:
        artifacts: What may be written.
        subject: What it is made of.
        out: The directory.
        content: Hash of the subject. Pictures that lie there as they were drawn of it are left as they are.
    """
    written, record = [], PictureRecord(out)
    for artifact in sorted(artifacts, key=lambda artifact: artifact.place):
        path = out / artifact.name
        if artifact.applies(subject):
            shown = f"{content} {drawing_code()} {_source(artifact)}" if artifact.is_picture else ""
            if not artifact.is_picture or not record.is_current(path, shown):
                artifact.write(subject, path)
                if artifact.is_picture:
                    record.note(path, shown)
            written.append(path)
        elif not artifact.lasting:
            # What an earlier state of the run had must not outlive it.
            path.unlink(missing_ok=True)
    record.save()
    return written


def _source(artifact: Artifact[Any]) -> str:
    """Return a hash of the file that defines how an artifact is written, which may lie outside of this package."""
    return digest(inspect.getsource(inspect.getmodule(artifact.write) or artifact.write).encode())
