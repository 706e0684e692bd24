"""`latentswarm train-reasoner`: make a latent reasoner from a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from latent_core.errors import UserError
from orchestrator.commands.options import default_out, dry_run_option, examples, most_used, takes_config
from orchestrator.console import make_console, say
from orchestrator.files import write_json

if TYPE_CHECKING:
    from latent_core.training.settings import ReasonerTrainingSettings


@click.command(
    "train-reasoner",
    epilog=most_used("train-reasoner")
    + examples(
        "train-reasoner tune_configs/train_tiny.yaml --dry-run",
        "train-reasoner tune_configs/train_gsm8k.yaml base=smollm2 data.path=gsm8k_train.jsonl --out runs/gsm8k",
    ),
)
@takes_config
@dry_run_option
def command(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool) -> None:
    """Train a small latent reasoner from a recipe, from nothing or from a language model."""
    from latent_core.training.settings import ReasonerTrainingSettings
    from orchestrator.config.loading import load_config
    from orchestrator.experiment.run_directory import TRAINING_FILE, check_kind

    out = out or default_out(config)
    check_kind(out, "train-reasoner")
    settings = load_config(ReasonerTrainingSettings, config, overrides)
    if dry_run:
        for line in _plan(settings, out):
            say(make_console(), line)
        return
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
    write_json(out / TRAINING_FILE, metrics)
    say(Console(), f"checkpoint {out}: greedy accuracy {metrics['greedy_accuracy']:.1%} on validation problems")


def _plan(settings: "ReasonerTrainingSettings", out: Path) -> list[str]:
    """Return what a dry run prints."""
    from orchestrator.experiment.run_directory import TRAINING_FILE

    problems = f"of {settings.batch_size} problems"
    stages = [
        f"stage       {stage.name}: {stage.thoughts} thoughts, {stage.updates:,} updates {problems}"
        for stage in settings.stages
    ]
    return [
        f"family      {settings.family}, {settings.latent_steps} latent steps, seed {settings.seed}",
        *_start(settings),
        *stages,
        f"threads     {settings.threads}",
        f"results     {out}" + ("  (the checkpoint there is replaced)" if (out / TRAINING_FILE).is_file() else ""),
    ]


def _start(settings: "ReasonerTrainingSettings") -> list[str]:
    """Return what training starts from, which is looked at without loading any weights."""
    if settings.base is None or settings.data is None:
        shape = settings.architecture
        return [f"model       {shape.layers} layers, width {shape.width}, {settings.weights_dtype}"]
    from latent_core.training.from_base import check_start

    model, problems = check_start(settings)
    return [
        f"model       {settings.base} ({model}), feedback {settings.feedback}, {settings.weights_dtype}",
        f"problems    {settings.data.path}: {problems:,} with calculations, {settings.data.variants} variants at most",
        f"device      {settings.device}, products in {settings.precision}",
    ]
