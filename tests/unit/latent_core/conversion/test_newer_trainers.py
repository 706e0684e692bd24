"""LaTER and adaptive latent reasoning: every tensor has a place, and what differs between files is read off them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import WIDTH, linear_tensors, norm_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from trainers import base_tokenizer, save_base
from transformers import AutoModelForCausalLM

from latent_core.conversion import Options, convert
from latent_core.engine.rollout import RolloutEngine
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.weights import load_feedback
from latent_core.samplers import none

LATER_TOKENS = ("<latent_think>", "</latent_think>", "<think>", "</think>")
ADAPTIVE_TOKENS = ("<START>", "<END>", "<|CONTINUE|>", "<|STOP|>")


def with_special_tokens(directory: Path, model_type: str, tokens: tuple[str, ...], **config: Any) -> list[int]:
    """Write a causal language model whose tokenizer has special tokens; returns their ids."""
    tokenizer = base_tokenizer()
    tokenizer.add_tokens([*tokens], special_tokens=True)
    save_base(directory, model_type, vocab_size=len(tokenizer), **config)
    tokenizer.save_pretrained(directory)
    return [tokenizer.get_vocab()[token] for token in tokens]


def rewrite(directory: Path, rename: Callable[[str], str], tensors: dict[str, Tensor], **config: Any) -> None:
    """Give a checkpoint the names of a trainer, tensors of its own, and its settings."""
    file, settings = directory / "model.safetensors", directory / "config.json"
    named = {rename(name): tensor for name, tensor in load_file(file).items()}
    save_file({**named, **tensors}, file, metadata={"format": "pt"})
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **config}))


@pytest.mark.parametrize("second", [2, 3], ids=["older", "newer"])
def test_later(second: int, tmp_path: Path) -> None:
    source = tmp_path / "later"
    ids = with_special_tokens(source, "qwen3", LATER_TOKENS)
    projector = linear_tensors("latent_projector.net.0", 12, WIDTH, 1)
    projector |= linear_tensors(f"latent_projector.net.{second}", WIDTH, 12, 2)
    rewrite(source, lambda name: name, projector, model_type="latent_qwen3", architectures=["LatentQwenForCausalLM"])
    with pytest.raises(UserError, match="`latentswarm convert` writes one"):
        Checkpoint.open(str(source))
    notes = convert(str(source), tmp_path / "out", Options(changes={"answer_tokens": 8}))
    assert "thinks in up to 256 latent steps, as published; --latent-steps says another number" in notes
    reasoner = LatentReasoner.from_pretrained(str(tmp_path / "out"))
    assert (reasoner.checkpoint.end_id, reasoner.checkpoint.fed_ids) == (ids[1], (ids[2],))
    hidden = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    first, last = (
        nn.functional.linear(one, projector[f"latent_projector.net.{place}.weight"])
        + projector[f"latent_projector.net.{place}.bias"]
        for one, place in ((hidden, 0), (torch.zeros(3, 12), second))
    )
    inner = nn.functional.gelu(first) @ projector[f"latent_projector.net.{second}.weight"].T
    torch.testing.assert_close(reasoner.feed_back(hidden), inner + last, atol=1e-5, rtol=1e-5)


def adaptive(directory: Path, mode: str | None, tensors: dict[str, Tensor], **said: Any) -> Path:
    start, end, go_on, stop = with_special_tokens(directory, "llama", ADAPTIVE_TOKENS)
    settings = {"start_token_id": start, "end_token_id": end, "continue_token_id": go_on, "stop_token_id": stop}
    settings |= {"recurrent_filter_mode": mode, "add_latent_to_end": False, "lora_mode": False, **said}
    rewrite(
        directory,
        lambda name: f"_base_model.{name}",
        {f"recurrent_filter.{name}": tensor for name, tensor in tensors.items()},
        _inserted_LatentThinkingModelSettings=settings,
        architectures=["LatentThinkingModel"],
    )
    return directory


LINEAR = linear_tensors("linear_layer", WIDTH, WIDTH, 1)
NORM = norm_tensors("norm", WIDTH, 2)
MLP = linear_tensors("input_layer", 12, WIDTH, 3) | linear_tensors("output_layer", WIDTH, 12, 4) | NORM
SHIFT = {"bias": torch.linspace(-1.0, 1.0, WIDTH)}
SCALED = {"norm.weight": NORM["norm.weight"]}


def mapped(name: str, states: Tensor) -> Tensor:
    tensors = LINEAR | MLP
    return states @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def normed(states: Tensor) -> Tensor:
    return nn.functional.layer_norm(states, (WIDTH,), NORM["norm.weight"], NORM["norm.bias"])


def scaled(states: Tensor) -> Tensor:
    size = (states.pow(2).mean(dim=-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()
    return states / size * NORM["norm.weight"]


FILTERS: dict[str, tuple[str | None, dict[str, Tensor], Callable[[Tensor], Tensor]]] = {
    "none": (None, {}, lambda states: states),
    "MLP": (
        "MLP",
        MLP,
        lambda states: normed(mapped("output_layer", nn.functional.gelu(mapped("input_layer", states)))),
    ),
    "linear": (
        "linear",
        LINEAR | SCALED | SHIFT,
        lambda states: scaled(mapped("linear_layer", states)) + SHIFT["bias"],
    ),
    "linear_ECF": (
        "linear_ECF",
        LINEAR | SCALED | SHIFT,
        lambda states: scaled(mapped("linear_layer", states)) + SHIFT["bias"],
    ),
    "linear_ln": ("linear_ln", LINEAR | NORM, lambda states: normed(mapped("linear_layer", states))),
}


@pytest.mark.parametrize(("mode", "tensors", "wanted"), FILTERS.values(), ids=FILTERS)
def test_every_filter_of_adaptive_reasoning(
    mode: str | None, tensors: dict[str, Tensor], wanted: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    source = adaptive(tmp_path / "adaptive", mode, tensors, add_latent_to_end=mode is None)
    convert(str(source), tmp_path / "out", Options())
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert checkpoint.format.last_latent == ("with_end" if mode is None else "dropped")
    assert checkpoint.prompt_ids("ann has 3 pens ?")[0] == checkpoint.tokenizer.bos_token_id
    feedback = load_feedback(
        "x", checkpoint.format.feedback, checkpoint.weights, checkpoint.config, "cpu", torch.float32
    )
    states = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(feedback(states), wanted(states), atol=1e-5, rtol=1e-5)


def test_the_last_latent_is_added_to_the_end(tmp_path: Path) -> None:
    """Behind a gate that stops at once, the end is its embedding and the latent that would have come."""
    source = adaptive(tmp_path / "adaptive", None, {}, add_latent_to_end=True)
    convert(str(source), tmp_path / "out", Options(changes={"latent_steps": 1}))
    reasoner = LatentReasoner.from_pretrained(str(tmp_path / "out"))
    engine = RolloutEngine(reasoner, none.NoSampling())
    prompt = reasoner.checkpoint.prompt_ids("ann has 3 pens ?")
    state = engine.prefill([prompt], ["one"], seed=0)
    logits = engine.decode(state, 1, keep_logits=True).logits
    assert logits is not None
    end = reasoner.embed(torch.tensor([reasoner.checkpoint.end_id])) + state.hidden
    inputs = torch.cat([reasoner.embed(torch.tensor([prompt])), end[None]], dim=1)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with torch.inference_mode():
        torch.testing.assert_close(logits[0, 0], model(inputs_embeds=inputs).logits[0, -1], atol=1e-4, rtol=1e-4)


def test_adaptive_files_that_cannot_be_run(tmp_path: Path, refusal: Callable[..., str]) -> None:
    assert "its recurrent filter 'SRE' is none that is run here" in refusal(adaptive(tmp_path / "a", "SRE", {}))
    assert "it was saved in lora_mode" in refusal(adaptive(tmp_path / "b", "MLP", MLP, lora_mode=True))
    said = refusal(adaptive(tmp_path / "c", "MLP", MLP, stop_token_id=None))
    assert "stop_token_id None of _inserted_LatentThinkingModelSettings is no id of its tokenizer" in said
    assert "recurrent_filter.gate" in refusal(adaptive(tmp_path / "d", "MLP", {**MLP, "gate": torch.ones(2)}))
    assert "leave --family out" in refusal(adaptive(tmp_path / "e", "MLP", MLP), family="coconut")
