"""Reports of runs on disk: tables and pictures drawn anew from the store, and comparisons of several runs."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from latent_core.budgets import GainTables
from latent_core.budgets.gain_table import read_gain_tables
from latent_core.errors import UserError
from latent_core.tasks.base import Task
from orchestrator.analysis.adaptive import AskedRule
from orchestrator.analysis.cut_answers import as_begun, with_end_ids
from orchestrator.analysis.dynamics import HeadSource
from orchestrator.analysis.evaluation import Evaluation, TrialResult, evaluate_all
from orchestrator.analysis.gain_fits import fit_gain
from orchestrator.analysis.kept.adaptive import evaluate_adaptive
from orchestrator.analysis.kept.dynamics import evaluate_dynamics
from orchestrator.analysis.kept.results import KeptResults
from orchestrator.analysis.run_comparisons import RunPoints
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.console import masked, say
from orchestrator.experiment.run_directory import RunDirectory, group_directories, open_run
from orchestrator.reporting.artifacts import Report
from orchestrator.reporting.compare_runs import ReportedRun, summary_table, title_of, write_comparison
from orchestrator.reporting.paper import FORMATS, Paper, write_paper
from orchestrator.reporting.run_files import write_report
from orchestrator.reporting.tables import print_missing_dynamics, print_places, print_results
from orchestrator.store.trial import Coverage, around_damage

if TYPE_CHECKING:
    from latent_core.models.checkpoint import Checkpoint

_NAMED = 3


def report_runs(
    directories: Sequence[Path],
    out: Path | None,
    default_out: Path,
    remarks: Console,
    *,
    tables: bool = True,
    thoughts: bool = False,
    paper: Paper | None = None,
    rules: Sequence[AskedRule] | None = None,
) -> None:
    """Draw every run anew; with several, compare them too. Starts nothing and samples nothing.

    Args:
        directories: The run directories.
        out: Where the comparison goes, if that was said.
        default_out: Where it goes otherwise.
        remarks: Where failures are told; the results go to standard output.
        tables: Whether to print what single runs have come to.
        thoughts: Whether to decode thoughts however long it takes.
        paper: What to write for a paper besides, if anything.
        rules: Stopping rules to replay; None for all that can be.

    Raises:
        UserError: If one of them is no run directory, its questions cannot be had, or nothing has been sampled yet.
    """
    target: Path | None
    if len(directories) == 1 and len(of_group := group_directories(directories[0])) > 1:
        # The comparison of a group of sweeps is its own result.
        target, directories = out or directories[0], of_group
    else:
        directories = [one for directory in directories for one in group_directories(directory)]
        target = _comparison_directory(directories, out, default_out)
    names = run_names(directories)
    runs = [open_run(directory) for directory in directories]
    output = Console()
    own = output if tables else Console(quiet=True)
    reported = [
        _report_one(run, name, own, remarks, thoughts, paper, rules) for run, name in zip(runs, names, strict=True)
    ]
    if target is None:
        return
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {target}: cannot be written: {error}") from error
    write_comparison(reported, target, paper)
    say(output, f"{title_of(reported)}\n")
    say(output, summary_table(reported))
    output.print()
    print_places(
        [("picture", target / "curves.png"), ("interactive", target / "curves.html"), ("all files", target)], output
    )


def fit_gain_of(directories: Sequence[Path], into: Path, trial: str | None, remarks: Console) -> None:
    """Fit what further samples are worth on a run, and keep it beside a LatentRM.

    Raises:
        UserError: As for `fit_gain`, or if it is not one run.
    """
    if len(directories) != 1:
        raise UserError(f"--fit-gain {into}: is fitted on one run, and {len(directories)} are named")
    run = open_run(directories[0])
    config = config_of(run)
    try:
        line = fit_gain(with_end_ids(run.trials, config.checkpoint), task_of(run, config), into, trial)
    except OSError as error:
        raise UserError(f"store.path {masked(config.store.path)}: cannot be read: {error}") from error
    say(remarks, line)


def paper_of(formats: str | None, columns: str | None) -> Paper | None:
    """Read what is wanted for a paper, as the options say it.

    Raises:
        UserError: If a format is none, or a width is given without formats.
    """
    if formats is None:
        if columns is not None:
            raise UserError(f"--columns {columns}: how wide figures for a paper are, which --format asks for")
        return None
    named = [one.strip().lower() for one in formats.split(",")]
    for one in named:
        if one not in FORMATS:
            raise UserError(f"--format {formats}: {one!r} is none of {', '.join(FORMATS)}")
    return Paper(tuple(dict.fromkeys(named)), 1 if columns == "1" else 2)


def run_names(directories: Sequence[Path]) -> list[str]:
    """Return what runs are called beside each other: the names of their directories, or their paths where those clash.

    Raises:
        UserError: If a directory is named twice.
    """
    places = [directory.resolve() for directory in directories]
    twice = next((directories[i] for i, place in enumerate(places) if place in places[:i]), None)
    if twice is not None:
        raise UserError(f"{twice}: named twice; a run can be compared with other runs only")
    names = [place.name for place in places]
    return names if len(set(names)) == len(names) else [str(directory) for directory in directories]


def _comparison_directory(directories: Sequence[Path], out: Path | None, default: Path) -> Path | None:
    if len(directories) == 1:
        if out is not None:
            raise UserError(f"--out {out}: for the comparison of several runs; that of one run stays in its directory")
        return None
    target = out or default
    if (target / "config.yaml").exists():
        raise UserError(f"--out {target}: a run directory, whose files the comparison would replace; name another one")
    return target


def _report_one(
    run: RunDirectory,
    name: str,
    output: Console,
    remarks: Console,
    thoughts: bool,
    paper: Paper | None,
    rules: Sequence[AskedRule] | None,
) -> ReportedRun:
    config = config_of(run)
    task = task_of(run, config)
    try:
        trials = with_end_ids(run.trials, config.checkpoint)
        everything = [one for trial in trials for one in trial.with_searches]
        questions = len(task.problems)

        def evaluated() -> tuple[list[TrialResult], dict[str, Coverage]]:
            coverage = {one.name: one.coverage(questions) for one in everything}
            return evaluate_all(trials, task, coverage), coverage

        (results, coverage), damaged = around_damage(everything, evaluated)
    except OSError as error:
        raise UserError(f"store.path {masked(config.store.path)}: cannot be read: {error}") from error
    for line in damaged:
        say(remarks, line)
    if not results:
        why = run.lost_store() or "`latentswarm status` says what the store has"
        raise UserError(f"{run.out}: there is no setting yet of which every question has a sample; {why}")
    if (absent := missing_line(coverage)) is not None:
        say(remarks, f"{run.out}: {absent}")
    objectives = config.sweep.objectives if run.command == "sweep" else ()
    head = HeadSource(partial(_checkpoint, config.checkpoint), thoughts)
    kept = KeptResults(run.out)
    dynamics = evaluate_dynamics(results, task, head, coverage, kept)
    adaptive = evaluate_adaptive(results, task, rules, _gains(config.scorer.checkpoint, remarks), kept)
    evaluation = Evaluation(results, task, config.budgets, objectives, dynamics, adaptive)
    title = f"{config.checkpoint} on {task.name}"
    report = Report(title, evaluation)
    try:
        kept.save()
        files = write_report(run.out, report)
        figures = [] if paper is None else write_paper(report, run.out, paper)
    except OSError as error:
        raise UserError(f"{run.out}: cannot be written: {error}") from error
    say(output, f"{name}: {title}, {len(task.problems):,} questions\n")
    print_results(evaluation, output, remarks)
    print_missing_dynamics(evaluation, output)
    print_places([("written", ", ".join(str(file) for file in files))], output)
    if figures:
        print_places([("for a paper", ", ".join(str(file) for file in figures))], output)
    output.print()
    spec = run.trials[0].store.spec
    asked = [(problem.question_id, problem.question, problem.answer) for problem in task.problems]
    points = RunPoints(name, asked, {result.trial.name: result.points for result in results})
    return ReportedRun(
        name,
        config.checkpoint,
        spec.checkpoint,
        task.name,
        (spec.task, len(task.problems)),
        evaluation.rows,
        points,
        config.task.cut_answers,
    )


def missing_line(coverage: Mapping[str, Coverage]) -> str | None:
    """Say how many trajectories, or scores of them, the store lacks of which trials; None where it has all.

    Curves end where the first sample of any question is missing, and a trial without a whole sample has none.
    """
    lacking = {name: int(found.lacking.sum()) for name, found in coverage.items() if found.lacking.any()}
    if not lacking:
        return None
    absent = sum(lacking.values())
    whole = sum(int(found.wanted.sum()) for found in coverage.values())
    parts = [
        f"{name} lacks {lacking[name]:,} of {int(found.wanted.sum()):,} "
        f"({f'curves to n = {found.ready_samples}' if found.ready_samples else 'no curves'})"
        for name, found in [(name, coverage[name]) for name in lacking][:_NAMED]
    ]
    more = len(lacking) - _NAMED
    parts += [f"{more} more trials lack others"] if more > 0 else []
    return (
        f"{absent:,} of {whole:,} trajectories are not in the store, or not scored: {', '.join(parts)}; the same run "
        "or sweep makes what no scheduler has left out"
    )


def _gains(source: str | None, remarks: Console) -> GainTables | None:
    """Return what was fitted for the LatentRM of a run, as far as that is still where it was."""
    if source is None:
        return None
    from latent_core.models.files import locate

    try:
        return read_gain_tables(locate(source))
    except UserError as error:
        say(remarks, f"rule gain is left out: {error}")
        return None


def _checkpoint(source: str) -> "Checkpoint":
    # Model code takes seconds to import; nobody asks for it where thoughts are stored.
    from latent_core.models.checkpoint import Checkpoint

    return Checkpoint.open(source)


def config_of(run: RunDirectory) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        UserError: If it cannot be used.
    """
    try:
        return parse_config(RunConfig, as_begun(run.config))
    except UserError as error:
        raise UserError(f"{run.out / 'config.yaml'}: {error}") from None


def task_of(run: RunDirectory, config: RunConfig) -> Task:
    """Load the questions; the store knows answers by their number, so they must be those of the run.

    Raises:
        UserError: If they cannot be had, or are others.
    """
    whole = config.task.load()
    sampled = run.trials[0].store.spec.task
    if whole.fingerprint != sampled:
        raise UserError(
            f"{run.out}: the questions of task {whole.name} are no longer those of the run (fingerprint "
            f"{whole.fingerprint}, then {sampled}); give the task its former data, or run it anew"
        )
    return whole.head(config.task.limit)
