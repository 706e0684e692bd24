"""`latentswarm samples`: every sample of a question in a terminal, as JSON and as a page in a real browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import trajectory_table

from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.trajectory import Trajectory
from orchestrator.analysis.evaluation import Evaluation, evaluate_all
from orchestrator.cli import main
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run
from orchestrator.experiment.experiment import Experiment
from orchestrator.experiment.run_directory import write_run_file
from orchestrator.reporting.run_files import write_files
from orchestrator.store.shards import Shard
from orchestrator.store.trial import Trial

QUESTIONS, SAMPLES, STEPS = 20, 4, 3
TRIAL = "gaussian sigma=0.4"
MARKUP = "<img src=x onerror=alert(1)></script> ann has {n} cards ? " + "ben buys 3 pens . " * 9
Answers = Callable[[int, int], str]


def written(question: int, number: int) -> str:
    """The answer of a sample: "cut", "unparsable" and "failed" stand for what they say.

    Question 0 is right, 1 wrong, 2 and 3 have as many answers as samples; the others are mostly right.
    """
    if question == 1 or (question > 6 and number == 3):
        return "99"
    if question in (2, 3):
        return str(question + number)
    if number == 2 and question in (4, 5, 6):
        return ("cut", "unparsable", "failed")[question - 4]
    return str(question)


def trajectory(problem: Any, question: int, number: int, width: int | None) -> Trajectory:
    answer = written(question, number)
    if answer == "failed":
        return Trajectory.failed(problem, number, "RuntimeError: memory")
    latents = None
    if width is not None:
        latents = np.random.default_rng([question, number]).normal(size=(STEPS, width)).astype(np.float16)
    text, read = f"### {answer}", None if answer == "unparsable" else "7" if answer == "cut" else answer
    return Trajectory(
        problem.question_id, number, text, read, read == problem.answer, STEPS, 3, (1,), latents, 1.0, 2.0, 0.1,
        cut=answer == "cut",
    )  # fmt: skip


def fill(trial: Trial, problems: tuple[Any, ...], samples: int, width: int | None) -> None:
    rows = [trajectory(one, index, number, width) for index, one in enumerate(problems) for number in range(samples)]
    trial.store.prepare()
    latents = trial.store.kept if width is not None else "none"
    trial.store.write(Shard(0, len(problems), 0, samples), trajectory_table(rows, 0, samples, latents), latents)


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A run whose questions look like markup."""
    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    rows = [{"question": MARKUP.format(n=n), "answer": n} for n in range(QUESTIONS)]
    (tmp_path / "questions.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    config = {
        "checkpoint": "model",
        "task": {"path": "questions.json"},
        "sampler": {"kind": "gaussian", "sigma": 0.4},
        "budgets": [1, 2, 4],
        "answer_tokens": 8,
        "latent_steps": STEPS,
        "store": {"path": "runs/store", "latents": "float16"},
    }
    experiment = plan_run("mine", parse_config(RunConfig, config), Path("runs/mine"))
    greedy, trial = experiment.sampled_trials()
    problems = experiment.plan.problems
    width = Checkpoint.open("model").hidden_size
    fill(greedy, problems, 1, width)
    fill(trial, problems, SAMPLES, width)
    experiment.out.mkdir(parents=True)
    write_run_file(experiment.out, "run", "who", len(problems), experiment.sampled_trials())
    results = evaluate_all([greedy, trial], experiment.plan.task)
    evaluation = Evaluation(results, experiment.plan.task, experiment.plan.config.budgets)
    write_files(experiment.out, experiment.plan.config, evaluation, {"task": experiment.plan.task.name})
    return experiment


def ids(experiment: Experiment) -> list[str]:
    return [problem.question_id for problem in experiment.plan.problems]


def asked(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert main(["samples", "runs/mine", "--json", *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_sample_of_every_question(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys)
    assert [one["question_id"] for one in found] == ids(run)
    assert [one["number"] for one in found] == list(range(QUESTIONS))
    assert [one["reference"] for one in found] == list(map(str, range(QUESTIONS)))
    assert found[3]["question"] == MARKUP.format(n=3)
    for question, one in enumerate(found):
        [trial] = one["trials"]
        assert trial["trial"] == TRIAL
        assert [sample["index"] for sample in trial["samples"]] == list(range(SAMPLES))
        for number, sample in enumerate(trial["samples"]):
            answer = written(question, number)
            special = answer in ("cut", "unparsable", "failed")
            assert sample["state"] == (answer if special else "right" if answer == str(question) else "wrong")
            assert sample["text"] == (None if answer == "failed" else f"### {answer}")
            assert sample["answer"] == (None if special else answer)
    assert found[6]["trials"][0]["samples"][2]["error"] == "RuntimeError: memory"
    assert found[1]["trials"][0]["chosen"] == {"majority_vote": "99"}
    assert found[7]["trials"][0]["answers"] == [
        {"answer": "7", "count": 3, "right": True},
        {"answer": "99", "count": 1, "right": False},
    ]
    assert [one["greedy"]["state"] for one in found[:3]] == ["right", "wrong", "right"]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        # The first of equal answers is chosen, and those of questions 2 and 3 begin with the right one.
        (["--wrong"], [1]),
        (["--disputed"], [2, 3]),
        (["--cut"], [4]),
        (["--unparsable"], [5]),
        (["--wrong", "--disputed"], []),
        (["--trial", TRIAL, "--disputed"], [2, 3]),
    ],
)
def test_questions_of_a_kind(
    run: Experiment, options: list[str], numbers: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one["number"] for one in asked(capsys, *options)] == numbers


def test_one_question_with_its_thoughts(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    """Decoded by the checkpoint's own head."""
    name = ids(run)[7]
    assert main(["samples", "runs/mine", "--question", name]) == 0
    said = capsys.readouterr().out
    assert MARKUP.format(n=7) in " ".join(said.split()) + " "
    assert re.search(r"3\s+right\s+7\s+### 7", said)
    assert re.search(r"1\s+wrong\s+99\s+### 99", said)
    assert "majority vote: 7  right" in said
    [one] = asked(capsys, "--question", name)
    reasoner = LatentReasoner.from_pretrained("model")
    decode = reasoner.checkpoint.tokenizer.decode
    _, trial = run.sampled_trials()
    stored = trial.store.read(8, SAMPLES, ["latents"], first_question=7)["latents"]
    latents = [values.astype(np.float32).reshape(STEPS, -1) for values in stored]
    expected = [
        tuple(decode([token]) for token in reasoner.logits(torch.from_numpy(own)).argmax(dim=-1).tolist())
        for own in latents
    ]
    assert [sample["thoughts"] for sample in one["trials"][0]["samples"]] == [list(words) for words in expected]
    assert len({tuple(words) for words in expected}) > 1
    assert all("thoughts" not in sample for sample in asked(capsys)[7]["trials"][0]["samples"])


def test_thoughts_without_the_checkpoint(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("model")
    name = ids(run)[7]
    assert main(["samples", "runs/mine", "--question", name]) == 0
    captured = capsys.readouterr()
    assert re.search(r"3\s+right\s+7\s+### 7", captured.out)
    assert captured.err.startswith("thoughts: checkpoint model: ")
    assert main(["samples", "runs/mine", "--question", name, "--thoughts"]) == 2
    assert capsys.readouterr().err.startswith("latentswarm: --thoughts: checkpoint model: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--question", "nobody"], "--question nobody: task questions asks no such question"),
        (["--trial", "gaussian sigma=0.5"], "--trial gaussian sigma=0.5: runs/mine has no such trial; did you mean"),
        (["--json", "--html"], "--json and --html: give one of them"),
    ],
)
def test_wrong_input_is_one_line(
    run: Experiment, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["samples", "runs/mine", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


PROBE = """
<script>
const rows = () => [...document.querySelectorAll("#rows tr")];
const seen = {ready: document.body.dataset.ready, title: document.title, all: rows().length};
for (const name of Object.keys(FILTERS)) {
  const box = document.querySelector(`[data-filter=${name}]`);
  box.click();
  seen[name] = rows().map(row => Number(row.dataset.number));
  box.click();
}
document.querySelector("#rows tr").click();
seen.question = document.querySelector(".question").textContent;
seen.inner = document.querySelectorAll(".question *").length;
seen.canvases = document.querySelectorAll("#planes canvas").length;
seen.answers = [...document.querySelectorAll(".answers tr.pick")].map(row => row.textContent);
document.querySelector("#heads").children[1].click();
seen.hardest = Number(document.querySelector("#rows tr").dataset.number);
$("search").value = "has 19 cards"; drawList();
seen.found = rows().map(row => Number(row.dataset.number));
document.body.dataset.seen = encodeURIComponent(JSON.stringify(seen));
</script>
"""


def test_the_page_in_a_browser(run: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    """Filters work, text stays text, and nothing is loaded from elsewhere."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert main(["samples", "runs/mine", "--html"]) == 0
    assert "runs/mine/samples.html (20 questions)" in capsys.readouterr().out
    page = Path("runs/mine/samples.html").read_text()
    content = re.search(r'id="q7">(.*?)</script>', page)
    assert content is not None
    # Latents of greedy decoding are kept, though nobody needs them, and are a point of each plane.
    assert [len(step["greedy"]) for step in json.loads(content[1])["planes"]] == [2] * STEPS
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    Path("probed.html").write_text(page.replace("</body>", f"{PROBE}</body>"))
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run(
        [browser, *arguments, Path("probed.html").resolve().as_uri()], capture_output=True, text=True, timeout=120
    )
    from urllib.parse import unquote

    match = re.search(r'data-seen="([^"]+)"', done.stdout)
    assert match is not None, done.stdout[-2000:] + done.stderr[-2000:]
    seen = json.loads(unquote(match[1]))
    assert seen["ready"] == "yes"
    assert seen["title"] == "samples: model on questions"
    assert seen["all"] == QUESTIONS
    assert (seen["wrong"], seen["missed"], seen["disputed"]) == ([1], [], [2, 3])
    assert (seen["cut"], seen["unparsable"], seen["failed"]) == ([4], [5], [6])
    assert seen["question"] == MARKUP.format(n=0)
    assert seen["inner"] == 0
    assert seen["canvases"] == STEPS
    assert seen["answers"] == ["4\N{BLACK CIRCLE} right0### 0"]
    assert seen["hardest"] == 1
    assert seen["found"] == [19]
