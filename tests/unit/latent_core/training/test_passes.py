import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from latent_core.tasks.word_problems import vocabulary
from latent_core.training.data import Batch, batches, encode
from latent_core.training.model import build_model, number_features
from latent_core.training.passes import feed_forward_dropout, latent_pass, written_pass
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer

STEPS = 6


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(vocabulary(), 128)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return build_model(ArchitectureSettings(width=40, layers=2, heads=2), tokenizer).eval()


@pytest.fixture
def batch(tokenizer: PreTrainedTokenizerFast) -> Batch:
    return next(batches("train", 8, 1, 0, tokenizer, STEPS))


@torch.no_grad()
def plain_latent_logits(model: GPT2LMHeadModel, batch: Batch, row: int) -> torch.Tensor:
    """The answer's logits of one unpadded row, everything recomputed from the embeddings at every step."""
    embed = model.transformer.wte
    sequence = embed(batch.prompt[row][batch.mask[row].bool()])[None]
    for _ in range(STEPS):
        hidden = model.transformer(inputs_embeds=sequence, use_cache=False).last_hidden_state
        sequence = torch.cat([sequence, hidden[:, -1:]], dim=1)
    behind = torch.tensor([model.config.latent_end_id, *batch.answer[row, :-1].tolist()])
    sequence = torch.cat([sequence, embed(behind)[None]], dim=1)
    return model(inputs_embeds=sequence, use_cache=False).logits[0, -3:]


def test_latent_pass_equals_a_plain_loop_without_cache_and_padding(model: GPT2LMHeadModel, batch: Batch) -> None:
    assert (batch.mask == 0).any()
    with torch.no_grad():
        answer = latent_pass(model, batch).answer
    for row in range(len(batch)):
        torch.testing.assert_close(answer[row], plain_latent_logits(model, batch, row), atol=2e-5, rtol=1e-4)


def test_written_pass_ignores_padding(model: GPT2LMHeadModel, batch: Batch) -> None:
    with torch.no_grad():
        together = written_pass(model, batch)
        for row in range(len(batch)):
            alone = written_pass(model, batch.rows(row, row + 1))
            torch.testing.assert_close(together.thoughts[row], alone.thoughts[0], atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(together.answer[row], alone.answer[0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_disturbances_act_on_latent_steps_only(model: GPT2LMHeadModel, batch: Batch) -> None:
    clean = latent_pass(model, batch)
    for disturbed in (latent_pass(model, batch, dropout=0.2), latent_pass(model, batch, noise=0.5)):
        # The first thought is read off the prompt, before any latent step.
        torch.testing.assert_close(disturbed.thoughts[:, 0], clean.thoughts[:, 0])
        assert not torch.allclose(disturbed.thoughts[:, 1], clean.thoughts[:, 1])


def test_noise_comes_from_the_generator(model: GPT2LMHeadModel, batch: Batch) -> None:
    first, again = (latent_pass(model, batch, noise=0.5, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.answer, again.answer)


def test_feed_forward_dropout_leaves_the_model_as_it_was(model: GPT2LMHeadModel) -> None:
    before = [(module.p, module.training) for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    with feed_forward_dropout(model, 0.3):
        active = [
            name for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout) and module.training
        ]
    assert active == ["transformer.h.0.mlp.dropout", "transformer.h.1.mlp.dropout"]
    after = [(module.p, module.training) for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert after == before


def test_encoding_repeats_the_last_value_and_pads_on_the_left(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = encode(["Ann has 1 pens .", "Ann has 1 pens . She buys 2 ."], [[7, 8], [3, 4, 5]], tokenizer, STEPS)
    assert tokenizer.convert_ids_to_tokens(batch.values[0].tolist()) == ["7", "8", "8", "8", "8", "8"]
    assert tokenizer.convert_ids_to_tokens(batch.answer[1].tolist()) == ["###", "5", "<|endoftext|>"]
    assert (batch.prompt[:, -1] == tokenizer.convert_tokens_to_ids("<|start-latent|>")).all()
    assert batch.mask.tolist() == [[0] * 4 + [1] * 6, [1] * 10]
    assert batch.positions[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert batch.rows(0, 1).prompt.shape == (1, 6)


def test_number_features_have_unit_rms_and_turn_addition_into_rotation() -> None:
    features = number_features(torch.tensor([3.0, 5.0, 103.0, 105.0]), (10.0, 64.0))
    torch.testing.assert_close(features.square().mean(1), torch.ones(4))
    torch.testing.assert_close(features[0] @ features[1], features[2] @ features[3], atol=1e-4, rtol=1e-4)
