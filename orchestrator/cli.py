"""The command line: reads arguments, calls what does the work, turns wrong input into one line and exit code 2."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import latent_core
from latent_core.errors import UserError, WorkFailed
from orchestrator.commands.convert import convert_command
from orchestrator.console import make_console, say
from orchestrator.interrupts import exit_code, interruptible

if TYPE_CHECKING:
    from orchestrator.config.run import RunConfig

_USER_ERROR = 2
_FAILED = 1
_DEFAULT_OUT = Path("runs")
_GOES_ON = "; what has been sampled is in the store, and the same command goes on from there"
_Function = TypeVar("_Function", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


class _Commands(click.Group):
    """Commands in the order in which one needs them, rather than in that of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them with whole sentences, which click would cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, str(one.help).splitlines()[0]) for name, one in self.commands.items()])

    def invoke(self, ctx: click.Context) -> None:
        """Run a command; what its user has done wrong, or has interrupted, is one line and an exit code."""

        def interrupted() -> str:
            return f"interrupted{_AFTER_INTERRUPT.get(ctx.invoked_subcommand or '', '')}"

        try:
            with interruptible(interrupted):
                super().invoke(ctx)
        except UserError as error:
            say(make_console(), f"latentswarm: {error}", style="red")
            ctx.exit(_USER_ERROR)
        except WorkFailed as error:
            say(make_console(), f"latentswarm: {error}", style="red")
            ctx.exit(_FAILED)
        except KeyboardInterrupt as interrupt:
            if str(interrupt):
                # Not a signal but another process that has taken over, and says so.
                say(make_console(), f"latentswarm: {interrupt}", style="red")
                ctx.exit(_FAILED)
            say(make_console(), f"latentswarm: {interrupted()}")
            ctx.exit(exit_code(interrupt))


_AFTER_INTERRUPT = {
    "run": _GOES_ON,
    "sweep": _GOES_ON,
    "annotate": "; what has been labelled is in the store, and the same command goes on",
    "train-rm": "; the same command goes on from the last checkpoint",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 failed, 2 wrong input, 130 or 143 interrupted."""
    try:
        code = latentswarm.main(arguments, prog_name="latentswarm", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return int(code or 0)


def _examples(*lines: str) -> str:
    # Click would fill the lines as a paragraph without the mark in front.
    return "\b\nExamples:\n" + "\n".join(f"  latentswarm {line}" for line in lines)


def _takes_config(function: _Function) -> _Function:
    """Let a command take a configuration, overrides, and a directory for the results."""
    out = f"Directory for the results (default: {_DEFAULT_OUT}/NAME of the config)."
    function = click.option("--out", type=_PATH, metavar="DIRECTORY", help=out)(function)
    function = click.argument("overrides", metavar="[key=value]...", nargs=-1)(function)
    return click.argument("config", metavar="CONFIG")(function)


_dry_run = click.option("--dry-run", is_flag=True, help="Check everything and print the plan; start nothing.")
_resume = click.option("--resume", type=_PATH, metavar="RUN_DIR", help="Like --out, if it holds this very experiment.")


@click.group(cls=_Commands, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(latent_core.__version__, prog_name="latentswarm")
def latentswarm() -> None:
    """Parallel test-time scaling of latent reasoning models on Ray."""


# Each command imports what it needs when it is called: `--help` and wrong arguments then answer at once. What a wrong
# configuration does not need comes after it.


@latentswarm.command(
    epilog=_examples(
        "run tune_configs/word_problems.yaml --dry-run",
        "run tune_configs/word_problems.yaml sampler.sigma=0.4 --out runs/mine seed=3",
    )
)
@_takes_config
@_dry_run
@_resume
def run(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool, resume: Path | None) -> None:
    """Sample one sampler setting and report accuracy at every budget."""
    from orchestrator.config.loading import load_config
    from orchestrator.config.run import RunConfig

    settings = load_config(RunConfig, config, overrides)
    out = _out_of_experiment(config, settings, out, resume)

    from orchestrator.commands.run import plan_run, sample_one_by_one
    from orchestrator.experiment.dry_run import show_dry_run
    from orchestrator.experiment.execution import carry_out
    from orchestrator.experiment.run_directory import check_kind

    check_kind(out, "run")
    experiment = plan_run(out.name, settings, out)
    if dry_run:
        show_dry_run(experiment, make_console())
    else:
        carry_out(experiment, sample_one_by_one, make_console())


@latentswarm.command(
    epilog=_examples(
        "sweep tune_configs/demo.yaml --out runs/demo",
        "sweep tune_configs/demo.yaml --dry-run task.limit=5 'budgets=[1, 8]'",
    )
)
@_takes_config
@_dry_run
@_resume
def sweep(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool, resume: Path | None) -> None:
    """Run every setting of the config's search space with Ray Tune."""
    from orchestrator.config.loading import load_config
    from orchestrator.config.run import RunConfig

    settings = load_config(RunConfig, config, overrides)
    out = _out_of_experiment(config, settings, out, resume)

    from orchestrator.commands.sweep import plan_sweep, sample_with_tune
    from orchestrator.commands.sweep_group import divide, run_sweep_group
    from orchestrator.experiment.dry_run import show_dry_run
    from orchestrator.experiment.execution import carry_out
    from orchestrator.experiment.run_directory import check_kind

    sweeps = divide(settings)
    if sweeps[0].name:
        run_sweep_group(settings, sweeps, out, dry_run=dry_run, console=make_console())
        return
    check_kind(out, "sweep")
    experiment = plan_sweep(out.name, settings, out)
    if dry_run:
        show_dry_run(experiment, make_console())
    else:
        carry_out(experiment, sample_with_tune, make_console())


@latentswarm.command(
    epilog=_examples(
        "annotate tune_configs/annotate_tiny.yaml --dry-run",
        "annotate tune_configs/annotate_tiny.yaml --out runs/labels",
    )
)
@_takes_config
@_dry_run
def annotate(config: str, overrides: tuple[str, ...], out: Path | None, dry_run: bool) -> None:
    """Label latent steps by stochastic rollouts, for train-rm."""
    from orchestrator.commands.annotate import annotate_from_config

    annotate_from_config(config, overrides, out or _default_out(config), dry_run, make_console())


@latentswarm.command(
    epilog=_examples(
        "train-rm tune_configs/train_rm_tiny.yaml data=runs/labels",
        "train-rm tune_configs/train_rm_tiny.yaml --out runs/rm data=runs/labels training.seed=1",
    )
)
@_takes_config
def train_rm(config: str, overrides: tuple[str, ...], out: Path | None) -> None:
    """Train a LatentRM on the labels that annotate has written."""
    from orchestrator.commands.train_rm import train_reward_model

    train_reward_model(config, overrides, out or _default_out(config), make_console())


@latentswarm.command(
    epilog=_examples(
        "train-reasoner tune_configs/train_tiny.yaml", "train-reasoner tune_configs/train_tiny.yaml seed=1 --out tiny"
    )
)
@_takes_config
def train_reasoner(config: str, overrides: tuple[str, ...], out: Path | None) -> None:
    """Train a small latent reasoner from a recipe."""
    from orchestrator.commands.train_reasoner import train_from_recipe

    train_from_recipe(config, overrides, out or _default_out(config), make_console())


@latentswarm.command(epilog=_examples("status runs/demo", "status runs/demo --json"))
@click.argument("directory", metavar="RUN_DIR", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, for programs.")
def status(directory: Path, as_json: bool) -> None:
    """Say how far a run or a sweep is; starts nothing. RUN_DIR is what --out named, runs/NAME by default."""
    from rich.console import Console

    from orchestrator.commands.status import run_status
    from orchestrator.commands.status_of_work import work_status
    from orchestrator.commands.status_text import print_status, status_json
    from orchestrator.experiment.run_directory import group_directories

    work = work_status(directory)
    if work is not None:
        output = Console()
        for line in [work.to_json()] if as_json else work.lines():
            say(output, line)
        return
    found = [run_status(one) for one in group_directories(directory)]
    if as_json:
        texts = [status_json(one) for one in found]
        sys.stdout.write((texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]") + "\n")
    else:
        for one in found:
            print_status(one, Console())


@latentswarm.command(epilog=_examples("report runs/demo", "report runs/a runs/b --out runs/compared"))
@click.argument("directories", metavar="RUN_DIR...", type=_PATH, nargs=-1, required=True)
@click.option(
    "--out", type=_PATH, help=f"Directory for a comparison (default: {_DEFAULT_OUT / 'report'}).", metavar="DIRECTORY"
)
def report(directories: tuple[Path, ...], out: Path | None) -> None:
    """Draw the tables and pictures of runs anew, and compare several runs, finished or not."""
    from orchestrator.commands.report import report_runs

    report_runs(directories, out, _DEFAULT_OUT / "report", make_console())


@latentswarm.command(
    epilog=_examples(
        "inspect bundled:coconut-paths", "inspect bundled:coconut-paths --question 'ann has 3 pens ?' --steps 4"
    )
)
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--question", metavar="TEXT", help="Load the weights and show the greedy trajectory.")
@click.option("--steps", type=int, metavar="N", help="Latent steps, or the most of them (default: its own).")
@click.option(
    "--dtype", type=click.Choice(("float32", "bfloat16", "float16")), default="float32", help="Of the weights."
)
def inspect(checkpoint: str, question: str | None, steps: int | None, dtype: str) -> None:
    """Say what a checkpoint is, and what it thinks about a question.

    CHECKPOINT is a directory, a hub id, or bundled:NAME.
    """
    from orchestrator.commands.inspect_checkpoint import inspect_checkpoint

    inspect_checkpoint(checkpoint, question, steps, dtype)


latentswarm.add_command(convert_command)


def _default_out(config: str) -> Path:
    return _DEFAULT_OUT / Path(config).stem


def _out_of_experiment(config: str, settings: "RunConfig", out: Path | None, resume: Path | None) -> Path:
    """Return the run directory of a run or a sweep."""
    from orchestrator.experiment.fingerprint import check_resume

    if resume is None:
        return out or _default_out(config)
    if out is not None:
        raise UserError("--resume and --out: give one of them; --resume names the run directory too")
    check_resume(resume, settings)
    return resume


if __name__ == "__main__":
    sys.exit(main())
