import pytest
from transformers import PreTrainedTokenizerFast

from latent_core.tasks.word_problems import vocabulary
from latent_core.training.families import FAMILIES
from latent_core.training.families.word_problems import encode
from latent_core.training.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(vocabulary(), 128)


def test_encoding_repeats_the_last_value_and_pads_on_the_left(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = encode(["Ann has 1 pens .", "Ann has 1 pens . She buys 2 ."], [[7, 8], [3, 4, 5]], tokenizer, 6)
    assert tokenizer.convert_ids_to_tokens(batch.thoughts[0].tolist()) == ["7", "8", "8", "8", "8", "8"]
    assert tokenizer.convert_ids_to_tokens(batch.answer[1].tolist()) == ["###", "5", "<|endoftext|>"]
    assert (batch.prompt[:, -1] == tokenizer.convert_tokens_to_ids("<|start-latent|>")).all()
    assert batch.mask.tolist() == [[0] * 4 + [1] * 6, [1] * 10]
    assert batch.positions[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert batch.rows(0, 1).prompt.shape == (1, 6)


def test_batches_are_fresh_and_repeatable(tokenizer: PreTrainedTokenizerFast) -> None:
    family = FAMILIES["word_problems"]
    first, second = family.batches("train", 4, 2, 3, tokenizer, 6)
    [again] = family.batches("train", 4, 1, 3, tokenizer, 6)
    assert first.thoughts.tolist() == again.thoughts.tolist()
    assert first.thoughts.tolist() != second.thoughts.tolist()
    assert first.guide is None
