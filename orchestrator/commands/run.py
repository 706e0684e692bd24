"""`latentswarm run`: one trial."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.options import (
    directory_of_experiment,
    dry_run_option,
    examples,
    most_used,
    resume_option,
    retry_failed_option,
    takes_config,
)
from orchestrator.console import make_console

if TYPE_CHECKING:
    from orchestrator.experiment.execution import ExperimentRun
    from orchestrator.store.trial import Trial


@click.command(
    "run",
    epilog=most_used("run")
    + examples(
        "run tune_configs/word_problems.yaml --dry-run",
        "run tune_configs/word_problems.yaml sampler.sigma=0.4 --out runs/mine seed=3",
    ),
)
@takes_config
@dry_run_option
@resume_option
@retry_failed_option
def command(
    config: str,
    overrides: tuple[str, ...],
    out: Path | None,
    dry_run: bool,
    resume: Path | None,
    retry_failed: bool,
) -> None:
    """Sample one sampler setting and report accuracy at every budget."""
    from orchestrator.config.loading import load_config
    from orchestrator.config.run import RunConfig

    settings = load_config(RunConfig, config, overrides)
    out = directory_of_experiment(config, settings, out, resume)

    from orchestrator.experiment.command_plans import plan_run
    from orchestrator.experiment.run_directory import check_kind
    from orchestrator.pipeline.forked_workers import forked_workers

    check_kind(out, "run")
    gpus = settings.actor.gpus + settings.scorer.actor.gpus
    with forked_workers(settings.cluster, gpus=gpus, wanted=not dry_run) as imported:
        experiment = replace(plan_run(out.name, settings, out, imported), retry_failed=retry_failed)
        if dry_run:
            from orchestrator.experiment.dry_run import show_dry_run

            show_dry_run(experiment, make_console())
        else:
            from orchestrator.experiment.execution import carry_out

            carry_out(experiment, sample_one_by_one, make_console())


def sample_one_by_one(run: "ExperimentRun", trials: Sequence["Trial"]) -> None:
    """Sample the trials one after the other in this process."""
    for trial in trials:
        run.sample(trial)
