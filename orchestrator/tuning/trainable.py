"""Trainable of a Tune trial, a process of its own, which starts the faster the less is imported: no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from ray.actor import ActorHandle

from orchestrator.analysis.beams import evaluate_search
from orchestrator.analysis.evaluation import points_so_far
from orchestrator.config.objective import Objective
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.store.trial import Trial


def run_trial(
    config: Mapping[str, Any],
    *,
    store: str,
    sampling: Sampling,
    board: ActorHandle[Any],
    objectives: Sequence[Objective],
    report_early: bool,
) -> None:
    """Sample one trial and report its accuracies at n = 1, 2, 4, ... as Tune results.

    Args:
        config: What the searcher has chosen: `trial` names the trial, `planned` is the trial and its searches.
        store: Where the store is.
        sampling: The shared pipeline.
        board: Where progress goes.
        objectives: What trials are compared by.
        report_early: Whether to sample budget by budget and report after each, so that a scheduler can stop the
            trial. Otherwise everything is sampled at once, which reads each prompt fewer times, and the reports
            follow; they are then estimated from all samples.
    """
    trial = Trial.from_plain(config["planned"], store)
    waves = trial.budgets if report_early else trial.budgets[-1:]
    reported = 0
    for samples in waves:
        sampling.run(trial, samples, board)
        points = points_so_far(trial, sampling.problems, samples)
        last = samples == waves[-1]
        if last:
            # Before the last report: a scheduler ends a trial that has reported its largest budget.
            for search in trial.searches:
                sampling.run(search, search.samples, board)
                found = evaluate_search(search, sampling.problems, trial.vote_calibration)
                points += found.points(trial.name) if found else []
        for n in [n for n in trial.budgets if reported < n <= samples]:
            # The last report says what the trial has come to, with its searches, whatever their budgets are.
            upto = None if last and n == samples else n
            values = {one.key: one.value(points, upto) for one in objectives}
            curves = {point.aggregation: point.value for point in points if point.n == n}
            live = {**curves, **{f"objective.{key}": value for key, value in values.items()}}
            # Flat names are what schedulers and searchers compare; the mapping is what the tracker logs.
            tune.report({"n": n, "live": live, **values})
        reported = samples
