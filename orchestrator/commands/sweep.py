"""`latentswarm sweep`: many trials that share the same actors, carried out by Ray Tune."""

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
    "sweep",
    epilog=most_used("sweep")
    + examples(
        "sweep tune_configs/demo.yaml --out runs/demo",
        "sweep tune_configs/demo.yaml --dry-run task.limit=5 'budgets=[1, 8]'",
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
    """Run every setting of the config's search space with Ray Tune."""
    from orchestrator.config.loading import load_config
    from orchestrator.config.run import RunConfig

    settings = load_config(RunConfig, config, overrides)
    out = directory_of_experiment(config, settings, out, resume)

    from orchestrator.experiment.command_plans import plan_sweep
    from orchestrator.experiment.run_directory import check_kind
    from orchestrator.jobs.sweep_group import divide, run_sweep_group
    from orchestrator.pipeline.forked_workers import forked_workers

    sweeps = divide(settings)
    gpus = settings.actor.gpus + settings.scorer.actor.gpus
    with forked_workers(settings.cluster, gpus=gpus, wanted=not dry_run) as imported:
        if sweeps[0].name:
            run_sweep_group(
                settings,
                sweeps,
                out,
                sample_with_tune,
                dry_run=dry_run,
                console=make_console(),
                retry_failed=retry_failed,
                imported=imported,
            )
            return
        check_kind(out, "sweep")
        experiment = replace(plan_sweep(out.name, settings, out, imported), retry_failed=retry_failed)
        if dry_run:
            from orchestrator.experiment.dry_run import show_dry_run

            show_dry_run(experiment, make_console())
        else:
            from orchestrator.experiment.execution import carry_out

            carry_out(experiment, sample_with_tune, make_console())


def sample_with_tune(run: "ExperimentRun", trials: Sequence["Trial"]) -> None:
    """Sample trials as Tune trials, and those that a searcher chooses meanwhile.

    Raises:
        RuntimeError: If a trial has failed again and again.
    """
    # A space of nothing but greedy decoding leaves no trial: that one is sampled for every sweep.
    if trials or run.experiment.unplanned:
        # A plan, and a sweep that finds everything in the store, need not wait for Ray Tune to be imported.
        from orchestrator.jobs.sweep_trials import run_trials

        run_trials(run, trials)
