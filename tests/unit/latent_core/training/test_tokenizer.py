from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from latent_core.tasks.word_problems import vocabulary, word_problems
from latent_core.training.tokenizer import END_LATENT, LATENT, START_LATENT, build_tokenizer


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    directory: Path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(vocabulary(), 128).save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)


def test_a_prompt_becomes_words_numbers_and_the_start_token(reloaded: PreTrainedTokenizerBase) -> None:
    ids = reloaded("Ann has 12 pens . How many pens ?\n<|start-latent|>")["input_ids"]
    words = ["ann", "has", "12", "pens", ".", "how", "many", "pens", "?", START_LATENT]
    assert reloaded.convert_ids_to_tokens(ids) == words
    assert ids == reloaded("ANN HAS 12 pens. how many pens?<|start-latent|>", add_special_tokens=False)["input_ids"]


def test_special_tokens(reloaded: PreTrainedTokenizerBase) -> None:
    assert (reloaded.eos_token, reloaded.pad_token) == ("<|endoftext|>", "<|endoftext|>")
    latent = reloaded.convert_tokens_to_ids([START_LATENT, END_LATENT, LATENT])
    assert latent == [len(reloaded) - 3, len(reloaded) - 2, len(reloaded) - 1]
    assert reloaded("zebra 12345")["input_ids"] == [reloaded.unk_token_id] * 2


def test_an_answer_survives_the_way_through_tokens(reloaded: PreTrainedTokenizerBase) -> None:
    ids = reloaded("### 57 <|endoftext|>")["input_ids"]
    assert len(ids) == 3
    assert reloaded.decode(ids, skip_special_tokens=True).strip() == "### 57"


def test_no_problem_holds_an_unknown_word(reloaded: PreTrainedTokenizerBase) -> None:
    problems = word_problems("train", 200).problems
    texts = [text for problem in problems for text in (problem.question, " ".join(problem.steps), problem.answer)]
    assert all(reloaded.unk_token_id not in ids for ids in reloaded(texts)["input_ids"])
