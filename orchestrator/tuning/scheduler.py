"""ASHA scheduler, early stopping of trials: asynchronous successive halving (Li et al. 2018, arXiv 1810.05934)."""

from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from orchestrator.config.run import SweepConfig

History = Callable[[str], Iterable[tuple[int, float]]]
"""From the name of a setting to what its trial has reported before: samples per question, and the objective."""


def make_scheduler(config: SweepConfig, most: int, history: History) -> TrialScheduler:
    """Return the configured scheduler.

    Args:
        config: The sweep.
        most: Largest budget of all trials.
        history: What trials of an earlier command have reported.
    """
    if config.scheduler == "none":
        return FIFOScheduler()
    [objective] = config.objectives
    return ResumedASHA(
        history,
        time_attr="n",
        metric=objective.key,
        mode=objective.mode,
        grace_period=config.grace_samples,
        max_t=most,
        reduction_factor=config.reduction_factor,
        brackets=config.brackets,
    )


class ResumedASHA(ASHAScheduler):
    """ASHA that knows what trials have reported before it was made.

    Tune does not save its schedulers: one that went on with empty rungs would let the next trials pass unmeasured.
    """

    def __init__(self, history: History, **settings: Any) -> None:
        """Make a scheduler; `settings` are those of ASHA."""
        super().__init__(**settings)
        self._history = history

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Put a trial into a bracket, and its earlier reports into the bracket's rungs."""
        super().on_trial_add(tune_controller, trial)
        bracket, sign = self._trial_info[trial.trial_id], self._metric_op
        assert sign is not None  # set together with the metric
        for n, value in self._history(trial.config["setting"]):
            bracket.on_result(trial, n, sign * value)
