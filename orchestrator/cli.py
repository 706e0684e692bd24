"""The command line: reads arguments, calls what does the work, turns wrong input into one line and exit code 2."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from latent_core.errors import UserError
from orchestrator.commands.convert import add_arguments as add_convert_arguments
from orchestrator.console import make_console, say

if TYPE_CHECKING:
    from orchestrator.config.run import RunConfig

_USER_ERROR = 2
_INTERRUPTED = 130
_DEFAULT_OUT = Path("runs")
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_Command: TypeAlias = Callable[[argparse.Namespace], None]
_GOES_ON = "; what has been sampled is in the store, and the same command goes on from there"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 wrong input, 130 interrupted."""
    parser = _parser()
    options, further = parser.parse_known_args(arguments)
    unknown = further
    if "overrides" in options:
        # argparse takes no more overrides once an option has followed them; a user may put them anywhere.
        options.overrides += [text for text in further if not text.startswith("-")]
        unknown = [text for text in further if text.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    console = make_console()
    try:
        options.command(options)
    except UserError as error:
        say(console, f"latentswarm: {error}", style="red")
        return _USER_ERROR
    except KeyboardInterrupt:
        say(console, f"latentswarm: interrupted{options.after_interrupt}")
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="latentswarm", description="Parallel test-time scaling of latent reasoning models on Ray."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("run", _run, "sample one sampler setting and report accuracy at every budget"),
        ("sweep", _sweep, "run every setting of the config's search space with Ray Tune"),
    ):
        one = _add_command(commands, name, command, text)
        one.set_defaults(after_interrupt=_GOES_ON)
        one.add_argument("--dry-run", action="store_true", help="check everything and print the plan; start nothing")
        one.add_argument("--resume", metavar="RUN_DIR", type=Path, help="like --out, if it holds this very experiment")
    annotate = _add_command(commands, "annotate", _annotate, "label latent steps by stochastic rollouts, for train-rm")
    annotate.set_defaults(after_interrupt="; what has been labelled is in the store, and the same command goes on")
    annotate.add_argument("--dry-run", action="store_true", help="check everything and print the plan; start nothing")
    train_rm = _add_command(commands, "train-rm", _train_rm, "train a LatentRM on the labels that annotate has written")
    train_rm.set_defaults(after_interrupt="; the same command goes on from the last checkpoint")
    _add_command(commands, "train-reasoner", _train_reasoner, "train a small latent reasoner from a recipe")
    status = _add_bare(commands, "status", _status, "say how far a run or a sweep is; starts nothing")
    status.add_argument("directory", metavar="RUN_DIR", type=Path, help="what --out named; runs/NAME by default")
    status.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    report = _add_bare(
        commands, "report", _report, "draw the tables and pictures of runs anew, and compare several runs"
    )
    report.add_argument("directories", metavar="RUN_DIR", type=Path, nargs="+", help="finished or not")
    report.add_argument("--out", type=Path, help=f"directory for a comparison (default: {_DEFAULT_OUT / 'report'})")
    inspect = _add_bare(commands, "inspect", _inspect, "say what a checkpoint is, and what it thinks about a question")
    _add_inspect_arguments(inspect)
    convert = _add_bare(commands, "convert", _convert, "make a checkpoint of another layout one that runs")
    add_convert_arguments(convert)
    return parser


def _add_bare(commands: _Commands, name: str, command: _Command, text: str) -> argparse.ArgumentParser:
    """Add a command without a configuration."""
    one = commands.add_parser(name, help=text, description=text)
    one.set_defaults(command=command, after_interrupt="")
    return one


def _add_inspect_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("checkpoint", metavar="CHECKPOINT", help="directory, hub id, or bundled:NAME")
    one.add_argument("--question", metavar="TEXT", help="load the weights and show the greedy trajectory")
    one.add_argument("--steps", type=int, metavar="N", help="latent steps, or the most of them (default: its own)")
    one.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the weights")


def _add_command(commands: _Commands, name: str, command: _Command, text: str) -> argparse.ArgumentParser:
    """Add a command that takes a configuration and overrides."""
    one = _add_bare(commands, name, command, text)
    one.add_argument("config", metavar="CONFIG", help="YAML file")
    one.add_argument("overrides", metavar="key=value", nargs="*", help="settings that replace those of the file")
    one.add_argument("--out", type=Path, help=f"directory for the results (default: {_DEFAULT_OUT}/NAME of the config)")
    return one


def _out(options: argparse.Namespace) -> Path:
    out: Path = options.out or _DEFAULT_OUT / Path(options.config).stem
    return out


def _out_of_experiment(options: argparse.Namespace, config: "RunConfig") -> Path:
    """Return the run directory of a run or a sweep."""
    from orchestrator.experiment.fingerprint import check_resume

    if options.resume is None:
        return _out(options)
    if options.out is not None:
        raise UserError("--resume and --out: give one of them; --resume names the run directory too")
    resumed: Path = options.resume
    check_resume(resumed, config)
    return resumed


# Each command imports what it needs when it is called: `--help` and wrong arguments then answer at once. What a wrong
# configuration does not need comes after it.


def _run(options: argparse.Namespace) -> None:
    from orchestrator.config.run import load_config

    config = load_config(options.config, options.overrides)
    out = _out_of_experiment(options, config)

    from orchestrator.commands.run import plan_run, sample_one_by_one
    from orchestrator.experiment.dry_run import show_plan
    from orchestrator.experiment.execution import carry_out

    experiment = plan_run(out.name, config, out)
    if options.dry_run:
        show_plan(experiment, experiment.coverage(), make_console())
    else:
        carry_out(experiment, sample_one_by_one, make_console())


def _sweep(options: argparse.Namespace) -> None:
    from orchestrator.config.run import load_config

    config = load_config(options.config, options.overrides)
    out = _out_of_experiment(options, config)

    from orchestrator.commands.sweep import plan_sweep, sample_with_tune
    from orchestrator.commands.sweep_group import divide, run_sweep_group
    from orchestrator.experiment.dry_run import show_plan
    from orchestrator.experiment.execution import carry_out

    sweeps = divide(config)
    if sweeps[0].name:
        run_sweep_group(config, sweeps, out, dry_run=options.dry_run, console=make_console())
        return
    experiment = plan_sweep(out.name, config, out)
    if options.dry_run:
        show_plan(experiment, experiment.coverage(), make_console())
    else:
        carry_out(experiment, sample_with_tune, make_console())


def _annotate(options: argparse.Namespace) -> None:
    from orchestrator.commands.annotate import annotate_from_config

    annotate_from_config(options.config, options.overrides, _out(options), options.dry_run, make_console())


def _train_rm(options: argparse.Namespace) -> None:
    from orchestrator.commands.train_rm import train_reward_model

    train_reward_model(options.config, options.overrides, _out(options), make_console())


def _train_reasoner(options: argparse.Namespace) -> None:
    from orchestrator.commands.train_reasoner import train_from_recipe

    train_from_recipe(options.config, options.overrides, _out(options), make_console())


def _status(options: argparse.Namespace) -> None:
    from rich.console import Console

    from orchestrator.commands.status import run_status
    from orchestrator.commands.status_text import print_status, status_json
    from orchestrator.experiment.run_directory import group_directories

    found = [run_status(directory) for directory in group_directories(options.directory)]
    if options.json:
        texts = [status_json(status) for status in found]
        sys.stdout.write((texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]") + "\n")
    else:
        for status in found:
            print_status(status, Console())


def _report(options: argparse.Namespace) -> None:
    from orchestrator.commands.report import report_runs

    report_runs(options.directories, options.out, _DEFAULT_OUT / "report", make_console())


def _inspect(options: argparse.Namespace) -> None:
    from orchestrator.commands.inspect_checkpoint import inspect_from_arguments

    inspect_from_arguments(options)


def _convert(options: argparse.Namespace) -> None:
    from orchestrator.commands.convert import convert_from_arguments

    convert_from_arguments(options, make_console())


if __name__ == "__main__":
    sys.exit(main())
