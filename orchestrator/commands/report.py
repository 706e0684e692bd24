"""`latentswarm report`: draw the tables and pictures of runs anew, and compare several."""

from pathlib import Path

import click

from orchestrator.commands.options import DEFAULT_OUT, PATH, examples
from orchestrator.console import make_console

_DEFAULT_COMPARISON = DEFAULT_OUT / "report"


@click.command("report", epilog=examples("report runs/demo", "report runs/a runs/b --out runs/compared"))
@click.argument("directories", metavar="RUN_DIR...", type=PATH, nargs=-1, required=True)
@click.option(
    "--out", type=PATH, help=f"Directory for a comparison (default: {_DEFAULT_COMPARISON}).", metavar="DIRECTORY"
)
@click.option(
    "--format",
    "formats",
    metavar="FORMATS",
    help="Write figures for a paper too, to RUN_DIR/figures: pdf, svg and png, several with commas between them.",
)
@click.option(
    "--columns", type=click.Choice(("1", "2")), help="Columns of the page that figures are wide (default: 2)."
)
@click.option("--thoughts", is_flag=True, help="Decode the thoughts of stored latents even if that takes long.")
@click.option(
    "--budgets",
    metavar="RULE",
    multiple=True,
    help="Replay this stopping rule, such as posterior or posterior:confidence=0.9; may be repeated (default: all).",
)
@click.option(
    "--fit-gain",
    "into",
    type=PATH,
    metavar="DIRECTORY",
    help="Fit what further samples are worth, for rule gain, and keep it beside this LatentRM. RUN_DIR must be over "
    "validation questions.",
)
@click.option(
    "--fit-gain-trial", "trial", metavar="NAME", help="The trial that is fitted to, where the run has several."
)
def command(
    directories: tuple[Path, ...],
    out: Path | None,
    formats: str | None,
    columns: str | None,
    thoughts: bool,
    budgets: tuple[str, ...],
    into: Path | None,
    trial: str | None,
) -> None:
    """Draw the tables and pictures of runs anew, and compare several runs, finished or not."""
    from orchestrator.experiment.run_directory import directory_kind

    if len(directories) == 1 and directory_kind(directories[0]) == "train-policy":
        from orchestrator.jobs.train_policy_job import show_policy

        show_policy(directories[0])
        return
    from orchestrator.analysis.adaptive import parse_asked
    from orchestrator.jobs.run_reports import fit_gain_of, paper_of, report_runs

    paper = paper_of(formats, columns)
    rules = [parse_asked(text) for text in budgets] or None
    if into is not None:
        fit_gain_of(directories, into, trial, make_console())
    report_runs(directories, out, _DEFAULT_COMPARISON, make_console(), thoughts=thoughts, paper=paper, rules=rules)
