"""`latentswarm train-reasoner`: make a latent reasoner from a recipe."""

from pathlib import Path

import click
from rich.console import Console

from latent_core.errors import UserError
from orchestrator.commands.options import default_out, examples, takes_config
from orchestrator.console import make_console, say
from orchestrator.files import write_json


@click.command(
    "train-reasoner",
    epilog=examples(
        "train-reasoner tune_configs/train_tiny.yaml", "train-reasoner tune_configs/train_tiny.yaml seed=1 --out tiny"
    ),
)
@takes_config
def command(config: str, overrides: tuple[str, ...], out: Path | None) -> None:
    """Train a small latent reasoner from a recipe."""
    from latent_core.training.settings import ReasonerTrainingSettings
    from orchestrator.config.loading import load_config
    from orchestrator.experiment.run_directory import check_kind

    out = out or default_out(config)
    check_kind(out, "train-reasoner")
    settings = load_config(ReasonerTrainingSettings, config, overrides)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error

    from latent_core.training.trainer import train_reasoner

    console = make_console()

    def report(entry: dict[str, float | int | str]) -> None:
        words = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in entry.items())
        say(console, "  ".join(words))

    metrics = train_reasoner(settings, out, report)
    write_json(out / "training.json", metrics)
    say(Console(), f"checkpoint {out}: greedy accuracy {metrics['greedy_accuracy']:.1%} on validation problems")
