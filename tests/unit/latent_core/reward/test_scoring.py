"""Scores against a plain forward pass: one row at a time, the library's own attention, no padding and no sharing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, LlamaConfig, LlamaForTokenClassification

from latent_core.attention.shared_prefix import SHARED_PREFIX_ATTENTION
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, Rewards, extend, read_prompts, score_candidates

TOLERANCE = 1e-5
PROMPTS = [[5, 9, 3], list(range(1, 20)), [7] * 33, [4, 2, 8, 1, 6]]
LATENT_LENGTHS = [4, 1, 2, 4, 3, 3, 4, 2]
ANSWERS = [[3, 1], [9], [2, 2, 2, 1], [8, 1], [6, 6, 1], [1], [4, 4, 4, 4], [7, 1]]
WIDTH, STEPS = 32, 4


def latents_of(rows: int, steps: int = STEPS, width: int = WIDTH, seed: int = 0) -> Tensor:
    return torch.randn(rows, steps, width, generator=torch.Generator().manual_seed(seed))


def candidates_of(latents: Tensor, lengths: Sequence[int], answers: Sequence[Sequence[int]] | None) -> CandidateBatch:
    if answers is None:
        return CandidateBatch(latents, torch.tensor(lengths))
    longest = max(len(ids) for ids in answers)
    tokens = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in answers])
    return CandidateBatch(latents, torch.tensor(lengths), tokens, torch.tensor([len(ids) for ids in answers]))


@torch.inference_mode()
def plain_rewards(plain: Any, end_id: int, prompt: Sequence[int], latents: Tensor, answer: Sequence[int]) -> Tensor:
    """The reward at every position behind the prompt: latents, end token and answer."""
    embed = plain.get_input_embeddings()
    written = embed(torch.tensor([[end_id, *answer]]))
    inputs = torch.cat([embed(torch.tensor([list(prompt)])), latents[None], written], dim=1)
    logits: Tensor = plain(inputs_embeds=inputs).logits
    return logits[0, len(prompt) :, 0]


@pytest.fixture(scope="module")
def plain(tiny_reward_checkpoint: Path) -> Any:
    return AutoModelForTokenClassification.from_pretrained(tiny_reward_checkpoint, num_labels=1).eval()


def score(model: LatentRewardModel, prompts: Sequence[Sequence[int]], candidates: CandidateBatch) -> Rewards:
    with torch.inference_mode():
        return score_candidates(model, prompts, candidates)


def assert_plain(model: LatentRewardModel, plain: Any, width: int = WIDTH) -> None:
    """Two candidates of four questions, of different lengths throughout."""
    latents = latents_of(8, width=width)
    # What lies beyond a row's length must not count.
    for row, length in enumerate(LATENT_LENGTHS):
        latents[row, length:] = 1e3
    aware = score(model, PROMPTS, candidates_of(latents, LATENT_LENGTHS, ANSWERS))
    blind = score(model, PROMPTS, candidates_of(latents, LATENT_LENGTHS, None))
    assert aware.answer is not None
    assert aware.answer_score is not None
    assert blind.answer is None
    assert blind.answer_score is None
    for row, (length, answer) in enumerate(zip(LATENT_LENGTHS, ANSWERS, strict=True)):
        expected = plain_rewards(plain, model.end_id, PROMPTS[row // 2], latents[row, :length], answer)
        own = expected[:length]
        # Rewards are of size 1 here, so that a position read wrongly shows.
        assert expected.std() > 0.02
        for rewards in (aware, blind):
            torch.testing.assert_close(rewards.steps[row, :length], own, atol=TOLERANCE, rtol=0)
            assert not rewards.steps[row, length:].any()
            torch.testing.assert_close(rewards.score[row], own.sum(), atol=STEPS * TOLERANCE, rtol=0)
        torch.testing.assert_close(aware.answer[row], expected[-1], atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(aware.answer_score[row], own.sum() + expected[-1], atol=5 * TOLERANCE, rtol=0)


def test_rows_of_any_length_score_as_they_do_alone(tiny_reward_model: LatentRewardModel, plain: Any) -> None:
    assert_plain(tiny_reward_model, plain)


def test_grouped_query_attention_scores_alike() -> None:
    """Llama: rotary positions, fewer key-value heads than heads, and a head with another name."""
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        num_labels=1,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = LlamaForTokenClassification(config).eval()
    shared = LlamaForTokenClassification(config).eval()
    shared.load_state_dict(plain.state_dict())
    shared.set_attn_implementation(SHARED_PREFIX_ATTENTION)
    model = LatentRewardModel(shared, end_id=38, end_of_text_id=0).requires_grad_(False)
    assert_plain(model, plain)


def test_read_step_by_step_with_branches_on_the_way(tiny_reward_model: LatentRewardModel, plain: Any) -> None:
    """As a search reads: every step of every row once, after branching and selecting."""
    latents = latents_of(8)
    with torch.inference_mode():
        state = read_prompts(tiny_reward_model, PROMPTS)
        state, first = extend(tiny_reward_model, state, latents[::2, :1])
        branched = state.branch(2)
        branched, second = extend(tiny_reward_model, branched, latents[:, 1:3])
        kept = torch.tensor([1, 0, 7, 7])
        chosen, third = extend(tiny_reward_model, branched.select(kept), latents[kept, 3:])
    for place, row in enumerate(kept.tolist()):
        whole = torch.cat([latents[row // 2 * 2, :1], latents[row, 1:]])
        expected = plain_rewards(plain, 0, PROMPTS[row // 2], whole, [])[:STEPS]
        found = torch.cat([first[row // 2], second[row], third[place]])
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    # Verbs leave old states usable.
    with torch.inference_mode():
        _, again = extend(tiny_reward_model, state.branch(2), latents[:, 1:3])
    torch.testing.assert_close(again, second, atol=0, rtol=0)
    assert (chosen.questions, chosen.group, chosen.suffix_length) == (2, 2, STEPS)


def test_gradients_reach_every_weight_that_scores(tiny_reward_checkpoint: Path) -> None:
    model = LatentRewardModel.from_pretrained(str(tiny_reward_checkpoint), packed=False).requires_grad_(True)
    rewards = score_candidates(model, PROMPTS, candidates_of(latents_of(8), LATENT_LENGTHS, ANSWERS))
    assert rewards.answer_score is not None
    rewards.answer_score.sum().backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_a_row_that_breaks_breaks_no_other(tiny_reward_model: LatentRewardModel) -> None:
    latents = latents_of(8)
    healthy = score(tiny_reward_model, PROMPTS, candidates_of(latents, [STEPS] * 8, ANSWERS))
    latents[3, 2] = torch.nan
    spoilt = score(tiny_reward_model, PROMPTS, candidates_of(latents, [STEPS] * 8, ANSWERS))
    assert spoilt.steps[3].isnan().any()
    assert spoilt.answer_score is not None
    assert spoilt.answer_score.isnan().nonzero().flatten().tolist() == [3]
    others = [row for row in range(8) if row != 3]
    torch.testing.assert_close(spoilt.steps[others], healthy.steps[others], atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(7, STEPS, WIDTH), (8, STEPS, WIDTH - 1)], ids=["rows", "width"])
def test_wrong_shapes_are_refused(tiny_reward_model: LatentRewardModel, shape: tuple[int, int, int]) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        score(tiny_reward_model, PROMPTS, CandidateBatch(torch.zeros(shape), torch.full((shape[0],), STEPS)))
