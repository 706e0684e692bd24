"""Finding LatentRMs, and refusing what is none, or fits another reasoner, in one line that says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.checkpoint import CARD_FILE, RewardCard, RewardCheckpoint
from latent_core.reward.model import LatentRewardModel
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import LATENT, build_tokenizer

Copy = Callable[[], Path]
MakeReasoner = Callable[..., Checkpoint]
WORDS = ("ann", "ben", "eva", "has", "buys", "sells", "pens", "cards", ".", "?", "###", *map(str, range(20)))


@pytest.fixture
def copy(tiny_reward_checkpoint: Path, tmp_path: Path) -> Copy:
    """Makes copies of the tiny LatentRM that may be spoilt."""
    count = iter(range(100))
    return lambda: Path(shutil.copytree(tiny_reward_checkpoint, tmp_path / f"copy{next(count)}"))


@pytest.fixture
def make_reasoner(tmp_path: Path) -> MakeReasoner:
    """Makes reasoners of other widths and vocabularies."""

    def make(words: tuple[str, ...] = WORDS, width: int = 32) -> Checkpoint:
        tokenizer = build_tokenizer([*words], 96)
        settings = ArchitectureSettings(width=width, layers=1, heads=2, positions=96, number_periods=(10.0,))
        directory = tmp_path / f"reasoner-{width}-{len(words)}"
        save_checkpoint(build_model(settings, tokenizer), tokenizer, directory, torch.float32)
        return Checkpoint.open(str(directory))

    return make


def change(directory: Path, file: str = "config.json", **changes: Any) -> None:
    """Overwrite keys of a JSON file; None removes one."""
    content = {**json.loads((directory / file).read_text()), **changes}
    (directory / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def line_of(call: Callable[[], object], directory: Path) -> str:
    """The message with which something is refused: one line that names the checkpoint."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert f"checkpoint {directory}: " in message
    return message.split(f"checkpoint {directory}: ")[1]


def refusal(directory: Path) -> str:
    return line_of(lambda: RewardCheckpoint.open(str(directory)), directory)


def test_what_was_saved_is_found(tiny_reward_checkpoint: Path, tiny_checkpoint: Path) -> None:
    reward, reasoner = RewardCheckpoint.open(str(tiny_reward_checkpoint)), Checkpoint.open(str(tiny_checkpoint))
    assert reward.card == RewardCard(score_answer=True, objective="bce", seed=1)
    assert (reward.context_length, reward.end_id) == (96, reasoner.end_id)
    assert reward.end_of_text_id == reasoner.tokenizer.eos_token_id
    assert reward.prompt_ids("ann has 3 pens ?") == reasoner.prompt_ids("ann has 3 pens ?")
    assert reward.fingerprint != reasoner.fingerprint
    reward.check_fits(reasoner)


def test_a_released_one_has_no_card(copy: Copy) -> None:
    directory = copy()
    (directory / CARD_FILE).unlink()
    assert RewardCheckpoint.open(str(directory)).card == RewardCard(score_answer=False)


@pytest.mark.parametrize("content", ["{", "[]", '{"score_answers": true}', '{"score_answer": "perhaps"}'])
def test_a_card_that_is_not_valid(copy: Copy, content: str) -> None:
    directory = copy()
    (directory / CARD_FILE).write_text(content)
    assert CARD_FILE in refusal(directory)


def test_a_reasoner_is_no_latent_rm(tiny_checkpoint: Path) -> None:
    message = refusal(tiny_checkpoint)
    assert message.startswith("'architectures' in config.json names COCONUTGPT2, which is no known LatentRM; known: ")
    assert "COCONUTGPT2ForTokenClassification" in message


def test_a_latent_rm_is_no_reasoner(tiny_reward_checkpoint: Path) -> None:
    message = line_of(lambda: Checkpoint.open(str(tiny_reward_checkpoint)), tiny_reward_checkpoint)
    assert message.startswith(
        "'architectures' in config.json names COCONUTGPT2ForTokenClassification, which is no known latent reasoner"
    )


@pytest.mark.parametrize("architectures", [None, [], ["GPT2ForTokenClassification"], ["BertModel"]])
def test_other_architectures(copy: Copy, architectures: list[str] | None) -> None:
    directory = copy()
    change(directory, architectures=architectures)
    assert f"names {', '.join(architectures or []) or 'nothing'}, which is no known LatentRM" in refusal(directory)


def test_another_backbone(copy: Copy) -> None:
    directory = copy()
    change(directory, model_type="thinker")
    assert refusal(directory).startswith("model_type 'thinker' in config.json cannot be loaded: ")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda directory: (directory / "config.json").unlink(), "the directory has no config.json"),
        (lambda directory: (directory / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda directory: (directory / "model.safetensors").unlink(), "no .safetensors weights in"),
        (lambda directory: (directory / "model.safetensors").write_bytes(b"x" * 99), "model.safetensors are damaged"),
        (lambda directory: (directory / "tokenizer.json").write_text("{"), "tokenizer cannot be loaded"),
    ],
    ids=["no config", "broken config", "no weights", "broken weights", "broken tokenizer"],
)
def test_files_that_are_missing_or_broken(copy: Copy, spoil: Callable[[Path], Any], message: str) -> None:
    directory = copy()
    spoil(directory)
    assert message in refusal(directory)


def test_a_config_that_contradicts_the_tokenizer(copy: Copy) -> None:
    """The end token stands between latents and answer: with another one every answer would be scored wrongly."""
    directory = copy()
    change(directory, latent_end_id=5)
    assert refusal(directory).startswith("config.json says latent_end_id 5, but its tokenizer has <|end-latent|> at ")


def test_a_tokenizer_without_the_end_token(copy: Copy) -> None:
    directory = copy()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_text((directory / name).read_text().replace("<|end-latent|>", "<|x|>"))
    assert refusal(directory).startswith("its tokenizer lacks <|end-latent|>")


def test_no_such_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith("no such directory")


def misfit(reward: Path, reasoner: Checkpoint) -> str:
    message = line_of(lambda: RewardCheckpoint.open(str(reward)).check_fits(reasoner), reward)
    assert reasoner.source in message
    assert message.endswith("use a LatentRM that was trained for this reasoner")
    return message


def test_another_width(tiny_reward_checkpoint: Path, make_reasoner: MakeReasoner) -> None:
    message = misfit(tiny_reward_checkpoint, make_reasoner(width=16))
    assert message.startswith("it reads latents of width 32, but ")
    assert "thinks in width 16" in message


def test_other_special_token_ids(tiny_reward_checkpoint: Path, make_reasoner: MakeReasoner) -> None:
    """A word more moves the special tokens behind it."""
    reasoner = make_reasoner(words=(*WORDS, "cats"))
    message = misfit(tiny_reward_checkpoint, reasoner)
    assert message.startswith("its tokenizer has <|start-latent|> at ")


def test_a_special_token_is_missing(copy: Copy, tiny_checkpoint: Path) -> None:
    directory = copy()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_text((directory / name).read_text().replace(LATENT, "<|x|>"))
    assert "has <|latent|> at None, but" in misfit(directory, Checkpoint.open(str(tiny_checkpoint)))


def test_another_vocabulary_of_the_same_size(tiny_reward_checkpoint: Path, make_reasoner: MakeReasoner) -> None:
    turned = ("ben", "ann", *WORDS[2:])
    assert misfit(tiny_reward_checkpoint, make_reasoner(words=turned)).startswith("its vocabulary is not that of ")


def test_fewer_embeddings_than_tokens(copy: Copy, tiny_checkpoint: Path) -> None:
    directory = copy()
    change(directory, vocab_size=10)
    assert "its vocabulary is not that of " in misfit(directory, Checkpoint.open(str(tiny_checkpoint)))


def test_the_fingerprint_sees_the_head(
    tiny_reward_checkpoint: Path, tiny_checkpoint: Path, tmp_path: Path, copy: Copy
) -> None:
    reasoner = Checkpoint.open(str(tiny_checkpoint))
    fingerprints = {RewardCheckpoint.open(str(tiny_reward_checkpoint)).fingerprint}
    for seed in (1, 2):
        LatentRewardModel.from_reasoner(reasoner, seed).save(reasoner, tmp_path / str(seed), RewardCard())
        fingerprints.add(RewardCheckpoint.open(str(tmp_path / str(seed))).fingerprint)
    assert len(fingerprints) == 3
    assert RewardCheckpoint.open(str(copy())).fingerprint in fingerprints
