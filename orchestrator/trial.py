"""What one Tune trial does. It runs in a process of its own, which starts the faster the less is imported: no torch."""

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.actor import ActorHandle

from orchestrator.pipeline import Sampling
from orchestrator.results import curves_so_far
from orchestrator.setting import Setting


def run_trial(
    config: Mapping[str, Any],
    *,
    settings: Mapping[str, Setting],
    searches: Mapping[str, tuple[Setting, ...]],
    sampling: Sampling,
    board: ActorHandle[Any],
    report_early: bool,
) -> None:
    """Sample one setting and report its accuracies at n = 1, 2, 4, ... as Tune results.

    Args:
        config: Tune's choice: `setting` names the setting.
        settings: All settings of the sweep.
        searches: The beam searches that go with a setting, by its name; they are carried out before the last report.
        sampling: The shared pipeline.
        board: Where progress goes.
        report_early: Whether to sample budget by budget and report after each, so that a scheduler can stop the
            trial. Otherwise everything is sampled at once, which reads each prompt fewer times, and the reports
            follow; they are then estimated from all samples.
    """
    setting = settings[config["setting"]]
    waves = setting.budgets if report_early else setting.budgets[-1:]
    reported = 0
    for samples in waves:
        sampling.run(setting, samples, board)
        if samples == waves[-1]:
            # Before the last report: a scheduler ends a trial that has reported its largest budget.
            for search in searches.get(setting.name, ()):
                sampling.run(search, search.samples, board)
        due = [n for n in setting.budgets if reported < n <= samples]
        rows = curves_so_far(setting, sampling.problems, samples, due)
        for n in due:
            curves = {row.aggregation: row.value for row in rows if row.n == n}
            # Flat names are what schedulers compare; the mapping is what the tracker logs.
            tune.report({"n": n, "curves": curves, **curves})
        reported = samples
