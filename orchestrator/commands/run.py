"""`latentswarm run`: one trial."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.run import RunConfig
from orchestrator.experiment.execution import ExperimentRun
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.plan import make_plan
from orchestrator.store.trial import Trial


def plan_run(name: str, config: RunConfig, out: Path) -> Experiment:
    """Check a configuration; starts nothing.

    Raises:
        UserError: If it cannot be run.
    """
    plan = make_plan(config)
    return Experiment(name, plan, (plan.trial(config.sampler.describe(), config.sampler),), out)


def sample_one_by_one(run: ExperimentRun, trials: Sequence[Trial]) -> None:
    """Sample the trials one after the other in this process."""
    for trial in trials:
        run.sample(trial)
