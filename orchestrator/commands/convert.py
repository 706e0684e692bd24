"""`latentswarm convert`: make a checkpoint that can be run from one of another layout."""

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from orchestrator.commands.options import PATH, dry_run_option, examples
from orchestrator.console import make_console, say

_NONE = "none"
_TOKENS = ("start_token", "end_token", "latent_token")


@click.command(
    "convert",
    epilog=examples(
        "convert trained/checkpoint_10 --family coconut --base gpt2 --out converted",
        "convert model.pt --out converted --family codi --base gpt2 --latent-steps 6 --allow-pickle",
    ),
)
@click.argument("source", metavar="SOURCE")
@click.option("--out", type=PATH, required=True, metavar="DIRECTORY", help="New directory for the result.")
@click.option("--base", metavar="MODEL", help="What the weights were trained from, for configuration and tokenizer.")
@click.option(
    "--family",
    # Named here, so that help needs no torch.
    type=click.Choice(
        (
            *("coconut", "codi", "colar", "generic"),
            *("colar_policy", "latent_grpo", "latent_sft", "multiplex", "soft_thinking"),
        )
    ),
    help="Whose conventions to start from.",
)
@click.option("--prompt", metavar="TEMPLATE", help="Prompt template, with {question} in it.")
@click.option("--feedback", metavar="NAME", help="Feedback head: identity, projector, latent_head.")
@click.option("--latent-steps", type=int, metavar="N", help="T, the number of latent steps.")
@click.option("--latent-length", metavar="HOW", help="'fixed', or 'adaptive' up to --latent-steps.")
@click.option("--start-token", metavar="TOKEN", help=f"Start token, or '{_NONE}'.")
@click.option("--end-token", metavar="TOKEN", help=f"End token, or '{_NONE}'.")
@click.option("--latent-token", metavar="TOKEN", help=f"Latent token, or '{_NONE}'.")
@click.option("--extractor", metavar="NAME", help="Finds the answer in the text, such as last_number.")
@click.option("--answer-tokens", type=int, metavar="N", help="Longest answer in tokens.")
@click.option("--lora-alpha", type=float, metavar="A", help="LoRA alpha of the trainer (CODI's scripts have 32).")
@click.option("--embedding-std", type=float, metavar="X", help="Scale of CoLaR's latents, where no file says it.")
@click.option(
    "--drop",
    multiple=True,
    metavar="PATTERN",
    help="Leave out tensors that only training needs, such as 'decoder.*'; may be repeated.",
)
@click.option("--allow-pickle", is_flag=True, help="Read pickled weights, whose author you trust.")
@dry_run_option
def command(
    source: str,
    out: Path,
    base: str | None,
    family: str | None,
    lora_alpha: float | None,
    embedding_std: float | None,
    drop: tuple[str, ...],
    allow_pickle: bool,
    dry_run: bool,
    **described: Any,
) -> None:
    """Make a checkpoint of another layout one that runs.

    SOURCE is a directory, a hub id, or a file of a trainer.
    """
    # Values are checked where they are used, against the names that are registered.
    from latent_core.conversion import Options, convert

    changes = {name: value for name, value in described.items() if value is not None}
    changes.update((name, None) for name in _TOKENS if changes.get(name) == _NONE)
    options = Options(base, family, changes, lora_alpha, allow_pickle, drop, embedding_std)
    target = out.expanduser()
    for note in convert(source, target, options, dry_run=dry_run):
        say(make_console(), note)
    if dry_run:
        say(make_console(), f"would be written to {target}")
        return
    output = Console()
    for line in (
        f"checkpoint {target}: written and checked",
        f"look at it: latentswarm inspect {shlex.quote(str(target))}",
    ):
        say(output, line)
