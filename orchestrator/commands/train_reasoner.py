"""`latentswarm train-reasoner`: make a latent reasoner from a recipe."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from latent_core.errors import UserError
from latent_core.training.settings import ReasonerTrainingSettings
from latent_core.training.trainer import train_reasoner
from orchestrator.config.loading import load_config
from orchestrator.experiment.run_directory import check_kind
from orchestrator.files import write_json


def train_from_recipe(recipe: str, overrides: Sequence[str], out: Path, console: Console) -> None:
    """Train, save the checkpoint into `out`, and print what it measures.

    Raises:
        UserError: If the recipe cannot be read or the directory cannot be written.
    """
    check_kind(out, "train-reasoner")
    settings = load_config(ReasonerTrainingSettings, recipe, overrides)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error}") from error

    def report(entry: dict[str, float | int | str]) -> None:
        words = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in entry.items())
        console.print("  ".join(words), highlight=False)

    metrics = train_reasoner(settings, out, report)
    write_json(out / "training.json", metrics)
    Console().print(f"checkpoint {out}: greedy accuracy {metrics['greedy_accuracy']:.1%} on validation problems")
