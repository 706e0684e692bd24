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
