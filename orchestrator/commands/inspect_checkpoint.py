"""`latentswarm inspect`: what a checkpoint is, and what it thinks about a question."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latent_core.errors import UserError
from orchestrator.commands.options import examples
from orchestrator.console import say, widened

if TYPE_CHECKING:
    from latent_core.inspection.facts import CheckpointFacts, Token
    from latent_core.inspection.thoughts import LatentStep, Thoughts
    from latent_core.settings import Settings

_LABEL_WIDTH = 26


@click.command(
    "inspect",
    epilog=examples(
        "inspect bundled:coconut-paths", "inspect bundled:coconut-paths --question 'ann has 3 pens ?' --steps 4"
    ),
)
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--question", metavar="TEXT", help="Load the weights and show the greedy trajectory.")
@click.option("--steps", type=int, metavar="N", help="Latent steps, or the most of them (default: its own).")
@click.option(
    "--dtype", type=click.Choice(("float32", "bfloat16", "float16")), default="float32", help="Of the weights."
)
def command(checkpoint: str, question: str | None, steps: int | None, dtype: str) -> None:
    """Say what a checkpoint is, and what it thinks about a question.

    CHECKPOINT is a directory, a hub id, or bundled:NAME.
    """
    output = widened(Console())
    if question is None and steps is not None:
        raise UserError("--steps: nothing thinks without --question")

    from latent_core.inspection.facts import checkpoint_facts
    from latent_core.inspection.thoughts import think
    from latent_core.models.checkpoint import Checkpoint
    from latent_core.models.reasoner import DTYPES, LatentReasoner

    facts = checkpoint_facts(Checkpoint.open(checkpoint))
    _print_lines(output, describe_facts(facts))
    if question is None:
        return
    reasoner = LatentReasoner.from_pretrained(checkpoint, dtype=DTYPES[dtype])
    thoughts = think(reasoner, question, steps)
    output.print()
    output.print(steps_table(thoughts.steps))
    output.print()
    _print_lines(output, describe_thoughts(thoughts))


def describe_facts(facts: "CheckpointFacts") -> Iterator[tuple[str, str]]:
    """Return what is known about a checkpoint, line by line."""
    yield "checkpoint", facts.source
    yield "directory", str(facts.directory)
    yield "architecture", f"{facts.architecture}, model_type {facts.model_type}, laid out like {facts.backbone}"
    shared = "" if facts.heads == facts.key_value_heads else f" ({facts.key_value_heads} for keys and values)"
    yield (
        "shape",
        f"{facts.layers} layers, width {facts.width}, {facts.heads} heads{shared}, {facts.vocabulary:,} tokens, "
        f"context of {facts.context_length:,}",
    )
    head = f" + {facts.feedback_parameters:,} of the feedback head" if facts.feedback_parameters else ""
    yield "parameters", f"{facts.backbone_parameters:,}{head}, stored as {', '.join(facts.dtypes)}"
    yield "weights", facts.weights
    yield "format", facts.format.name
    opening = f", behind {_tokens_text(facts.opening)}" if facts.opening else ""
    yield "prompt", repr(facts.format.prompt) + opening
    if facts.format.chat is not None:
        yield "chat", _settings_text(facts.format.chat)
    yield "tokens", ", ".join(f"{role} {token.text!r} {token.id}" for role, token in facts.tokens.items())
    if facts.own_rules:
        yield "tokenizer", "splits texts as its tokenizer.json says; transformers has other rules for this model"
    inner = "" if facts.feedback_width is None else f", inner width {facts.feedback_width}"
    yield "feedback", facts.format.feedback + inner
    if facts.format.mixture is not None:
        yield "mixture", _settings_text(facts.format.mixture)
    if facts.format.gate is not None:
        yield "gate", _settings_text(facts.format.gate)
    length = f"{facts.format.latent_length}, up to " if facts.format.adaptive else ""
    yield "latent steps", length + str(facts.latent_steps)
    if facts.fed != (facts.tokens["end"],):
        yield "fed behind them", _tokens_text(facts.fed)
    yield "answer", f"{facts.format.extractor}, up to {facts.format.answer_tokens} tokens"
    yield "answer ends with", _tokens_text(facts.answer_ends)
    for site, place in facts.sites.items():
        yield f"site {site}", place
    for projection, place in facts.projections.items():
        yield f"weight {projection}", place
    yield "fingerprint", facts.fingerprint


def _settings_text(settings: "Settings") -> str:
    return ", ".join(f"{name} {value!r}" for name, value in settings.model_dump().items())


def _tokens_text(tokens: "tuple[Token, ...]") -> str:
    return ", ".join(f"{token.text!r} {token.id}" for token in tokens)


def describe_thoughts(thoughts: "Thoughts") -> Iterator[tuple[str, str]]:
    """Return what stands around the latent steps, line by line."""
    yield "prompt", f"{thoughts.prompt_tokens} tokens"
    if thoughts.lost:
        some = ", ".join(map(repr, dict.fromkeys(thoughts.lost)))
        yield "lost", f"{len(thoughts.lost)} characters of it, which the tokenizer cannot represent: {some}"
    yield "prompt ids", " ".join(map(str, thoughts.prompt_ids))
    if thoughts.error is not None:
        yield "failed", thoughts.error
        return
    cut = ", cut off there: it does not vote unless task.cut_answers=vote" if thoughts.cut else ""
    yield "answer text", f"{thoughts.answer_text!r} ({thoughts.answer_tokens} tokens{cut})"
    yield "extracted", "nothing" if thoughts.extracted is None else repr(thoughts.extracted)
    yield "answer", "no number can be read" if thoughts.answer is None else thoughts.answer


def steps_table(steps: "tuple[LatentStep, ...]") -> Table:
    """Lay out latent steps: the fed-back vectors, and the tokens that the output head finds near them."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("step", justify="right", no_wrap=True)
    table.add_column("norm", justify="right", no_wrap=True)
    table.add_column("cosine", justify="right", no_wrap=True)
    table.add_column("tokens near the fed-back vector, with probabilities", overflow="fold")
    for step in steps:
        cosine = "" if step.cosine is None else f"{step.cosine:.3f}"
        near = "  ".join(f"{token.text!r} {token.probability:.2f}" for token in step.near)
        table.add_row(str(step.number), f"{step.norm:.2f}", cosine, Text(near))
    return table


def _print_lines(output: Console, lines: Iterator[tuple[str, str]]) -> None:
    for label, value in lines:
        say(output, f"{label:<{_LABEL_WIDTH}} {value}")
