"""The command line: plans without starting anything, and one line with exit code 2 for wrong input."""

import itertools
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
import ray

from orchestrator.cli import latentswarm, main
from orchestrator.config.loading import load_config
from orchestrator.config.run import RunConfig
from orchestrator.config.space import expand_space

ROOT = Path(__file__).parents[3]
WORD_PROBLEMS = str(ROOT / "tune_configs" / "word_problems.yaml")
DEMO = str(ROOT / "tune_configs" / "demo.yaml")
RECIPE = str(ROOT / "tune_configs" / "train_tiny.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> Path:
    """An empty folder with a configuration of the tiny checkpoint, wrong data and wrong checkpoints."""
    prepare(tmp_path, tiny_checkpoint)
    monkeypatch.chdir(tmp_path)
    # Pytest has a width of its own in mind; messages must not depend on it.
    monkeypatch.setenv("COLUMNS", "40")
    return tmp_path


def prepare(folder: Path, checkpoint: Path) -> None:
    good = {"question": "ann has 3 pens ?", "answer": "3"}
    (folder / "good.json").write_text(json.dumps([good] * 3))
    (folder / "lacking.json").write_text(json.dumps([good, {"question": "?"}]))
    (folder / "long.json").write_text(json.dumps([good, {"question": "ann has 3 pens . " * 40, "answer": "1"}]))
    (folder / "empty.json").write_text("[]")
    (folder / "broken.json").write_text("[")
    (folder / "broken.yaml").write_text("a: [1")
    plain = folder / "plain"
    shutil.copytree(checkpoint, plain)
    for file in (plain / "tokenizer.json", plain / "tokenizer_config.json"):
        file.write_text(file.read_text().replace("<|latent|>", "<|x|>"))
    damaged = folder / "damaged"
    shutil.copytree(checkpoint, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    (folder / "annotate.yaml").write_text(
        f"checkpoint: {checkpoint}\ntask: {{path: good.json}}\nsampler: {{kind: gaussian, sigma: 0.4}}\n"
    )
    (folder / "config.yaml").write_text(
        f"checkpoint: {checkpoint}\ntask: {{path: good.json}}\nbudgets: [1, 4]\n"
        "sampler: {kind: gaussian, sigma: 0.4}\n"
        "sweep: {space: [{sampler.kind: gaussian, sampler.sigma: [0.4, 0.8]}]}\n"
    )


BAD_INPUT: dict[str, tuple[list[str], str]] = {
    "unknown key": (["run", "config.yaml", "budgts=[1]"], "unknown key 'budgts': did you mean 'budgets'?"),
    "nested unknown key": (["run", "config.yaml", "task.splt=x"], "unknown key 'task.splt': did you mean 'split'?"),
    "unknown sampler": (["run", "config.yaml", "sampler.kind=gauss"], "did you mean 'gaussian'?"),
    "p of one": (["run", "config.yaml", "sampler.kind=mc_dropout", "sampler.p=1.0"], "sampler.p: "),
    "negative sigma": (["run", "config.yaml", "sampler.sigma=-1"], "sampler.sigma: "),
    "budget of zero": (["run", "config.yaml", "budgets=[0]"], "budgets.0: "),
    "no budgets": (["run", "config.yaml", "budgets=[]"], "budgets: name at least one"),
    "missing data": (["run", "config.yaml", "task.path=nowhere.json"], "task.path nowhere.json: no such file"),
    "row that lacks a column": (["run", "config.yaml", "task.path=lacking.json"], "row 1 lacks `answer`"),
    "broken data": (["run", "config.yaml", "task.path=broken.json"], "not valid JSON"),
    "empty data": (["run", "config.yaml", "task.path=empty.json"], "the data set is empty"),
    "question that is too long": (["run", "config.yaml", "task.path=long.json"], "question 1: 201 prompt tokens"),
    "unknown task": (["run", "config.yaml", "task.name=word_problem"], "did you mean 'word_problems'?"),
    "unknown split": (["run", WORD_PROBLEMS, "task.split=dev"], "unknown split 'dev'"),
    "missing checkpoint": (["run", "config.yaml", "checkpoint=./nowhere"], "no such directory"),
    "checkpoint without latent tokens": (["run", "config.yaml", "checkpoint=plain"], "lacks the latent tokens"),
    "damaged weights": (["run", "config.yaml", "checkpoint=damaged"], "weights in model.safetensors are damaged"),
    "missing config": (["run", "confg.yaml"], "no such file; did you mean config.yaml?"),
    "broken config": (["run", "broken.yaml"], "not valid YAML"),
    "override without value": (["run", "config.yaml", "seed"], "expected key=value"),
    "empty space": (["sweep", "config.yaml", "sweep.space=[]"], "sweep.space: empty"),
    "wrong space": (["sweep", "config.yaml", "sweep.space=[{actors: [1]}]"], "'actors' cannot be varied"),
    "too much grace": (
        ["sweep", "config.yaml", "sweep.scheduler=asha", "sweep.grace_samples=5"],
        "sweep.grace_samples: 5 is more than the largest budget, 4",
    ),
    "no such scorer": (
        ["run", "config.yaml", "scorer.checkpoint=./nowhere"],
        "checkpoint ./nowhere: no such directory",
    ),
    "reasoner as scorer": (["run", "config.yaml", "scorer.checkpoint=plain"], "which is no known LatentRM"),
    "beam search without scorer": (["run", "config.yaml", "search.kind=beam"], "set scorer.checkpoint"),
    "no beams": (["run", "config.yaml", "search.beams=0"], "search.beams.0: "),
    "nothing to resume": (["sweep", "config.yaml", "--resume", "nowhere"], "--resume nowhere: no config.yaml there"),
    "two run directories": (["run", "config.yaml", "--resume", ".", "--out", "x"], "--resume and --out: give one"),
    "server that is away": (
        ["run", "config.yaml", "tracking.uri=http://127.0.0.1:9"],
        "tracking.uri http://127.0.0.1:9: no MLflow server answers there",
    ),
    "metric without scorer": (
        ["sweep", "config.yaml", "sweep.objective=best_of_n"],
        "sweep.objective: best_of_n needs scores",
    ),
    "one candidate": (
        ["annotate", "annotate.yaml", "candidates=1"],
        "candidates: input should be greater than or equal",
    ),
    "candidates that are all the same": (
        ["annotate", "annotate.yaml", "sampler.kind=none"],
        "sampler: with 'none' all candidates are the same; use one that samples",
    ),
    "annotation of a run": (["annotate", "config.yaml"], "unknown key"),
    "wrong recipe": (["train-reasoner", RECIPE, "batch=3"], "unknown key 'batch': did you mean 'batch_size'?"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_wrong_input_is_one_line_and_exit_code_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(here.rglob("*"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("latentswarm: ")
    assert message in captured.err
    assert not ray.is_initialized()
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "config.yaml", "--out", "$HOME/x"], "--out $HOME/x: $HOME is not replaced here"),
        (["sweep", "config.yaml", "--resume", "s3://bucket/x"], "--resume s3://bucket/x: a directory on this machine"),
        (["annotate", "annotate.yaml", "--out", "file:/abs"], "--out file:/abs: has one slash behind file:"),
        (["run", "config.yaml", "--out", "a" * 300], "is too long for a path: names have at most 255 bytes"),
        (["status", "a" * 300], "is too long for a path"),
        (["report", "a\0b"], "holds what is no text"),
        (["run", "b" * 300], "is too long for a path"),
        (["run", "config.yaml", "checkpoint=" + "b" * 300], "checkpoint: is too long for a path"),
        (["run", "config.yaml", "task.path=~nobody-of-that-name/x"], "task.path: has no home directory to begin with"),
    ],
)
def test_paths_that_mean_another_place_are_refused_in_a_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    before = sorted(here.iterdir())
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(here.iterdir()) == before


def test_nothing_but_that_line_reaches_the_terminal(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """In a process of its own, where libraries write their warnings to the real standard error."""
    prepare(tmp_path, tiny_checkpoint)
    commands = [arguments for arguments, _ in BAD_INPUT.values() if arguments[0] in ("run", "annotate")]
    code = f"from orchestrator.cli import main\nfor arguments in {commands!r}:\n    print(main(arguments))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["2"] * len(commands)
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("latentswarm: ")] == []
    assert len(lines) == len(commands)


def dry_run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must succeed; returns what people see."""
    assert main([*arguments, "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not ray.is_initialized()
    return captured.err


def test_a_dry_run_prints_the_plan_and_starts_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    before = sorted(here.rglob("*"))
    text = dry_run(["run", "config.yaml"], capsys)
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert lines["greedy"][-4:-1] == ["3", "0", "3"]
    assert lines["gaussian sigma=0.4"][-4:-1] == ["12", "0", "12"]
    assert float(lines["gaussian sigma=0.4"][-1]) > float(lines["greedy"][-1]) > 0
    assert "6 latent steps, up to 32 answer tokens, seed 0" in text
    assert sorted(here.rglob("*")) == before


def test_a_dry_run_of_the_demo(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    overrides = ["task.limit=5", "budgets=[1, 2000]"]
    text = dry_run(["sweep", DEMO, *overrides], capsys)
    trials = list(expand_space(load_config(RunConfig, DEMO, overrides)))
    assert all(name in text for name in ["greedy", *trials])
    # Wanted, to be sampled and to be scored, for every trial.
    assert text.count("10,000") == 3 * len(trials)
    assert all(f"{trial} beam {beams}x4" in text for trial in trials for beams in (1, 4, 16))
    assert "bundled:coconut-paths" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "config.yaml", "--dry-run", "seed=3"],
        ["run", "--dry-run", "config.yaml", "seed=3"],
        ["run", "config.yaml", "seed=3", "--dry-run"],
        ["run", "config.yaml", "--out", "somewhere", "--dry-run", "seed=3"],
        ["run", "config.yaml", "--out", "x", "budgets=[1, 2]", "--dry-run", "seed=3"],
        ["run", "--out", "x", "config.yaml", "budgets=[1, 2]", "seed=3", "--dry-run"],
    ],
    ids=" ".join,
)
def test_options_may_stand_anywhere(here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0
    assert "seed 3" in capsys.readouterr().err


WITH_OVERRIDES = ["run", "sweep", "annotate", "train-rm", "train-policy", "train-reasoner"]


@pytest.mark.parametrize("name", WITH_OVERRIDES)
def test_every_order_of_options_and_overrides_means_the_same(name: str) -> None:
    command = latentswarm.commands[name]
    values = ("config.yaml", "a=1", "b=[1, 2]")
    options = [("--out", "x"), *([("--dry-run",)] if "--dry-run" in command.get_help(click.Context(command)) else [])]
    meant = []
    for order in itertools.permutations([*((value,) for value in values), *options]):
        words = list(itertools.chain(*order))
        if [word for word in words if word in values] == list(values):
            with command.make_context(name, words) as context:
                meant.append(context.params)
    assert len(meant) == (20 if len(options) == 2 else 4)
    assert all(one == meant[0] for one in meant)
    assert (meant[0]["config"], meant[0]["overrides"], meant[0]["out"]) == (values[0], values[1:], Path("x"))


def test_every_command_that_takes_overrides_is_held_to_that() -> None:
    commands = latentswarm.commands.items()
    taking = [name for name, command in commands if any(one.name == "overrides" for one in command.params)]
    assert taking == WITH_OVERRIDES


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run"], ["run", "config.yaml", "--nowhere"]])
def test_wrong_arguments_show_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage: latentswarm" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], *([name] for name in WITH_OVERRIDES)])
def test_help_says_what_there_is(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    expected = (
        ["CONFIG", "key=value", "--out"]
        if command
        else ["run", "sweep", "annotate", "train-rm", "train-policy", "train-reasoner", "inspect", "convert"]
    )
    assert all(word in text for word in expected)


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "Usage: latentswarm" in done.stdout


@pytest.mark.parametrize("name", list(latentswarm.commands))
def test_examples_of_the_help_can_be_given(name: str) -> None:
    _, _, given = str(latentswarm.commands[name].epilog).partition("Examples:\n")
    lines = given.splitlines()
    assert len(lines) == 2
    for line in lines:
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("latentswarm", name)
        with latentswarm.commands[name].make_context(name, arguments) as context:
            if "config" in context.params:
                assert (ROOT / context.params["config"]).is_file()


def test_a_value_may_begin_with_a_dash(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "config.yaml", "--dry-run", "seed=-1"]) == 2
    assert "latentswarm: seed: " in capsys.readouterr().err
    assert main(["run", "config.yaml", "-1"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_a_misspelt_option_has_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "config.yaml", "--dry-rum"]) == 2
    assert "--dry-run" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["bash_source", "zsh_source", "fish_source", "bash_complete"])
def test_completion(how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_LATENTSWARM_COMPLETE", how)
    monkeypatch.setenv("COMP_WORDS", "latentswarm train-rm --o")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        main([])
    assert ("plain,--out" if how == "bash_complete" else "_LATENTSWARM_COMPLETE=") in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("latentswarm, version ")


def test_an_interruption_says_how_to_go_on(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.config.loading.load_config", interrupt)
    assert main(["run", "config.yaml"]) == 130
    assert capsys.readouterr().err == (
        "latentswarm: interrupted; what has been sampled is in the store, and the same command goes on from there\n"
    )


def test_the_help_has_the_first_line_of_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It knows these lines without importing the commands."""
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, command in latentswarm.commands.items():
        assert f"{name} {str(command.help).splitlines()[0]}" in text


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([name, "--help"] for name in latentswarm.commands), ["run", "x.yaml", "--nowhere"], ["walk"]],
    ids=" ".join,
)
def test_help_and_wrong_arguments_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; from orchestrator.cli import main; main({arguments!r}); "
        "sys.exit(bool({'torch', 'ray', 'transformers', 'matplotlib', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT).returncode == 0


def test_a_dry_run_imports_no_ray(tmp_path: Path, tiny_checkpoint: Path) -> None:
    prepare(tmp_path, tiny_checkpoint)
    code = (
        "import sys; from orchestrator.cli import main; "
        "codes = [main([name, 'config.yaml', '--dry-run']) for name in ('run', 'sweep')]; "
        "sys.exit(codes != [0, 0] or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path).returncode == 0
