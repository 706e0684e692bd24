"""Training from a language model: passes are those of the engine, and what is saved is a reasoner that runs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from base_models import recipe_of, save_base, save_problems
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.training.chain_passes import distillation_loss, student_pass, teacher_pass, writing_loss
from latent_core.training.chains import ChainBatch
from latent_core.training.from_base import FromBase
from latent_core.training.passes import take_latent_steps
from latent_core.training.settings import ReasonerTrainingSettings
from latent_core.training.trainer import STATE_FILE, train_reasoner

Reports = list[dict[str, float | int | str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bases")
    for kind in ("llama", "gpt2"):
        save_base(folder / kind, kind)
    save_problems(folder / "train.jsonl")
    return folder


def recipe(folder: Path, kind: str = "llama", **changes: Any) -> ReasonerTrainingSettings:
    return ReasonerTrainingSettings.model_validate(recipe_of(folder / kind, folder / "train.jsonl", **changes))


def batch_of(learner: FromBase, count: int = 6, hidden_steps: int | None = None) -> ChainBatch:
    return ChainBatch.of(sorted(learner.problems.train[:count], key=len), hidden_steps)


@pytest.mark.parametrize(("kind", "feedback"), [("llama", "identity"), ("llama", "projector"), ("gpt2", "projector")])
def test_training_ends_in_a_reasoner_that_runs(folder: Path, tmp_path: Path, kind: str, feedback: str) -> None:
    settings = recipe(folder, kind, feedback=feedback, weights_dtype="bfloat16")
    reports: Reports = []
    metrics = train_reasoner(settings, tmp_path / "out", reports.append)
    assert metrics["updates"] == 20
    assert {"answer_loss", "chain_loss", "distillation_loss", "greedy_accuracy"} < set(metrics)
    chain = [float(one["chain_loss"]) for one in reports if "chain_loss" in one]
    assert len(chain) == 20
    assert sum(chain[7:10]) < 0.9 * sum(chain[:3])

    reasoner = LatentReasoner.from_pretrained(str(tmp_path / "out"))
    conventions = reasoner.checkpoint.format
    assert (conventions.feedback, conventions.extractor) == (feedback, "after_last_hash")
    assert reasoner.checkpoint.latent_steps == 3
    problems = [Problem("a", "Ann has 3 pens?", "3"), Problem("b", "Ben buys 12 and sells 2 of them?", "10")]
    sampler = parse_sampler({"kind": "mc_dropout", "p": 0.1})
    rows = sample_trajectories(reasoner, sampler, problems, range(2), latent_steps=3, answer_tokens=8, seed=0)
    assert rows.error == [None] * 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["config.json", "latent.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    )


@pytest.mark.parametrize(("kind", "feedback"), [("llama", "identity"), ("llama", "projector"), ("gpt2", "projector")])
@torch.no_grad()
def test_latent_steps_in_training_are_those_of_the_engine(
    folder: Path, tmp_path: Path, kind: str, feedback: str
) -> None:
    learner = FromBase(recipe(folder, kind, feedback=feedback))
    learner.save(tmp_path / "out")
    base, reasoner = learner._base, LatentReasoner.from_pretrained(str(tmp_path / "out"))
    questions = ["Ann has 3 pens?", "Ben buys 12 and sells 2 of them, how many are left?"]
    problems = [Problem(str(number), text, "1") for number, text in enumerate(questions)]
    rows = sample_trajectories(
        reasoner, parse_sampler({"kind": "none"}), problems, range(1), latent_steps=3, answer_tokens=4, seed=0
    )
    ids = [reasoner.checkpoint.prompt_ids(text) for text in questions]
    width = max(map(len, ids))
    prompt = torch.tensor([[0] * (width - len(one)) + one for one in ids])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
    fed: list[Tensor] = []
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    take_latent_steps(base.model, (prompt, mask, positions), 3, feedback=base.projector, watch=fed.append)
    for row, trajectory in enumerate(rows):
        assert trajectory.latents is not None
        ours = torch.cat(fed, dim=1)[row]
        torch.testing.assert_close(ours, torch.from_numpy(trajectory.latents), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_passes_ignore_padding(folder: Path) -> None:
    learner = FromBase(recipe(folder))
    base, batch = learner._base, batch_of(learner, hidden_steps=1)
    assert (batch.mask == 0).any()
    teacher, student = teacher_pass(base.model, batch), student_pass(base.model, batch, base.end_id, 2)
    for row in range(len(batch)):
        alone = batch.rows(row, row + 1)
        for together, own, written in (
            (teacher, teacher_pass(base.model, alone), alone.chain),
            (student, student_pass(base.model, alone, base.end_id, 2), alone.rest),
        ):
            length = int(written.mask.sum())
            torch.testing.assert_close(together.logits[row, :length], own.logits[0], atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(together.states[:, row], own.states[:, 0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_losses_are_those_of_the_texts(folder: Path) -> None:
    learner = FromBase(recipe(folder))
    model, batch = learner._base.model, batch_of(learner, 3)
    teacher = teacher_pass(model, batch)
    means = []
    for row in range(len(batch)):
        question = batch.prompt[row][batch.mask[row].bool()][:-1]
        written = batch.chain.ids[row][batch.chain.mask[row].bool()]
        output = model(torch.cat([question, written])[None], output_hidden_states=True)
        chances = output.logits[0].log_softmax(-1)[len(question) - 1 : -1]
        means.append(-chances.gather(1, written[:, None]).mean())
        mark = len(question) + int(batch.chain.mark[row])
        assert learner._base.tokenizer.decode(torch.cat([question, written])[: mark + 1]).endswith("### ")
        for layer, states in enumerate(output.hidden_states):
            torch.testing.assert_close(teacher.states[layer, row], states[0, mark], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(writing_loss(teacher, batch.chain), torch.stack(means).mean())
    assert distillation_loss(teacher, teacher) == 0
    student = student_pass(model, batch, learner._base.end_id, 3)
    spread = teacher.states[1:].std(-1)
    wanted = ((student.states[1:] - teacher.states[1:]).abs().mean(-1) / spread).mean()
    torch.testing.assert_close(distillation_loss(student, teacher), wanted)


def test_the_chain_is_taught_by_no_latent(folder: Path) -> None:
    learner = FromBase(recipe(folder, feedback="projector"))
    base, batch = learner._base, batch_of(learner)
    assert base.projector is not None
    student = student_pass(base.model, batch, base.end_id, 3, feedback=base.projector)
    teacher = teacher_pass(base.model, batch)
    (gradient,) = torch.autograd.grad(distillation_loss(student, teacher), teacher.logits, allow_unused=True)
    assert gradient is None
    weight = base.projector.layers[0].weight
    (gradient,) = torch.autograd.grad(writing_loss(student, batch.rest), weight)
    assert gradient.abs().sum() > 0


def test_parts_of_a_batch_add_up_to_it(folder: Path, tmp_path: Path) -> None:
    weights = []
    for name, rows in (("whole", None), ("parts", 3)):
        stages = [{**stage, "latent_dropout": 0, "latent_noise": 0, "updates": 2} for stage in stages_of(folder)]
        train_reasoner(recipe(folder, micro_batch=rows, stages=stages), tmp_path / name, lambda _: None)
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    start = FromBase(recipe(folder))._base.model.state_dict()
    for name, whole in weights[0].items():
        torch.testing.assert_close(weights[1][name], whole, atol=2e-4, rtol=1e-3)
    assert max(float((weights[0][name] - start[name]).abs().max()) for name in weights[0]) > 0.005


def stages_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = recipe_of(folder, folder)["stages"]
    return found


class _Killed(Exception):
    pass


def test_a_killed_training_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    settings = recipe(folder, save_every=4, evaluate_every=100)

    def kill(report: dict[str, float | int | str]) -> None:
        if report["update"] == 14:
            raise _Killed

    updates: list[Any] = []
    train_reasoner(settings, tmp_path / "whole", lambda _: None)
    with pytest.raises(_Killed):
        train_reasoner(settings, tmp_path / "killed", kill)
    assert (tmp_path / "killed" / STATE_FILE).is_file()
    train_reasoner(settings, tmp_path / "killed", lambda report: updates.append(report["update"]))
    assert updates[:2] == [12, 13]
    assert not (tmp_path / "killed" / STATE_FILE).exists()
    first, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert first == again


def test_a_state_of_another_recipe_is_not_gone_on_with(folder: Path, tmp_path: Path) -> None:
    def kill(_: object) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        train_reasoner(recipe(folder, save_every=1, report_every=2), tmp_path, kill)
    with pytest.raises(UserError, match="another recipe"):
        train_reasoner(recipe(folder, save_every=1, report_every=2, seed=1), tmp_path, kill)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": None}, "needs a base"),
        ({"data": None}, "needs a data"),
        ({"architecture": {"width": 64}}, "architecture has no meaning"),
        ({"family": "word_problems", "latent_steps": 6}, "leave base out"),
        ({"latent_steps": 40}, "needs 1 to 32"),
        ({"device": "tpu"}, "cpu"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(folder, **changes)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"thoughts": "written", "chain_weight": 1.0}, "need thoughts that are latent"),
        ({"thoughts": "written"}, "all latents"),
        ({"thoughts": "latent", "hidden_steps": 1}, "all latents"),
        ({"thoughts": "latent", "hidden_steps": 1, "distillation_weight": 1.0}, "leave hidden_steps out"),
        ({"thoughts": "latent", "commitment_weight": 1.0}, "commitment_weight has no meaning"),
    ],
)
def test_a_last_stage_that_makes_no_sense_is_refused(folder: Path, stage: dict[str, Any], message: str) -> None:
    whole = {"name": "x", "updates": 1, "learning_rate": 0.1, "final_learning_rate": 0.1, **stage}
    with pytest.raises(ValidationError, match=message):
        recipe(folder, stages=[whole])


def test_bases_that_cannot_be_used_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for base, message in (
        (tmp_path, "is a GGUF file"),
        (tmp_path / "model.gguf", "is a GGUF file"),
        (tmp_path / "none", "no such directory"),
    ):
        with pytest.raises(UserError, match=message):
            FromBase(recipe(folder, base=str(base)))
    with pytest.raises(UserError, match="has room for 252"):
        FromBase(recipe(folder, data={"path": str(folder / "train.jsonl"), "longest": 300}))


def test_a_curriculum_hides_one_step_after_the_other(folder: Path, tmp_path: Path) -> None:
    rates = {"updates": 2, "learning_rate": 0.003, "final_learning_rate": 0.001, "thoughts": "latent"}
    stages = [{"name": "one", "hidden_steps": 1, **rates}, {"name": "all", **rates}]
    settings = recipe(folder, stages=stages, latents_per_step=2)
    learner = FromBase(settings)
    assert [learner._steps(stage) for stage in settings.stages] == [2, 3]
    reports: Reports = []
    train_reasoner(settings, tmp_path / "out", reports.append)
    assert [one["stage"] for one in reports if "answer_loss" in one] == ["one", "one", "all", "all"]
