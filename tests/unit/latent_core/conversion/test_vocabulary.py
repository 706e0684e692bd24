"""Tokens get the ids that trainers gave them, and rows that do no harm."""

import pytest
import torch
from trainers import BASE_TOKENS, base_tokenizer

from latent_core.conversion.vocabulary import add_at, add_missing, grown, next_id
from latent_core.errors import UserError


def test_only_missing_tokens_are_added_in_order() -> None:
    tokenizer = base_tokenizer()
    assert add_missing(tokenizer, ["<|b|>", "ann", "<|a|>", "<|b|>"]) == ["<|b|>", "<|a|>"]
    assert tokenizer.convert_tokens_to_ids(["<|b|>", "<|a|>"]) == [BASE_TOKENS, BASE_TOKENS + 1]
    assert next_id(tokenizer) == BASE_TOKENS + 2
    assert add_missing(tokenizer, ["<|a|>"]) == []
    # They are special: no text but their own makes them, and decoding leaves them out.
    assert tokenizer("ann<|a|> A", add_special_tokens=False)["input_ids"][1] == BASE_TOKENS + 1
    assert tokenizer.decode([BASE_TOKENS], skip_special_tokens=True) == ""


def test_tokens_at_a_place() -> None:
    tokenizer = base_tokenizer()
    add_at("x", tokenizer, ["<|a|>", "<|b|>"], BASE_TOKENS + 2)
    wanted = ["<|unused-34|>", "<|unused-35|>", "<|a|>", "<|b|>"]
    assert tokenizer.convert_ids_to_tokens([*range(BASE_TOKENS, BASE_TOKENS + 4)]) == wanted
    with pytest.raises(UserError, match=r"its trainer has <\|c\|> at 3, where the tokenizer of --base has it at 38"):
        add_at("x", tokenizer, ["<|c|>"], 3)


def test_new_rows_are_means_and_old_ones_stay() -> None:
    weight, bias = torch.randn(6, 4), torch.randn(6)
    before = weight.clone()
    found = grown({"w": weight, "b": bias, "other": torch.ones(2)}, ["w", "b"], [5, 6], known=5)
    assert torch.equal(found["w"][:5], weight[:5])
    assert found["w"].shape == (7, 4)
    torch.testing.assert_close(found["w"][5:], weight[:5].mean(dim=0).expand(2, -1))
    torch.testing.assert_close(found["b"][5:], bias[:5].mean().expand(2))
    # The logit of a mean row is the mean of logits, which is never the largest.
    logits = found["w"] @ torch.randn(4)
    assert logits[6] < logits[:5].max()
    assert torch.equal(weight, before)


def test_half_precision_means_are_made_in_float32() -> None:
    weight = torch.full((5000, 1), 1.0, dtype=torch.bfloat16)
    assert grown({"w": weight}, ["w"], [5000])["w"][-1] == 1.0
