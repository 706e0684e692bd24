"""`latentswarm run`: one sampler setting."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.run import RunConfig
from orchestrator.experiment.experiment import Experiment, Session
from orchestrator.experiment.plan import make_plan
from orchestrator.store.trial import Setting


def plan_run(name: str, config: RunConfig, out: Path) -> Experiment:
    """Check a configuration; starts nothing.

    Raises:
        UserError: If it cannot be run.
    """
    plan = make_plan(config)
    setting = plan.setting(config.sampler.describe(), config.sampler)
    return Experiment(name, plan, (setting,), out, {setting.name: plan.searches(setting, config.sampler)})


def sample_one_by_one(session: Session, settings: Sequence[Setting]) -> None:
    """Sample the settings one after the other in this process."""
    for setting in settings:
        session.sample(setting)
