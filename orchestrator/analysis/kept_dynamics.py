"""Kept dynamics: those of a trial are computed again only where what they are made of is no longer the same.

Reading all latents takes most of the time of a report that has nothing to draw. A record in the run directory says what
the dynamics of each trial were made of: which files, which rows of them, and which code. Dynamics that lack something
are not kept, for it may be there the next time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import latent_core.dynamics
from latent_core.dynamics.dynamics import MOST_SAMPLES
from latent_core.selection import intervals
from latent_core.selection.intervals import Interval
from latent_core.tasks.base import Problem, Task
from orchestrator.analysis import cut_answers, dynamics
from orchestrator.analysis.dynamics import HeadSource, dynamics_of
from orchestrator.analysis.dynamics_rows import DynamicsRow, TrialDynamics
from orchestrator.analysis.evaluation import TrialResult
from orchestrator.files import write_json
from orchestrator.names import GREEDY
from orchestrator.store.trial import Coverage, Trial

RECORD: Final = ".dynamics.json"


class DynamicsRecord:
    """The dynamics of the trials of a run directory, and what they were made of."""

    def __init__(self, out: Path) -> None:
        """Read the record of a directory; one that is missing or cannot be read stands for no dynamics."""
        self._file = out / RECORD
        self._known = _read(self._file)
        self._changed = False

    def find(self, trial: str, content: str) -> TrialDynamics | None:
        """Return the dynamics of a trial where they were made of that content."""
        known = self._known.get(trial, {})
        if known.get("content") != content:
            return None
        rows = [DynamicsRow(**row) for row in known["rows"]]
        return TrialDynamics(trial, rows, Interval(*known["dispersion"]), width=known["width"])

    def note(self, made: TrialDynamics, content: str) -> None:
        """Remember dynamics that lack nothing."""
        if not made.missing:
            rows = [asdict(row) for row in made.rows]
            kept = {"content": content, "rows": rows, "dispersion": list(made.dispersion), "width": made.width}
            self._known[made.trial] = kept
            self._changed = True

    def save(self) -> None:
        """Write the record if it has changed.

        Raises:
            OSError: If it cannot be written.
        """
        if self._changed:
            write_json(self._file, self._known)


def evaluate_dynamics(
    results: Sequence[TrialResult],
    task: Task,
    head: HeadSource,
    coverage: Mapping[str, Coverage] | None = None,
    record: DynamicsRecord | None = None,
) -> list[TrialDynamics]:
    """Compute the dynamics of all sampled trials among results, measured from greedy decoding.

    Args:
        results: What the trials came to.
        task: The questions that were asked.
        head: Where the output head is, for thoughts that have not been decoded yet.
        coverage: What the store holds, by the name of the trial, where that is known.
        record: What has been computed before. It is not saved here.
    """
    greedy = next((result.trial for result in results if result.trial.name == GREEDY), None)
    made = []
    for result in results:
        if result.trial.name == GREEDY:
            continue
        samples = result.summary["samples"]
        content = "" if record is None else _content(result.trial, greedy, task.problems, samples)
        one = None if record is None else record.find(result.trial.name, content)
        if one is None:
            one = dynamics_of(result.trial, greedy, task.problems, samples, head, coverage)
            if record is not None:
                record.note(one, content)
        made.append(one)
    return made


def _content(trial: Trial, greedy: Trial | None, problems: Sequence[Problem], samples: int) -> str:
    """Return a hash of all that the dynamics of a trial are made of."""
    folders = [*trial.folders, *(() if greedy is None else greedy.folders[:1])]
    return _digest(
        _code(),
        *(f"{one.name} {one.sampler} {one.cut_answers}" for one in (trial, greedy) if one is not None),
        str(min(samples, MOST_SAMPLES)),
        *(problem.question_id for problem in problems),
        *(f"{folder.place} {json.dumps(folder.content, sort_keys=True)} {folder.stamps()}" for folder in folders),
    )


@cache
def _code() -> str:
    """Return a hash of the source that computes dynamics."""
    modules = [intervals, cut_answers, dynamics]
    files = [Path(str(module.__file__)) for module in modules]
    files += sorted(file for folder in latent_core.dynamics.__path__ for file in Path(folder).glob("*.py"))
    return _digest(*(file.read_text(encoding="utf-8") for file in files))


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: one for name, one in content.items() if isinstance(one, dict)} if isinstance(content, dict) else {}
