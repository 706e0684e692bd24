"""The command line: finds the command; wrong input becomes one line and exit code 2, an interruption 130 or 143."""

import atexit
import errno
import gc
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import click

import latent_core
from latent_core.errors import UserError, WorkFailed
from orchestrator.console import lasting_output, make_console, say
from orchestrator.pipeline.interrupts import exit_code, interruptible

_USER_ERROR = 2
_FAILED = 1
_OBJECTS_PER_COLLECTION = 50_000
"""A command imports some hundred thousand objects that stay: to look through them for garbage after every 700 new ones,
as Python does by itself, is a fifth of the time of a command that computes nothing."""
_UNREAD = 128 + signal.SIGPIPE
_OF_PLACES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
)
"""What is wrong with a place and not with the program: full, of a size that is not allowed, or not to be written."""
_COMMANDS = {
    "init": ("init", "Write a configuration that comes with latentswarm; without NAME, list them."),
    "config": (
        "config",
        "Say what can be set: every key, or KEY and what is below it, with type, default and meaning.",
    ),
    "run": ("run", "Sample one sampler setting and report accuracy at every budget."),
    "sweep": ("sweep", "Run every setting of the config's search space with Ray Tune."),
    "annotate": ("annotate", "Label latent steps by stochastic rollouts, for train-rm."),
    "train-rm": ("train_rm", "Train a LatentRM on the labels that annotate has written."),
    "train-policy": ("train_policy", "Train a reasoner by reinforcement learning on its sampler's own rollouts."),
    "train-reasoner": (
        "train_reasoner",
        "Train a small latent reasoner from a recipe, from nothing or from a language model.",
    ),
    "status": (
        "status",
        "Say how far a run or a sweep is; starts nothing. RUN_DIR is what --out named, runs/NAME by default.",
    ),
    "report": ("report", "Draw the tables and pictures of runs anew, and compare several runs, finished or not."),
    "samples": ("samples", "Show what every sample of a question wrote, right or wrong, with its scores."),
    "inspect": ("inspect_checkpoint", "Say what a checkpoint is, and what it thinks about a question."),
    "convert": ("convert", "Make a checkpoint of another layout one that runs."),
}
"""Modules of the commands, and the first lines of their help, in the order in which one needs them."""
_GOES_ON = "; what has been sampled is in the store, and the same command goes on from there"
_AFTER_INTERRUPT = {
    "run": _GOES_ON,
    "sweep": _GOES_ON,
    "annotate": "; what has been labelled is in the store, and the same command goes on",
    "train-rm": "; the same command goes on from the last checkpoint",
    "train-policy": "; the same command goes on from the last checkpoint",
}


class _LazyCommands(Mapping[str, click.Command]):
    """Commands whose modules are imported when they are looked up: `--help` and wrong names then answer at once."""

    def __getitem__(self, name: str) -> click.Command:
        module, _ = _COMMANDS[name]
        command: click.Command = import_module(f"orchestrator.commands.{module}").command
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Group(click.Group):
    """Group of all commands, which says in one line what went wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names, not in the order of the alphabet."""
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them with whole sentences, which click would cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

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
        except OSError as error:
            if error.errno not in _OF_PLACES or error.filename is None:
                raise
            after = "the same command goes on once it can be written"
            say(make_console(), f"latentswarm: {error.filename}: {error.strerror}; {after}", style="red")
            ctx.exit(_FAILED)
        except KeyboardInterrupt as interrupt:
            if str(interrupt):
                # Not a signal but another process that has taken over, and says so.
                say(make_console(), f"latentswarm: {interrupt}", style="red")
                ctx.exit(_FAILED)
            say(make_console(), f"latentswarm: {interrupted()}")
            ctx.exit(exit_code(interrupt))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong input, 130 or 143 interrupted, 141 done but for text that nobody read.
    """
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    # Nor need they be looked through once more when the process ends, which takes as long as to import half of them.
    atexit.register(gc.freeze)
    with lasting_output() as errors:
        try:
            code = int(latentswarm.main(arguments, prog_name="latentswarm", standalone_mode=False) or 0)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        if code == 0 and (unread := errors()):
            # As for tools that a closed pipe or a full disk ends, though nothing has ended here.
            code = _UNREAD
            if not isinstance(unread[0], BrokenPipeError):
                code = _FAILED
                say(make_console(), f"latentswarm: the output could not be written: {unread[0].strerror}", style="red")
    return code


@click.group(
    cls=_Group,
    commands=_LazyCommands(),
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(latent_core.__version__, prog_name="latentswarm")
def latentswarm() -> None:
    """Parallel test-time scaling of latent reasoning models on Ray."""


if __name__ == "__main__":
    sys.exit(main())
