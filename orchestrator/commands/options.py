"""Click options that several commands share, and where results go by default."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from latent_core.errors import UserError

if TYPE_CHECKING:
    from orchestrator.config.run import RunConfig

DEFAULT_OUT = Path("runs")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _LocalPath(click.Path):
    """Directory on this machine that an argument or an option names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what would become another place than it looks, in one line."""
        # Help need not wait for what reads configurations.
        from orchestrator.config.paths import check_path

        named = param.opts[-1] if isinstance(param, click.Option) else "RUN_DIR"
        try:
            check_path(str(value))
        except ValueError as error:
            raise UserError(f"{named} {value}: {error}") from None
        if "://" in str(value):
            raise UserError(f"{named} {value}: a directory on this machine is meant; only stores may be elsewhere")
        return super().convert(value, param, ctx)


PATH = _LocalPath(path_type=Path)


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    # Click would fill the lines as a paragraph without the mark in front.
    return "\b\nExamples:\n" + "\n".join(f"  latentswarm {line}" for line in lines)


_MOST_USED = {
    "run": (
        ("checkpoint", "the reasoner: a directory, a hub id, or bundled:NAME"),
        ("task.name", "a registered task; or task.path, task.hub"),
        ("task.limit", "only the first questions"),
        ("sampler.kind", "what makes samples differ, such as gaussian with sampler.sigma"),
        ("budgets", "numbers of samples at which accuracy is reported"),
        ("scorer.checkpoint", "the LatentRM, to choose among samples"),
        ("search.kind", "beam search, with search.beams"),
        ("actors", "how many reasoners at once; actor.gpus for each of them"),
        ("micro_batch", "questions per actor call"),
        ("seed", "other draws"),
    ),
    "sweep": (
        ("sweep.space", "grids of settings; shipped configurations show how"),
        ("sweep.objective", "what makes a trial good, such as best_of_n"),
        ("sweep.search_alg", "grid, or optuna with sweep.trials"),
        ("task.limit", "only the first questions"),
        ("budgets", "numbers of samples at which accuracy is reported"),
        ("scorer.checkpoint", "the LatentRM, to choose among samples"),
        ("actors", "how many reasoners at once; actor.gpus for each of them"),
        ("seed", "other draws"),
    ),
    "annotate": (
        ("checkpoint", "the reasoner"),
        ("task.name", "a registered task; or task.path, task.hub"),
        ("candidates", "trajectories per question"),
        ("rollouts", "completions per trajectory and latent step"),
        ("actors", "how many reasoners at once"),
    ),
    "train-rm": (
        ("data", "run directory of annotate"),
        ("training.objective", "the loss"),
        ("training.epochs", "passes over the questions; or training.updates"),
        ("training.learning_rate", "its peak"),
        ("workers", "data-parallel workers; gpus for each of them"),
    ),
    "train-policy": (
        ("checkpoint", "the reasoner that training begins with"),
        ("task.name", "the training questions, or task.path; validation.task, those that judge"),
        ("sampler.kind", "what makes the trajectories of a question differ"),
        ("policy.objective", "answer, latent_likelihood, both, or the control supervised"),
        ("policy.trajectories", "per question; policy.answers behind each"),
        ("updates", "how many at most; staleness=1 rolls out for the next one meanwhile"),
        ("actors", "processes that roll out; learner.workers learn"),
        ("seed", "of all random draws"),
    ),
    "train-reasoner": (
        ("family", "the problems"),
        ("latent_steps", "how long it thinks"),
        ("batch_size", "problems per update"),
        ("seed", "of weights, problems and noise"),
    ),
}
"""Settings that the help of a command names, in a few words each; `latentswarm config` has them all."""


def most_used(command: str) -> str:
    """Return the settings that most users of a command change, for the end of its help, before the examples."""
    settings = _MOST_USED[command]
    width = max(len(key) for key, _ in settings)
    lines = "\n".join(f"  {key:{width}}  {text}" for key, text in settings)
    return f"\b\nMost used settings (`latentswarm config` has all):\n{lines}\n\n"


def takes_config(function: _Function) -> _Function:
    """Let a command take a configuration, overrides, and a directory for the results."""
    out = f"Directory for the results (default: {DEFAULT_OUT}/NAME of the config)."
    function = click.option("--out", type=PATH, metavar="DIRECTORY", help=out)(function)
    function = click.argument("overrides", metavar="[key=value]...", nargs=-1)(function)
    return click.argument("config", metavar="CONFIG")(function)


dry_run_option = click.option("--dry-run", is_flag=True, help="Check everything and print the plan; start nothing.")
retry_failed_option = click.option(
    "--retry-failed",
    is_flag=True,
    help="Try what has failed for good again; what failed for a passing reason is tried again anyway.",
)
resume_option = click.option(
    "--resume", type=PATH, metavar="RUN_DIR", help="Like --out, if it holds this very experiment."
)


def default_out(config: str) -> Path:
    """Return where the results of a configuration go that names no directory."""
    return DEFAULT_OUT / Path(config).stem


def directory_of_experiment(config: str, settings: "RunConfig", out: Path | None, resume: Path | None) -> Path:
    """Return the run directory of a run or a sweep.

    Raises:
        UserError: If both options are given, or the directory to resume holds another experiment.
    """
    if resume is None:
        return out or default_out(config)
    if out is not None:
        raise UserError("--resume and --out: give one of them; --resume names the run directory too")
    from orchestrator.experiment.fingerprint import check_resume

    check_resume(resume, settings)
    return resume
