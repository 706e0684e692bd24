"""`latentswarm annotate`: label latent steps by stochastic rollouts."""

from pathlib import Path

import click

from orchestrator.commands.options import (
    default_out,
    dry_run_option,
    examples,
    most_used,
    retry_failed_option,
    takes_config,
)
from orchestrator.console import make_console


@click.command(
    "annotate",
    epilog=most_used("annotate")
    + examples(
        "annotate tune_configs/annotate_tiny.yaml --dry-run",
        "annotate tune_configs/annotate_tiny.yaml --out runs/labels",
    ),
)
@takes_config
@dry_run_option
@retry_failed_option
def command(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool, retry_failed: bool) -> None:
    """Label latent steps by stochastic rollouts, for train-rm."""
    from orchestrator.jobs.annotation import annotate_from_config

    target = out or default_out(config)
    annotate_from_config(config, overrides, target, dry_run, make_console(), retry_failed=retry_failed)
