"""Kept dynamics: reading all latents takes most of the time of a report that has nothing to draw.

Dynamics that lack something are not kept, for it may be there the next time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import latent_core.dynamics
from latent_core.dynamics.dynamics import MOST_SAMPLES
from latent_core.selection import intervals
from latent_core.selection.intervals import Interval
from latent_core.tasks.base import Task
from orchestrator.analysis import cut_answers, dynamics
from orchestrator.analysis.dynamics import HeadSource, dynamics_of
from orchestrator.analysis.dynamics_rows import DynamicsRow, TrialDynamics
from orchestrator.analysis.evaluation import TrialResult
from orchestrator.analysis.kept.results import KeptResults, content_of, source_of
from orchestrator.names import GREEDY
from orchestrator.store.trial import Coverage

_KIND: Final = "dynamics"


def evaluate_dynamics(
    results: Sequence[TrialResult],
    task: Task,
    head: HeadSource,
    coverage: Mapping[str, Coverage] | None = None,
    kept: KeptResults | None = None,
) -> list[TrialDynamics]:
    """Compute the dynamics of all sampled trials among results, measured from greedy decoding.

    Args:
        results: What the trials came to.
        task: The questions that were asked.
        head: Where the output head is, for thoughts that have not been decoded yet.
        coverage: What the store holds, by the name of the trial, where that is known.
        kept: What has been computed before. It is not saved here.
    """
    greedy = next((result.trial for result in results if result.trial.name == GREEDY), None)
    made = []
    for result in results:
        trial, samples = result.trial, result.summary["samples"]
        if trial.name == GREEDY:
            continue
        if kept is None:
            made.append(dynamics_of(trial, greedy, task.problems, samples, head, coverage))
            continue
        content = content_of(
            [trial, *([greedy] if greedy else [])],
            [*trial.folders, *(greedy.folders[:1] if greedy else ())],
            task.problems,
            source_of(latent_core.dynamics, intervals, cut_answers, dynamics),
            str(min(samples, MOST_SAMPLES)),
        )
        found = kept.find(_KIND, trial.name, content)
        if found is None:
            one = dynamics_of(trial, greedy, task.problems, samples, head, coverage)
            if one.missing:
                made.append(one)
                continue
            rows_of_json = [asdict(row) for row in one.rows]
            plain = {"rows": rows_of_json, "dispersion": list(one.dispersion), "width": one.width}
            found = kept.note(_KIND, trial.name, content, plain)
        rows = [DynamicsRow(**row) for row in found["rows"]]
        made.append(TrialDynamics(trial.name, rows, Interval(*found["dispersion"]), width=found["width"]))
    return made
