"""`latentswarm convert`: make a checkpoint that can be run from one of another layout."""

import argparse
import shlex
from pathlib import Path

from rich.console import Console

from orchestrator.console import say

_NONE = "none"
_SETTINGS = (
    "prompt",
    "feedback",
    "start_token",
    "end_token",
    "latent_token",
    "latent_steps",
    "latent_length",
    "extractor",
    "answer_tokens",
)
_TOKENS = ("start_token", "end_token", "latent_token")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes. Values are checked where they are used, against the names that are registered."""
    parser.add_argument("source", metavar="SOURCE", help="directory, hub id, or file of a trainer")
    parser.add_argument("--out", type=Path, required=True, metavar="DIRECTORY", help="new directory for the result")
    parser.add_argument("--base", help="model that the weights were trained from, for configuration and tokenizer")
    parser.add_argument(
        "--family", choices=("coconut", "codi", "colar", "generic"), help="whose conventions to start from"
    )
    parser.add_argument("--prompt", metavar="TEMPLATE", help="prompt template, with {question} in it")
    parser.add_argument("--feedback", metavar="NAME", help="feedback head: identity, projector, latent_head")
    parser.add_argument("--latent-steps", type=int, metavar="N", help="T, the number of latent steps")
    parser.add_argument("--latent-length", metavar="HOW", help="fixed, or adaptive up to --latent-steps")
    for role in ("start", "end", "latent"):
        parser.add_argument(f"--{role}-token", metavar="TOKEN", help=f"{role} token, or '{_NONE}'")
    parser.add_argument("--extractor", metavar="NAME", help="finds the answer in the text, such as last_number")
    parser.add_argument("--answer-tokens", type=int, metavar="N", help="longest answer in tokens")
    parser.add_argument("--lora-alpha", type=float, default=32.0, metavar="A", help="of CODI's training (default: 32)")
    parser.add_argument("--allow-pickle", action="store_true", help="read pickled weights, whose author you trust")


def convert_from_arguments(arguments: argparse.Namespace, console: Console) -> None:
    """Convert, and print where the result is.

    Raises:
        UserError: If the source cannot be converted.
    """
    from latent_core.conversion import Options, convert

    changes = {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}
    changes.update((name, None) for name in _TOKENS if changes.get(name) == _NONE)
    options = Options(
        base=arguments.base,
        family=arguments.family,
        changes=changes,
        lora_alpha=arguments.lora_alpha,
        allow_pickle=arguments.allow_pickle,
    )
    out: Path = arguments.out.expanduser()
    for note in convert(arguments.source, out, options):
        say(console, note)
    output = Console()
    for line in (f"checkpoint {out}: written and checked", f"look at it: latentswarm inspect {shlex.quote(str(out))}"):
        say(output, line)
