"""`latentswarm train-policy`: reinforcement learning on the sampler's own rollouts."""

from pathlib import Path

import click

from orchestrator.commands.options import default_out, dry_run_option, examples, most_used, takes_config
from orchestrator.console import make_console

_LEARNING = ("torch.distributed", "latent_core.policy.learner")


@click.command(
    "train-policy",
    epilog=most_used("train-policy")
    + examples(
        "train-policy tune_configs/train_policy_tiny.yaml --dry-run",
        "train-policy tune_configs/train_policy_tiny.yaml --out runs/control policy.objective=supervised",
    ),
)
@takes_config
@dry_run_option
def command(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool) -> None:
    """Train a reasoner by reinforcement learning on its sampler's own rollouts."""
    from orchestrator.experiment.run_directory import check_kind

    out = out or default_out(config)
    check_kind(out, "train-policy")

    from orchestrator.config.loading import load_config
    from orchestrator.config.policy_training import TrainPolicyConfig
    from orchestrator.pipeline.forked_workers import forked_workers

    settings = load_config(TrainPolicyConfig, config, overrides)
    gpus = settings.actor.gpus + settings.learner.gpus
    with forked_workers(settings.cluster, gpus=gpus, modules=_LEARNING, wanted=not dry_run) as imported:
        imported()
        # It imports Ray, and what has Ray cannot be forked.
        from orchestrator.jobs.train_policy_job import train_policy

        train_policy(settings, out, make_console(), dry_run=dry_run)
