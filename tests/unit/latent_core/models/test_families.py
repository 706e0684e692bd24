"""Families that a `latent.json` asks for by name, and reasoners that think in mixtures."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save_checkpoint_of
from torch import Tensor

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.formats import FAMILIES, described_format
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

QUESTION = "ann has 3 pens ?"
PROBLEMS = [Problem(str(number), text, "3") for number, text in enumerate((QUESTION, "ben sells 4 cards .", "eva ?"))]
MIXED: dict[str, Any] = {
    "feedback": "vocabulary_mixture",
    "mixture": {"width": 4},
    "start_token": None,
    "latent_token": None,
    "end_text": "### ?",
    "prompt": "{question}",
}
GUMBEL = parse_sampler({"kind": "gumbel", "scale": 2.0})


def mixed(directory: Path, model_type: str = "llama", **described: Any) -> LatentReasoner:
    return LatentReasoner.from_pretrained(str(save_checkpoint_of(directory, model_type, {**MIXED, **described})))


def test_a_family_is_named_and_changed() -> None:
    config = {"model_type": "qwen2", "hidden_size": 1536}
    found = described_format({"family": "soft_thinking", "mixture": {"cold_stop": {"entropy": 0.5}}}, config)
    plain = FAMILIES["soft_thinking"](config)
    assert found.mixture is not None
    assert plain.mixture is not None
    assert found.mixture.cold_stop.entropy == 0.5
    assert found.mixture.model_copy(update={"cold_stop": plain.mixture.cold_stop}) == plain.mixture
    assert found.model_copy(update={"mixture": plain.mixture}) == plain


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"family": "soft_thinkin"}, "latent.json: unknown family 'soft_thinkin': did you mean 'soft_thinking'?"),
        ({"family": "latent_sft", "mixture": {"widht": 3}}, "latent.json: unknown key 'mixture.widht': did you mean"),
        ({"family": "latent_grpo"}, "its prompt is a chat, but its tokenizer has no chat_template"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, said: dict[str, Any], reason: str) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    (directory / "latent.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="checkpoint ") as caught:
        Checkpoint.open(str(directory))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_draws_need_the_head_that_they_draw_from(tmp_path: Path) -> None:
    plain = LatentReasoner.from_pretrained(str(save_checkpoint_of(tmp_path / "one", "llama", {})))
    with pytest.raises(UserError, match=r"draws from the vocabulary_mixture feedback, but .* feeds back by identity"):
        RolloutEngine(plain, GUMBEL)


def test_the_end_has_several_tokens(tmp_path: Path) -> None:
    first, last = mixed(tmp_path / "first"), mixed(tmp_path / "last", stop_at="last", end_fed="stop")
    vocabulary = first.checkpoint.tokenizer.get_vocab()
    assert first.checkpoint.fed_ids == (vocabulary["###"], vocabulary["?"])
    assert first.checkpoint.end_id == vocabulary["###"]
    assert last.checkpoint.fed_ids == (last.checkpoint.end_id,) == (vocabulary["?"],)


def plain_loop(reasoner: LatentReasoner, question: str, steps: int) -> tuple[list[Tensor], Tensor]:
    """Mixtures of the four most probable tokens from whole sequences, and the logits behind the end."""
    model, checkpoint = reasoner.model, reasoner.checkpoint
    table = model.get_input_embeddings().weight
    sequence = table[torch.tensor(checkpoint.prompt_ids(question))]

    def logits(inputs: Tensor) -> Tensor:
        cacheless = model.base_model(inputs_embeds=inputs[None], use_cache=False).last_hidden_state
        return reasoner.logits(cacheless[:, -1])[0]

    latents = []
    for _ in range(steps):
        best = logits(sequence).topk(4)
        latents.append((best.values.softmax(-1)[:, None] * table[best.indices]).sum(0))
        sequence = torch.cat([sequence, latents[-1][None]])
    return latents, logits(torch.cat([sequence, table[list(checkpoint.fed_ids)]]))


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_mixtures_are_those_of_a_plain_loop(tmp_path: Path, model_type: str) -> None:
    reasoner = mixed(tmp_path / "one", model_type, latent_steps=3)
    engine = RolloutEngine(reasoner, parse_sampler({"kind": "none"}))
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in PROBLEMS]
    state = engine.start(prompts, [problem.question_id for problem in PROBLEMS], 0, range(2))
    for _ in range(3):
        state = engine.step(state)
    found = engine.decode(state, 1, keep_logits=True).logits
    assert found is not None
    with torch.inference_mode():
        for row, problem in enumerate(PROBLEMS):
            latents, logits = plain_loop(reasoner, problem.question, 3)
            torch.testing.assert_close(state.latents[2 * row], torch.stack(latents), atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found[2 * row, 0], logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gumbel", "dirichlet", "multiplex"])
def test_trajectories_do_not_depend_on_what_is_beside_them(tmp_path: Path, kind: str) -> None:
    reasoner = mixed(tmp_path / "one", latent_length="adaptive", latent_steps=6, at_limit="close")
    sampler = parse_sampler({"kind": kind})

    def sampled(problems: list[Problem], samples: range) -> dict[tuple[str, int], tuple[Any, ...]]:
        rows = sample_trajectories(reasoner, sampler, problems, samples, latent_steps=6, answer_tokens=4, seed=1)
        return {
            (row.question_id, row.sample_index): (row.latent_steps, row.answer_ids, row.latents.tobytes())
            for row in rows
            if row.latents is not None
        }

    whole = sampled(PROBLEMS, range(6))
    assert len({one[0] for one in whole.values()}) > 1, "rows of one length say nothing"
    for problem in PROBLEMS:
        assert sampled([problem], range(2, 5)).items() <= whole.items()


def test_thoughts_and_answers_may_share_a_budget(tmp_path: Path) -> None:
    own = mixed(tmp_path / "own", latent_length="adaptive", at_limit="close", end_fed="stop", answer_tokens=6)
    shared = own.checkpoint.format.model_copy(update={"budget": "shared"})
    rows = {}
    for name, conventions in (("own", own.checkpoint.format), ("shared", shared)):
        own.checkpoint = replace(own.checkpoint, format=conventions)
        rows[name] = sample_trajectories(own, GUMBEL, PROBLEMS, range(8), latent_steps=5, answer_tokens=6, seed=1)
    limits = [6 - one.latent_steps - 1 for one in rows["shared"]]
    assert [one.latent_steps for one in rows["own"]] == [one.latent_steps for one in rows["shared"]]
    for before, row, limit in zip(rows["own"], rows["shared"], limits, strict=True):
        assert row.answer_ids == before.answer_ids[:limit]
        assert row.cut == (len(row.answer_ids) >= limit and row.answer_ids[-1:] != (own.end_of_text_id,))
        # Of an answer without tokens there is nothing that the model was sure of.
        assert (row.answer_logprob is None or math.isnan(row.answer_logprob)) is (limit == 0)
    assert 0 in limits


def test_a_sure_row_ends(tmp_path: Path) -> None:
    """Every entropy is below the threshold, so that each row ends at the last of so many steps in a row."""
    cold = {"width": 4, "cold_stop": {"entropy": 1e3, "steps": 3}}
    reasoner = mixed(tmp_path / "one", latent_length="adaptive", at_limit="close", mixture=cold, latent_steps=9)
    # An id that is never the most probable one.
    reasoner.checkpoint = replace(reasoner.checkpoint, end_id=10_000)
    none = parse_sampler({"kind": "none"})
    rows = sample_trajectories(reasoner, none, PROBLEMS, range(1), latent_steps=9, answer_tokens=2, seed=0)
    assert [row.latent_steps for row in rows] == [2, 2, 2]
