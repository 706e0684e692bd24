import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from latent_core.training.batch import Batch
from latent_core.training.families import FAMILIES, SyntheticFamily
from latent_core.training.model import build_model, number_features
from latent_core.training.passes import feed_forward_dropout, latent_pass, written_pass
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer

STEPS = 6


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    families = [one for one in (FAMILIES[name] for name in FAMILIES) if isinstance(one, SyntheticFamily)]
    return build_tokenizer(list(dict.fromkeys(word for family in families for word in family.vocabulary())), 128)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return build_model(ArchitectureSettings(width=40, layers=2, heads=2), tokenizer).eval()


@pytest.fixture
def batch(tokenizer: PreTrainedTokenizerFast) -> Batch:
    return next(FAMILIES["word_problems"].batches("train", 8, 1, 0, tokenizer, STEPS))


@pytest.fixture
def guided(tokenizer: PreTrainedTokenizerFast) -> Batch:
    return next(FAMILIES["path_finding"].batches("train", 8, 1, 0, tokenizer, 4))


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


@torch.no_grad()
def test_feed_forward_dropout_acts_there_alone_and_leaves_the_model_as_it_was(model: GPT2LMHeadModel) -> None:
    probe = torch.randn(4, 50, 40, generator=torch.Generator().manual_seed(0))
    block = model.transformer.h[0]
    before = block.mlp(probe)
    zeros = {}
    with feed_forward_dropout(model, 0.3):
        for name, module in model.named_modules():
            if name.endswith(("attn.c_proj", "mlp.c_proj", "mlp.c_fc", "ln_2")):
                width = module.nx if hasattr(module, "nx") else 40
                zeros[name] = float((module(torch.randn(2000, width)) == 0).float().mean())
    assert {name for name, share in zeros.items() if share > 0} == {
        f"transformer.h.{layer}.mlp.c_proj" for layer in (0, 1)
    }
    assert all(abs(share - 0.3) < 0.02 for share in zeros.values() if share)
    assert torch.equal(block.mlp(probe), before)
    assert not any(module.training for module in model.modules())


@torch.no_grad()
def test_feed_forward_dropout_draws_what_the_modules_of_the_architecture_would(model: GPT2LMHeadModel) -> None:
    probe, block = torch.randn(4, 50, 40, generator=torch.Generator().manual_seed(0)), model.transformer.h[0]
    torch.manual_seed(7)
    with feed_forward_dropout(model, 0.3):
        ours = block.mlp(probe)
    torch.manual_seed(7)
    block.mlp.dropout.p = 0.3
    block.mlp.dropout.train()
    theirs = block.mlp(probe)
    block.mlp.dropout.eval()
    assert torch.equal(ours, theirs)


@torch.no_grad()
def test_without_a_guide_the_reference_is_the_truth(model: GPT2LMHeadModel, batch: Batch) -> None:
    for prediction in (written_pass(model, batch), latent_pass(model, batch, noise=0.5)):
        assert prediction.taken is batch.thoughts
        assert prediction.answer_ids is batch.answer


@torch.no_grad()
def test_with_a_guide_what_the_disturbed_latents_decode_to_is_the_truth(model: GPT2LMHeadModel, guided: Batch) -> None:
    assert guided.guide is not None
    clean, noisy = latent_pass(model, guided), latent_pass(model, guided, noise=3.0)
    assert torch.equal(clean.taken, model.lm_head(clean.latents).argmax(-1))
    assert not torch.equal(noisy.taken, clean.taken)
    for prediction in (clean, noisy):
        assert torch.equal(prediction.answer_ids, guided.guide.answer(prediction.taken))


@torch.no_grad()
def test_each_row_can_draw_its_own_noise(model: GPT2LMHeadModel, batch: Batch) -> None:
    clean = latent_pass(model, batch)
    own = latent_pass(model, batch, noise=1.0, least_noise=0.0, generator=torch.Generator().manual_seed(0))
    shift = (own.latents[:, 1] - clean.latents[:, 1]).norm(dim=-1)
    levels = torch.rand(len(batch), generator=torch.Generator().manual_seed(0))
    assert shift[levels.argmin()] < shift[levels.argmax()]


def test_cutting_the_gradient_changes_no_prediction(model: GPT2LMHeadModel, batch: Batch) -> None:
    through, cut = latent_pass(model, batch), latent_pass(model, batch, gradient=False)
    assert torch.equal(through.answer, cut.answer)
    weight = model.transformer.h[-1].mlp.c_proj.weight
    gradients = [torch.autograd.grad(prediction.thoughts[:, 1].sum(), weight)[0] for prediction in (through, cut)]
    assert not torch.allclose(*gradients)


def test_number_features_have_unit_rms_and_turn_addition_into_rotation() -> None:
    features = number_features(torch.tensor([3.0, 5.0, 103.0, 105.0]), (10.0, 64.0))
    torch.testing.assert_close(features.square().mean(1), torch.ones(4))
    torch.testing.assert_close(features[0] @ features[1], features[2] @ features[3], atol=1e-4, rtol=1e-4)
