"""What `train-rm` finds out before it starts anything, and the order in which it reads questions."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch
import yaml
from checkpoints import save_checkpoint_of
from rich.console import Console
from transformers.cache_utils import DynamicCache

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from orchestrator.cli import main
from orchestrator.config.loading import load_config, parse_config, save_config
from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.jobs.train_rm_job import train_reward_model
from orchestrator.reward_training.data import questions_of
from orchestrator.reward_training.job import RewardJob
from orchestrator.reward_training.order import read_questions
from orchestrator.reward_training.plan import by_file, is_latent_rm, plan_training
from orchestrator.store.labels import LabelManifest
from orchestrator.store.shards import Shard
from workers.tables import LABEL_SCHEMA

CANDIDATES, STEPS, WIDTH, PER_SHARD = 3, 2, 32, 4
MakeLabels = Callable[..., Path]


def rows_of(index: int, kind: str, rollouts: int = 2) -> list[dict[str, Any]]:
    """The candidates of a question: `kind` has a letter for each, right, wrong or failed."""
    is_mixed = len(set(kind) - {"f"}) > 1 or ("r" in kind and "f" in kind)
    return [
        {
            "question_id": f"question-{index}",
            "question_index": index,
            "question": f"ann has {index} pens ?",
            "reference": "7",
            "grader": "numeric",
            "sample_index": sample,
            "answer": {"r": "7", "w": "8", "f": None}[letter],
            "correct": letter == "r",
            "latent_steps": 0 if letter == "f" else STEPS,
            "latents": np.full(STEPS * WIDTH, index + sample / 4, np.float16) if is_mixed and letter != "f" else None,
            "answer_ids": [] if letter == "f" else [4, 5 + sample],
            "labels": [0.5, float(letter == "r")] if is_mixed and letter != "f" else None,
            "rollouts": rollouts,
            "error": "non-finite latent at step 1" if letter == "f" else None,
        }
        for sample, letter in enumerate(kind)
    ]


@pytest.fixture
def make_labels(tmp_path: Path, tiny_checkpoint: Path) -> MakeLabels:
    """Write a labelled set: one string of candidates per question; keyword arguments change the manifest."""

    def write(kinds: list[str], name: str = "labels", first: int = 0, **changes: Any) -> Path:
        out = tmp_path / name
        (out / "shards").mkdir(parents=True)
        rollouts = changes.get("rollouts", 2)
        for start in range(0, len(kinds), PER_SHARD):
            block = kinds[start : start + PER_SHARD]
            rows = [row for at, kind in enumerate(block) for row in rows_of(first + start + at, kind, rollouts)]
            shard = Shard(start, start + len(block), 0, CANDIDATES).file_name()
            pq.write_table(pa.Table.from_pylist(rows, schema=LABEL_SCHEMA), out / "shards" / shard)
        manifest = {
            "directory": str(out / "shards"),
            "reasoner": {
                "source": str(tiny_checkpoint),
                "fingerprint": Checkpoint.open(str(tiny_checkpoint)).fingerprint,
            },
            "task": "pens",
            "candidates": CANDIDATES,
            "rollouts": 2,
            "latent_steps": STEPS,
            "hidden_size": WIDTH,
            "questions": len(kinds),
            "mixed_questions": sum(len(set(kind)) > 1 for kind in kinds),
            "sampler": {"kind": "gaussian", "sigma": 0.5},
        }
        LabelManifest.model_validate({**manifest, **changes}).save(out)
        return out

    return write


MIXED = ["rww", "rrw", "wrw"] * 8


def test_questions_are_split_by_their_ids_and_uniform_ones_are_not_trained_on(make_labels: MakeLabels) -> None:
    kinds = [*MIXED, *["rrr", "www"] * 4]
    data = make_labels(kinds)
    plan = plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_share": 0.4}))
    validation = {ref.question_id for ref in plan.validation}
    assert 5 < len(validation) < 20
    assert len(plan.train) + plan.left_out + len(validation) == len(kinds)
    assert all(ref.is_mixed for ref in plan.train)
    assert not validation & {ref.question_id for ref in plan.train}
    assert not all(ref.is_mixed for ref in plan.validation)
    other = plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_share": 0.6}))
    assert validation < {ref.question_id for ref in other.validation}
    assert plan.digest != other.digest


def test_a_validation_set_of_its_own_and_questions_that_both_ask(make_labels: MakeLabels) -> None:
    data, validation = make_labels(MIXED), make_labels(MIXED[:6], name="validation", first=20)
    plan = plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_data": str(validation)}))
    assert len(plan.validation) == 6
    assert plan.in_both == 4
    assert len(plan.train) == 20
    few = plan_training(
        parse_config(TrainRewardConfig, {"data": str(data), "validation_data": str(validation), "limit_questions": 5})
    )
    assert few.train == plan.train[:5]
    assert (few.per_batch, few.updates) == (5, 10)


@pytest.mark.parametrize(
    ("kinds", "manifest", "settings", "message"),
    [
        (["rrr"] * 8, {}, {}, "no question has both right and wrong candidates, so there is nothing to learn"),
        (MIXED, {"rollouts": 0}, {}, "use training.objective=outcome, or annotate with rollouts >= 1"),
        (MIXED, {"rollouts": 0}, {"training": {"objective": "bce"}}, "training.objective bce: it needs labels"),
        (MIXED, {"candidates": 4}, {}, "3 candidates of question question-0 in a row, expected 4"),
        (MIXED, {"hidden_size": 48}, {"training": {"init": "INIT"}}, "its hidden size is 32, but data"),
        (MIXED, {"reasoner": {"source": "INIT", "fingerprint": "x"}}, {}, "was annotated with x; set reasoner="),
        (MIXED, {}, {"validation_share": 0.001}, "none of 0 validation questions has right and wrong candidates"),
        (MIXED, {}, {"workers": 16, "limit_questions": 2}, "2 have right and wrong candidates, and 16 are needed"),
        (MIXED, {}, {"training": {"init": "nowhere/at/all"}}, "nowhere/at/all: no such directory"),
    ],
)
def test_what_cannot_be_trained(
    make_labels: MakeLabels,
    tiny_checkpoint: Path,
    kinds: list[str],
    manifest: dict[str, Any],
    settings: dict[str, Any],
    message: str,
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        return str(tiny_checkpoint) if value == "INIT" else value

    data = make_labels(kinds, **filled(manifest))
    with pytest.raises(UserError) as caught:
        plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_share": 0.4, **filled(settings)}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_labels_are_counted_and_refused_unless_allowed(make_labels: MakeLabels) -> None:
    data, validation = make_labels(MIXED), make_labels(MIXED[:6], name="validation", first=40)
    config = {"data": str(data), "validation_data": str(validation)}
    whole = plan_training(parse_config(TrainRewardConfig, config))
    assert "missing" not in whole.describe()
    (data / "shards" / Shard(PER_SHARD, 2 * PER_SHARD, 0, CANDIDATES).file_name()).unlink()
    with pytest.raises(UserError, match=r"^data .*: the labels of 4 of 24 questions are not in .*first is number 4"):
        plan_training(parse_config(TrainRewardConfig, config))
    some = plan_training(parse_config(TrainRewardConfig, {**config, "allow_missing": True}))
    assert len(some.train) == len(whole.train) - PER_SHARD
    assert some.describe().endswith("; the labels of 4 questions are missing")
    (validation / "shards" / Shard(PER_SHARD, 6, 0, CANDIDATES).file_name()).unlink()
    with pytest.raises(UserError, match=r"^validation_data .*: the labels of 2 of 6 questions are not in"):
        plan_training(parse_config(TrainRewardConfig, {**config, "data": str(make_labels(MIXED, name="again"))}))


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({}, [0.5, 1.5], r"the labels \[0.5, 1.5\], and a label is a share of right completions, from 0 to 1"),
        ({}, [-0.1, 1.0], "a share of right completions"),
        ({}, [float("nan"), 1.0], "a share of right completions"),
        ({"rollouts": 0}, [0.5, float("nan")], "a share of right completions"),
        ({}, [0.5], "1 labels of 2 latent steps, but labels.json says 2 completions and 2 steps"),
        ({"latent_steps": 1}, [0.5, 1.0], "2 latent steps, but labels.json says 2 completions and 1 steps"),
        ({"hidden_size": 16}, [0.5, 1.0], "latents of width 32, but labels.json says 16"),
    ],
)
def test_labels_that_are_none_and_a_manifest_of_other_rows(
    make_labels: MakeLabels, changes: dict[str, Any], labels: list[float], message: str
) -> None:
    data = make_labels(MIXED, **changes)
    file = data / "shards" / Shard(0, PER_SHARD, 0, CANDIDATES).file_name()
    rows = pq.read_table(file).to_pylist()
    rows[1]["labels"] = labels
    pq.write_table(pa.Table.from_pylist(rows, schema=LABEL_SCHEMA), file)
    settings = {"data": str(data), "validation_share": 0.4, "training": {"objective": "outcome"}}
    with pytest.raises(UserError, match=message) as refused:
        plan_training(parse_config(TrainRewardConfig, settings))
    assert "\n" not in str(refused.value)


def test_without_completions_only_last_steps_are_labelled(make_labels: MakeLabels) -> None:
    data = make_labels(MIXED, rollouts=0)
    for file in (data / "shards").iterdir():
        rows = pq.read_table(file).to_pylist()
        pq.write_table(
            pa.Table.from_pylist(
                [{**row, "labels": row["labels"] and [float("nan"), row["labels"][-1]]} for row in rows],
                schema=LABEL_SCHEMA,
            ),
            file,
        )
    settings = {"data": str(data), "validation_share": 0.4, "training": {"objective": "outcome"}}
    assert plan_training(parse_config(TrainRewardConfig, settings)).train


def test_outcome_labels_do_without_rollouts(make_labels: MakeLabels) -> None:
    data = make_labels(MIXED, rollouts=0)
    config = {"data": str(data), "validation_share": 0.4, "training": {"objective": "outcome"}}
    assert plan_training(parse_config(TrainRewardConfig, config)).train


def test_validation_of_another_reasoner(make_labels: MakeLabels) -> None:
    data = make_labels(MIXED)
    other = make_labels(MIXED, name="other", reasoner={"source": "elsewhere", "fingerprint": "y"})
    with pytest.raises(UserError, match=r"validation_data: its trajectories come from elsewhere \(y\)"):
        plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_data": str(other)}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "x", "training": {"objective": "contrastve"}}, "did you mean 'contrastive'?"),
        ({"data": "x", "training": {"learnig_rate": 1}}, "unknown key 'training.learnig_rate'"),
        ({"data": "x", "workers": 3}, "workers=3 does not divide training.questions_per_batch=16"),
        ({}, "data: missing"),
        ({"data": "x", "training": {"adam_betas": [0.9, 1.2]}}, "training.adam_betas.1: input should be less than 1"),
    ],
)
def test_a_wrong_configuration(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_config(TrainRewardConfig, settings)
    assert message in str(caught.value)


def test_the_shipped_configuration_and_what_decides_about_weights(tmp_path: Path) -> None:
    config = load_config(TrainRewardConfig, Path(__file__).parents[4] / "tune_configs" / "train_rm_tiny.yaml")
    save_config(config, tmp_path / "config.yaml")
    assert load_config(TrainRewardConfig, tmp_path / "config.yaml") == config
    for overrides, key in (
        (["tracking.experiment=other", "max_failures=1"], None),
        (["training.seed=7"], "training.seed"),
        (["data=y"], "data"),
    ):
        assert config.same_weights(load_config(TrainRewardConfig, tmp_path / "config.yaml", overrides)) == key


def test_a_run_directory_belongs_to_one_training(make_labels: MakeLabels, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"data": str(make_labels(MIXED)), "validation_share": 0.4}))
    out = tmp_path / "out"
    out.mkdir()
    save_config(load_config(TrainRewardConfig, file, ["training.seed=3"]), out / "config.yaml")
    (out / "plan.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds a training with another training\.seed; choose another directory"):
        train_reward_model(load_config(TrainRewardConfig, file), out, Console(file=io.StringIO()))
    with pytest.raises(UserError, match=r"holds a training with another data \(the labelled sets have changed\)"):
        train_reward_model(load_config(TrainRewardConfig, file, ["training.seed=3"]), out, Console(file=io.StringIO()))


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    make_labels: MakeLabels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "config.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump({"data": str(make_labels(MIXED)), "validation_share": 0.4}))
    before = sorted(tmp_path.rglob("*"))
    assert main(["train-rm", str(file), "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "training questions x 3 candidates" in said
    assert "objective contrastive, seed 0" in " ".join(said.split())
    assert sorted(tmp_path.rglob("*")) == before
    assert not ray.is_initialized()
    # What another training has begun there is refused by a dry run too.
    out.mkdir()
    save_config(load_config(TrainRewardConfig, file, ["training.seed=3"]), out / "config.yaml")
    (out / "plan.json").write_text("{}")
    assert main(["train-rm", str(file), "--out", str(out), "--dry-run"]) == 2
    assert "another training.seed" in capsys.readouterr().err


def test_questions_are_read_whole_and_in_order(make_labels: MakeLabels) -> None:
    kinds = [*MIXED[:5], "rwf", "www"]
    data = make_labels(kinds)
    files = sorted(str(file) for file in (data / "shards").iterdir())
    addresses = [(files[1], "question-5"), (files[0], "question-2"), (files[1], "question-6"), (files[1], "question-4")]
    questions = questions_of(read_questions(addresses, CANDIDATES), CANDIDATES, lambda text: [len(text)])
    assert [question.question_id for question in questions] == [name for _, name in addresses]
    assert questions[1].prompt == (len("ann has 2 pens ?"),)
    right, wrong, failed = questions[0].candidates
    assert (right.correct, wrong.correct, failed.correct) == (True, False, False)
    assert (right.answer, wrong.answer, failed.answer) == ("7", "8", None)
    assert right.latents is not None
    assert right.latents.shape == (STEPS, WIDTH)
    assert float(right.latents[0, 0]) == 5.0
    assert wrong.labels is not None
    assert wrong.labels.tolist() == [0.5, 0.0]
    assert wrong.answer_ids == (4, 6)
    assert failed.failed
    assert failed.latents is None
    assert all(candidate.latents is None for candidate in questions[2].candidates)


def test_a_shard_that_is_there_twice_counts_once(make_labels: MakeLabels) -> None:
    data = make_labels(MIXED)
    shards = data / "shards"
    first = Shard(0, PER_SHARD, 0, CANDIDATES).file_name()
    rows = [row for at in range(2) for row in rows_of(at, MIXED[at])]
    pq.write_table(pa.Table.from_pylist(rows, schema=LABEL_SCHEMA), shards / Shard(0, 2, 0, CANDIDATES).file_name())
    plan = plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_share": 0.4}))
    refs = [*plan.train, *plan.validation]
    assert len({ref.question_id for ref in refs}) == len(refs) == len(MIXED)
    assert {question for ids in by_file(refs).values() for question in ids} == {ref.question_id for ref in refs}
    assert (shards / first).is_file()


def test_training_starts_from_a_reasoner_or_a_latent_rm(
    make_labels: MakeLabels, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    data = make_labels(MIXED)
    plan = plan_training(parse_config(TrainRewardConfig, {"data": str(data), "validation_share": 0.4}))
    job = RewardJob.of(plan)
    first = job.new_model()
    assert all(parameter.requires_grad for parameter in first.parameters())
    first.save(plan.reasoner, tmp_path / "rm", RewardCard())
    assert is_latent_rm(str(tmp_path / "rm"))
    assert not is_latent_rm(str(tiny_checkpoint))
    again = plan_training(
        parse_config(
            TrainRewardConfig, {"data": str(data), "validation_share": 0.4, "training": {"init": str(tmp_path / "rm")}}
        )
    )
    model: LatentRewardModel = RewardJob.of(again).new_model()
    own = dict(first.named_parameters())
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        np.testing.assert_array_equal(parameter.detach().numpy(), own[name].detach().numpy())


def test_layers_of_any_width_can_be_trained_on(make_labels: MakeLabels, tmp_path: Path) -> None:
    # Wide layers are packed where models are only applied, and packed weights get no gradients.
    shape = {"hidden_size": 256, "intermediate_size": 512}
    wide = save_checkpoint_of(tmp_path / "wide", "llama", {"feedback": "identity"}, **shape)
    reasoner = Checkpoint.open(str(wide))
    LatentRewardModel.from_reasoner(reasoner, seed=0).save(reasoner, tmp_path / "rm", RewardCard())
    job = RewardJob.of(
        plan_training(parse_config(TrainRewardConfig, {"data": str(make_labels(MIXED)), "validation_share": 0.4}))
    )
    model = replace(job, start=str(tmp_path / "rm")).new_model()
    assert model.state_dict().keys() == LatentRewardModel.from_reasoner(reasoner, seed=0).state_dict().keys()
    model(model.embed(torch.arange(4)[None]), torch.arange(4)[None], DynamicCache()).sum().backward()
    assert all(weight.grad is not None for name, weight in model.named_parameters() if "embed" not in name)
