"""Confidence in tokens against what a softmax in double precision says, to the bit the same in every batch."""

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GraniteConfig, PreTrainedModel

from latent_core.models.output_head import (
    OutputHead,
    largest_output,
    largest_output_with_confidence,
    pieces_of,
)
from latent_core.models.token_confidence import TokenConfidence

ROWS = 70


def expected(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy, in double precision."""
    logs = torch.log_softmax(logits.double(), dim=-1)
    entropy = -torch.special.xlogy(logs.exp(), logs.exp()).sum(dim=-1)
    return logs.gather(1, tokens[:, None]).squeeze(1).float(), entropy.float()


def drawn(vocabulary: int, scale: float, rows: int = ROWS) -> Tensor:
    return scale * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(vocabulary))


@pytest.mark.parametrize("scale", [0.0, 0.1, 3.0, 50.0])
@pytest.mark.parametrize("vocabulary", [2, 64, 97, 5003])
def test_it_is_that_of_a_softmax(vocabulary: int, scale: float) -> None:
    logits = drawn(vocabulary, scale)
    tokens = torch.arange(ROWS) % vocabulary
    found = TokenConfidence.of_logits(logits, tokens)
    logprob, entropy = expected(logits, tokens)
    torch.testing.assert_close(found.logprob, logprob, atol=2e-5, rtol=2e-6)
    torch.testing.assert_close(found.entropy, entropy, atol=2e-5, rtol=2e-5)


def test_tokens_that_cannot_be_written_take_no_part() -> None:
    logits = drawn(97, 2.0)
    logits[:, 40:] = float("-inf")
    tokens = logits.argmax(dim=-1)
    found, wanted = TokenConfidence.of_logits(logits, tokens), TokenConfidence.of_logits(logits[:, :40], tokens)
    torch.testing.assert_close(found.logprob, wanted.logprob)
    torch.testing.assert_close(found.entropy, wanted.entropy)


@pytest.mark.parametrize("vocabulary", [97, 2048, 5003])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_head_in_pieces_is_that_of_all_its_logits(vocabulary: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head = nn.Linear(48, vocabulary, bias=False, dtype=dtype).requires_grad_(False)
    hidden = (8 * torch.randn(ROWS, 48)).to(dtype)
    tokens, found = largest_output_with_confidence(pieces_of(head), hidden)
    assert torch.equal(tokens, largest_output(pieces_of(head), hidden))
    logprob, entropy = expected(head(hidden), tokens)
    close = {"atol": 3e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(found.logprob, logprob, **close)
    torch.testing.assert_close(found.entropy, entropy, **close)


@pytest.mark.parametrize("vocabulary", [35, 97, 2048, 5003])
def test_a_row_has_the_same_bits_beside_any_others(vocabulary: int) -> None:
    logits = drawn(vocabulary, 3.0)
    tokens = logits.argmax(dim=-1)
    whole = TokenConfidence.of_logits(logits, tokens)
    generator = torch.Generator().manual_seed(1)
    for rows in (*range(4, 20), 33, 64, 69):
        chosen = torch.randperm(ROWS, generator=generator)[:rows]
        some = TokenConfidence.of_logits(logits[chosen], tokens[chosen])
        assert torch.equal(some.logprob, whole.logprob[chosen]), rows
        assert torch.equal(some.entropy, whole.entropy[chosen]), rows


def test_many_rows_are_those_of_few() -> None:
    """Whole vocabularies are looked at some rows at a time."""
    logits = drawn(97, 3.0, rows=600)
    tokens = logits.argmax(dim=-1)
    whole, some = TokenConfidence.of_logits(logits, tokens), TokenConfidence.of_logits(logits[200:300], tokens[200:300])
    assert torch.equal(whole.logprob[200:300], some.logprob)


def test_a_class_that_scales_logits_has_the_confidence_of_its_own_logits() -> None:
    config = GraniteConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=4.0,
    )
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    head, hidden = OutputHead(model), 20 * torch.randn(6, 32)
    with torch.inference_mode():
        tokens, found = head.most_likely_with_confidence(hidden)
        assert torch.equal(tokens, head.most_likely(hidden))
        logprob, entropy = expected(model.get_output_embeddings()(hidden) / 4.0, tokens)
    torch.testing.assert_close(found.logprob, logprob, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy, entropy, atol=2e-5, rtol=1e-5)
