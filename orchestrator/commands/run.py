"""`latentswarm run`: one trial."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.run import RunConfig
from orchestrator.experiment.experiment import Experiment, Session
from orchestrator.experiment.plan import make_plan
from orchestrator.store.trial import Trial


def plan_run(name: str, config: RunConfig, out: Path) -> Experiment:
    """Check a configuration; starts nothing.

    Raises:
        UserError: If it cannot be run.
    """
    plan = make_plan(config)
    trial = plan.trial(config.sampler.describe(), config.sampler)
    return Experiment(name, plan, (trial,), out, {trial.name: plan.searches(trial, config.sampler)})


def sample_one_by_one(session: Session, trials: Sequence[Trial]) -> None:
    """Sample the trials one after the other in this process."""
    for trial in trials:
        session.sample(trial)
