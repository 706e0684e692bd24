"""Every kind of backbone and feedback thinks as the unchanged model of transformers does, reading everything anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import latent_head_tensors, projector_tensors, save_checkpoint_of
from torch import Tensor
from transformers import AutoModelForCausalLM

from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.models.reasoner import DTYPES
from latent_core.samplers import Sampler, parse_sampler
from latent_core.samplers.base import Site

STEPS, TOKENS, SAMPLES = 3, 5, 4
QUESTIONS = ("ann has 12 pens . buys 3 pens ?", "ben 5 cards ?", "eva has 7 cards . sells 2 cards ?")
NONE = parse_sampler({"kind": "none"})
TYPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {},
    "qwen3": {"head_dim": 8},
    "smollm3": {"no_rope_layers": [1, 0], "tie_word_embeddings": True},
}
HEADS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "identity": dict,
    "projector": projector_tensors,
    "latent_head": latent_head_tensors,
}


@pytest.fixture(scope="module", params=list(TYPES))
def model_type(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=list(HEADS))
def directory(request: pytest.FixtureRequest, model_type: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(f"{model_type}-{request.param}") / "one"
    return save_checkpoint_of(
        folder, model_type, {"feedback": request.param}, HEADS[request.param](), **TYPES[model_type]
    )


@torch.inference_mode()
def plain(directory: Path, reasoner: LatentReasoner, question: str) -> tuple[Tensor, list[int]]:
    """Think and answer with the model as the library has it, reading everything anew for every vector."""
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager", dtype=torch.float64)
    feedback = reasoner.feedback.double()
    embed = model.get_input_embeddings()
    sequence = embed(torch.tensor([reasoner.checkpoint.prompt_ids(question)]))
    latents = []
    for _ in range(STEPS):
        hidden = model.base_model(inputs_embeds=sequence).last_hidden_state[:, -1]
        latents.append(feedback(hidden))
        sequence = torch.cat([sequence, latents[-1][:, None]], dim=1)
    ids = [reasoner.checkpoint.end_id]
    for _ in range(TOKENS):
        sequence = torch.cat([sequence, embed(torch.tensor([[ids[-1]]]))], dim=1)
        ids.append(int(model(inputs_embeds=sequence).logits[0, -1].argmax()))
    return torch.cat(latents), ids[1:]


def test_thoughts_and_answers(directory: Path) -> None:
    # In double precision, since large random weights blow rounding up.
    reasoner = LatentReasoner.from_pretrained(str(directory), dtype=torch.float64)
    engine = RolloutEngine(reasoner, NONE)
    prompts = [reasoner.checkpoint.prompt_ids(question) for question in QUESTIONS]
    state = engine.start(prompts, list(QUESTIONS), 0, range(SAMPLES))
    for _ in range(STEPS):
        state = engine.step(state)
    answers = engine.decode(state, TOKENS, stop_at_end=False).token_ids
    for number, question in enumerate(QUESTIONS):
        latents, ids = plain(directory, reasoner, question)
        for row in range(number * SAMPLES, (number + 1) * SAMPLES):
            torch.testing.assert_close(state.latents[row], latents, atol=1e-4, rtol=1e-4)
            assert answers[row].tolist() == ids


@pytest.mark.parametrize("site", list(Site))
def test_dropout_reaches_every_site(model_type: str, tmp_path: Path, site: Site) -> None:
    directory = save_checkpoint_of(tmp_path / "one", model_type, {}, **TYPES[model_type])
    reasoner = LatentReasoner.from_pretrained(str(directory))
    spread = {}
    for p in (0.0, 0.3):
        sampler = parse_sampler({"kind": "mc_dropout", "p": p, "sites": [site]})
        spread[p] = thoughts(reasoner, sampler).std(dim=0).max()
    assert spread[0.0] == 0.0
    assert spread[0.3] > 1e-2


def thoughts(reasoner: LatentReasoner, sampler: Sampler) -> Tensor:
    """Latents of the samples of one question, [samples, steps, width]."""
    engine = RolloutEngine(reasoner, sampler)
    state = engine.start([reasoner.checkpoint.prompt_ids(QUESTIONS[0])], ["q"], 0, range(SAMPLES))
    for _ in range(STEPS):
        state = engine.step(state)
    return state.latents.float()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(model_type: str, tmp_path: Path, dtype: str) -> None:
    directory = save_checkpoint_of(
        tmp_path / "one", model_type, {"feedback": "projector"}, projector_tensors(), **TYPES[model_type]
    )
    whole = LatentReasoner.from_pretrained(str(directory))
    half = LatentReasoner.from_pretrained(str(directory), dtype=DTYPES[dtype])
    for kind in ({"kind": "none"}, {"kind": "singular_value", "alpha": 0.1}, {"kind": "mc_dropout", "p": 0.1}):
        assert thoughts(half, parse_sampler(kind)).isfinite().all()
    # The first thought has not yet gone through the loop that blows rounding up.
    torch.testing.assert_close(thoughts(half, NONE)[:, 0], thoughts(whole, NONE)[:, 0], atol=0.3, rtol=0.1)
