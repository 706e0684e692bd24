"""`latentswarm samples`: what every sample of a question wrote, in a terminal, as JSON or as a page for a browser."""

from pathlib import Path

import click

from orchestrator.commands.options import PATH, examples


@click.command(
    "samples",
    epilog=examples("samples runs/demo --wrong", "samples runs/demo --html"),
)
@click.argument("directory", metavar="RUN_DIR", type=PATH)
@click.option("--question", "questions", metavar="ID", multiple=True, help="Show this question; may be repeated.")
@click.option("--wrong", is_flag=True, help="Show questions whose chosen answer (LatentRM, else vote) is wrong.")
@click.option("--disputed", is_flag=True, help="Show questions of which no answer has more than half of the samples.")
@click.option("--cut", is_flag=True, help="Show questions with an answer that was cut off.")
@click.option("--unparsable", is_flag=True, help="Show questions with an answer that cannot be read.")
@click.option("--trial", metavar="NAME", help="Show this trial only (default: all).")
@click.option(
    "--thoughts/--no-thoughts",
    default=None,
    help="Decode latents step by step, for which the checkpoint has to be there (default: with --question).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per question.")
@click.option("--html", "as_html", is_flag=True, help="Write RUN_DIR/samples.html, one page for any browser.")
def command(
    directory: Path,
    questions: tuple[str, ...],
    wrong: bool,
    disputed: bool,
    cut: bool,
    unparsable: bool,
    trial: str | None,
    thoughts: bool | None,
    as_json: bool,
    as_html: bool,
) -> None:
    """Show what every sample of a question wrote, right or wrong, with its scores.

    Beams and, where they can be decoded, thoughts step by step are shown too. Several of --wrong, --disputed, --cut and
    --unparsable have to hold together, for one of the trials shown.
    """
    from latent_core.errors import UserError
    from orchestrator.jobs.run_samples import Wanted, show_samples

    if as_json and as_html:
        raise UserError("--json and --html: give one of them")
    flags = {"wrong": wrong, "disputed": disputed, "cut": cut, "unparsable": unparsable}
    filters = tuple(name for name, is_wanted in flags.items() if is_wanted)
    wanted = Wanted(questions, filters, trial, bool(questions) if thoughts is None else thoughts, thoughts is True)
    show_samples(directory, wanted, "json" if as_json else "html" if as_html else "text")
