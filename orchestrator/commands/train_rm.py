"""`latentswarm train-rm`: train a LatentRM on labelled candidates."""

from pathlib import Path

import click

from orchestrator.commands.options import default_out, dry_run_option, examples, most_used, takes_config
from orchestrator.console import make_console

_LEARNING = ("torch.distributed", "latent_core.reward.training.trainer")


@click.command(
    "train-rm",
    epilog=most_used("train-rm")
    + examples(
        "train-rm tune_configs/train_rm_tiny.yaml data=runs/labels --dry-run",
        "train-rm tune_configs/train_rm_tiny.yaml --out runs/rm data=runs/labels training.seed=1",
    ),
)
@takes_config
@dry_run_option
def command(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool) -> None:
    """Train a LatentRM on the labels that annotate has written."""
    from orchestrator.experiment.run_directory import check_kind

    out = out or default_out(config)
    check_kind(out, "train-rm")

    from orchestrator.config.loading import load_config
    from orchestrator.config.reward_training import TrainRewardConfig
    from orchestrator.pipeline.forked_workers import forked_workers

    settings = load_config(TrainRewardConfig, config, overrides)
    with forked_workers(settings.cluster, gpus=settings.gpus, modules=_LEARNING, wanted=not dry_run) as imported:
        imported()
        # It imports Ray, and what has Ray cannot be forked.
        from orchestrator.jobs.train_rm_job import train_reward_model

        train_reward_model(settings, out, make_console(), dry_run=dry_run)
