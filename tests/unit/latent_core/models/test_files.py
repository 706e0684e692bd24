"""The files of a checkpoint, as the hub gives them."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from checkpoints import save_checkpoint_of
from huggingface_hub.utils import filter_repo_objects
from tokenizers import pre_tokenizers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

from latent_core.models.checkpoint import Checkpoint
from latent_core.models.files import _HUB_PATTERNS, fingerprint
from latent_core.reward.checkpoint import RewardCheckpoint
from latent_core.selection.calibration import ANSWER_CALIBRATION_FILE, CALIBRATION_FILE, VoteCalibration


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose folders are what the hub has; a download leaves out what was not asked for."""

    def download(hub_id: str, allow_patterns: list[str], **_: Any) -> str:
        repository, copy = tmp_path / "hub" / hub_id, tmp_path / "cache" / hub_id
        names = [str(file.relative_to(repository)) for file in repository.rglob("*") if file.is_file()]
        copy.mkdir(parents=True, exist_ok=True)
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            shutil.copy(repository / name, copy / name)
        return str(copy)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return tmp_path / "hub"


def test_a_reasoner_comes_without_what_nobody_reads(hub: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, hub / "owner" / "reasoner")
    (hub / "owner" / "reasoner" / "pytorch_model.bin").write_bytes(b"x")
    found = Checkpoint.open("owner/reasoner")
    assert found.fingerprint == Checkpoint.open(str(tiny_checkpoint)).fingerprint
    assert not (found.directory / "pytorch_model.bin").exists()


def test_a_latent_rm_comes_with_all_it_says_about_itself(hub: Path, tiny_reward_checkpoint: Path) -> None:
    """Without its card it would pass for one that reads no answers, without calibrations for one that has none."""
    repository = hub / "owner" / "rm"
    shutil.copytree(tiny_reward_checkpoint, repository)
    for name in (CALIBRATION_FILE, ANSWER_CALIBRATION_FILE):
        (repository / name).write_text(VoteCalibration(temperature=0.5).model_dump_json())
    found, local = RewardCheckpoint.open("owner/rm"), RewardCheckpoint.open(str(tiny_reward_checkpoint))
    assert found.card == local.card
    assert found.card.score_answer
    assert found.fingerprint == local.fingerprint
    assert all((found.directory / name).is_file() for name in (CALIBRATION_FILE, ANSWER_CALIBRATION_FILE))


LATENT_TOKENS = ["<|start-latent|>", "<|end-latent|>", "<|latent|>"]


def save_old_tokenizer(directory: Path) -> dict[str, int]:
    """Write a tokenizer as it was done before tokenizer.json; returns the ids of its latent tokens."""
    for file in directory.glob("tokenizer*"):
        file.unlink()
    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary["<|endoftext|>"] = len(vocabulary)
    added = {token: len(vocabulary) + number for number, token in enumerate(LATENT_TOKENS)}
    special = dict.fromkeys(("eos_token", "bos_token", "unk_token"), "<|endoftext|>")
    for name, content in (
        ("vocab.json", vocabulary),
        ("added_tokens.json", added),
        # In another order than that of their ids.
        ("special_tokens_map.json", {**special, "additional_special_tokens": LATENT_TOKENS[::-1]}),
        ("tokenizer_config.json", {**special, "tokenizer_class": "GPT2Tokenizer"}),
    ):
        (directory / name).write_text(json.dumps(content))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    return added


def test_added_tokens_of_old_tokenizers_come_along(hub: Path) -> None:
    repository = save_checkpoint_of(hub / "owner" / "old", "gpt2", {}, vocab_size=320)
    added = save_old_tokenizer(repository)
    found = Checkpoint.open("owner/old")
    assert {token: found.tokenizer.get_vocab()[token] for token in added} == added
    assert found.prompt_ids("a")[-1] == added["<|start-latent|>"]
    assert found.fingerprint == Checkpoint.open(str(repository)).fingerprint
    # Without them the same tokens have other ids.
    (repository / "added_tokens.json").unlink()
    assert Checkpoint.open(str(repository)).prompt_ids("a")[-1] != added["<|start-latent|>"]
    assert fingerprint(repository, found.weights.files) != found.fingerprint


@pytest.mark.parametrize("name", ["vocab.txt", "vocab.bpe", "added_tokens.json", "generation_config.json"])
def test_files_that_nobody_reads_leave_the_fingerprint_alone(tmp_path: Path, tiny_checkpoint: Path, name: str) -> None:
    """Newer tokenizers list their added tokens themselves; what lies beside them is a relic."""
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "one"))
    settings = directory / "tokenizer_config.json"
    listed = {**json.loads(settings.read_text()), "added_tokens_decoder": {}}
    settings.write_text(json.dumps(listed))
    before = Checkpoint.open(str(directory)).fingerprint
    (directory / name).write_text('{"eos_token_id": [0, 7]}')
    assert Checkpoint.open(str(directory)).fingerprint == before


def test_fingerprints_are_those_of_former_versions() -> None:
    """Stores name their trajectories by them."""
    found = {name: Checkpoint.open(f"bundled:{name}").fingerprint for name in ("coconut-tiny", "coconut-paths")}
    assert found == {"coconut-tiny": "824dced9b85fea70", "coconut-paths": "04424e13c6f4e664"}
    assert RewardCheckpoint.open("bundled:latent-rm-tiny").fingerprint == "422a2a6aadc7f5bd"


def test_whatever_a_tokenizer_of_a_causal_model_reads_comes_along() -> None:
    names = {"added_tokens.json", "special_tokens_map.json", "tokenizer_config.json", "generation_config.json"}
    for model_type, class_name in TOKENIZER_MAPPING_NAMES.items():
        if class_name is None or model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            continue
        try:
            names.update((tokenizer_class_from_name(class_name).vocab_files_names or {}).values())
        except ImportError:
            # Of a package that is not installed.
            continue
    assert len(names) > 10
    assert names - set(filter_repo_objects(names, allow_patterns=list(_HUB_PATTERNS))) == set()
