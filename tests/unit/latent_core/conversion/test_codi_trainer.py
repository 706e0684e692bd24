"""What CODI's trainer saves thinks the same after conversion, its low-rank updates merged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from trainers import BASE_TOKENS, CodiModule, base_tokenizer, save_base, with_tokens
from transformers import AutoModelForCausalLM

from latent_core.conversion import Options, convert
from latent_core.models.checkpoint import Checkpoint

PAD, START, END, LATENT = range(BASE_TOKENS, BASE_TOKENS + 4)
TARGETS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"],
}
Change = Callable[[dict[str, Any]], None]


def adapted(base: Path, backbone: str, inner: int | None = 20, norm: bool = True, alpha: float = 32.0) -> CodiModule:
    """The trainer's module with random updates, as PEFT itself makes them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        settings = LoraConfig(
            task_type="CAUSAL_LM",
            r=4,
            lora_alpha=alpha,
            lora_dropout=0.1,
            target_modules=TARGETS[backbone],
            init_lora_weights=False,
            fan_in_fan_out=backbone == "gpt2",
        )
        model = get_peft_model(with_tokens(base, 3), settings)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                # As large as the weights: larger ones would magnify rounding until nothing could be compared.
                parameter.detach().mul_(0.1)
        return CodiModule(model, inner, norm).eval()


def saved(module: nn.Module, file: Path, change: Change | None = None) -> str:
    state = module.state_dict()
    if change is not None:
        change(state)
    torch.save(state, file)
    return str(file)


@pytest.mark.parametrize("inner", [20, None], ids=["projector", "no projector"])
@pytest.mark.parametrize("backbone", ["gpt2", "llama"])
def test_it_thinks_as_it_did(
    backbone: str, inner: int | None, gpt2_base: Path, llama_base: Path, tmp_path: Path, agree: Callable[..., None]
) -> None:
    base = {"gpt2": gpt2_base, "llama": llama_base}[backbone]
    module = adapted(base, backbone, inner)
    out = tmp_path / "out"
    options = Options(base=str(base), allow_pickle=True)
    notes = convert(saved(module, tmp_path / "pytorch_model.bin"), out, options)
    assert f"merged {2 * len([*TARGETS[backbone], *(['c_proj'] if backbone == 'gpt2' else [])])} low-rank" in notes[1]
    prompt = [*base_tokenizer(opens=backbone == "llama")("ann has 3 pens ?")["input_ids"], START]
    model = module.codi
    agree(out, prompt, END, model, model.get_input_embeddings(), module.prj)  # type: ignore[operator]
    converted = AutoModelForCausalLM.from_pretrained(out).eval()
    ids = torch.arange(12).reshape(2, 6)
    with torch.inference_mode():
        found = converted(ids, output_hidden_states=True).hidden_states
        wanted = model(ids, output_hidden_states=True).hidden_states
    for one, other in zip(found, wanted, strict=True):
        # Inner states have values of up to 100.
        assert (one - other).abs().max() < 1e-5 * max(1.0, float(other.abs().max()))
    written, merged = load_file(out / "model.safetensors"), model.merge_and_unload().state_dict()
    for name in merged.keys() & written.keys():
        torch.testing.assert_close(written[name][: len(merged[name])], merged[name], atol=1e-6, rtol=1e-6)


def test_gpt2_becomes_the_released_layout(gpt2_base: Path, tmp_path: Path) -> None:
    file = saved(adapted(gpt2_base, "gpt2"), tmp_path / "pytorch_model.bin")
    convert(file, tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["CODIGPT2"]
    assert [config[key] for key in ("latent_start_id", "latent_end_id", "latent_id")] == [START, END, LATENT]
    assert (config["projector"], config["projector_hidden_size"]) == (True, 20)
    assert config["vocab_size"] == BASE_TOKENS + 4
    assert not (tmp_path / "out" / "latent.json").exists()
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert checkpoint.tokenizer.convert_ids_to_tokens([PAD])[0] == checkpoint.tokenizer.pad_token == "[PAD]"
    weight = load_file(tmp_path / "out" / "model.safetensors")["transformer.wte.weight"]
    torch.testing.assert_close(weight[LATENT], weight[:LATENT].mean(dim=0))


def test_safetensors_and_a_directory(gpt2_base: Path, tmp_path: Path) -> None:
    """No pickle is involved: tied weights once, and nothing else that could be read as weights."""
    state = adapted(gpt2_base, "gpt2", norm=False).state_dict()
    state.pop("codi.base_model.model.lm_head.weight")
    (tmp_path / "in").mkdir()
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "in" / "model.safetensors")
    torch.save({}, tmp_path / "in" / "training_args.bin")
    convert(str(tmp_path / "in"), tmp_path / "out", Options(base=str(gpt2_base)))
    assert "projector.4.weight" not in load_file(tmp_path / "out" / "model.safetensors")
    assert Checkpoint.open(str(tmp_path / "out")).format.feedback == "projector"


def test_without_low_rank_updates(gpt2_base: Path, tmp_path: Path, agree: Callable[..., None]) -> None:
    module = CodiModule(with_tokens(gpt2_base, 3)).eval()
    file = saved(module, tmp_path / "file.pt")
    convert(file, tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    prompt = [*base_tokenizer()("ann has 3 pens ?")["input_ids"], START]
    agree(tmp_path / "out", prompt, END, module.codi, module.codi.get_input_embeddings(), module.prj)


def test_alpha_is_a_setting(gpt2_base: Path, tmp_path: Path) -> None:
    module = adapted(gpt2_base, "gpt2", alpha=8.0)
    file = saved(module, tmp_path / "file")
    convert(file, tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True, lora_alpha=8.0))
    written = load_file(tmp_path / "out" / "model.safetensors")["transformer.h.1.mlp.c_fc.weight"]
    merged = module.codi.merge_and_unload().transformer.h[1].mlp.c_fc.weight
    torch.testing.assert_close(written, merged.detach(), atol=1e-6, rtol=1e-6)


def test_half_precision_weights_lose_nothing(gpt2_base: Path, tmp_path: Path) -> None:
    def halve(state: dict[str, Any]) -> None:
        for name in state:
            if "lora" not in name:
                state[name] = state[name].bfloat16()

    file = saved(adapted(gpt2_base, "gpt2"), tmp_path / "file", halve)
    convert(file, tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_a_base_with_more_embeddings_than_tokens(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama", vocab_size=BASE_TOKENS + 5)
    file = saved(CodiModule(with_tokens(base, 3)), tmp_path / "file")
    convert(file, tmp_path / "out", Options(base=str(base), allow_pickle=True))
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert checkpoint.prompt_ids("ann")[-1] == BASE_TOKENS + 6
    assert (checkpoint.end_id, checkpoint.latent_id) == (BASE_TOKENS + 7, BASE_TOKENS + 8)


def drop(name: str) -> Change:
    return lambda state: state.pop(name)


def add(name: str, value: Any) -> Change:
    return lambda state: state.update({name: value})


BLOCK = "codi.base_model.model.transformer.h.0.mlp.c_fc"
WRONG: dict[str, tuple[Change, str]] = {
    "half an update": (drop(f"{BLOCK}.lora_B.default.weight"), "transformer.h.0.mlp.c_fc lacks one of its factors"),
    "update of nothing": (drop(f"{BLOCK}.base_layer.weight"), "an update of"),
    "shape": (add(f"{BLOCK}.lora_A.default.weight", torch.ones(4, 31)), "transformer.h.0.mlp.c_fc has shapes"),
    "rank": (add(f"{BLOCK}.lora_A.default.weight", torch.ones(3, 32)), "do not fit its weight of shape [32, "),
    "magnitudes": (add(f"{BLOCK}.lora_magnitude_vector.default.weight", torch.ones(4)), "lora_magnitude_vector"),
    "projector": (drop("prj.3.bias"), "its weights lack projector.3.bias of the projector feedback"),
    "left over": (add("prj.7.bias", torch.ones(3)), "nothing in a gpt2 model is called prj.7.bias"),
    "missing": (drop("codi.base_model.model.transformer.ln_f.bias"), "its weights lack transformer.ln_f.bias"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_not_whole(
    gpt2_base: Path, tmp_path: Path, refusal: Callable[..., str], change: Change, message: str
) -> None:
    file = saved(adapted(gpt2_base, "gpt2"), tmp_path / "file", change)
    said = refusal(file, base=str(gpt2_base), allow_pickle=True)
    assert message.replace("an update of", "a low-rank update of transformer.h.0.mlp.c_fc, but no") in said


def test_another_base(gpt2_base: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    file = saved(CodiModule(with_tokens(gpt2_base, 3)), tmp_path / "file")
    other = save_base(tmp_path / "other", "gpt2", vocab_size=BASE_TOKENS + 1)
    assert f"but {other} has {BASE_TOKENS + 1}; is --base" in refusal(file, base=str(other), allow_pickle=True)
    taken = save_base(tmp_path / "taken", "gpt2")
    tokenizer = base_tokenizer()
    tokenizer.add_tokens(["<|end-latent|>"])
    tokenizer.save_pretrained(taken)
    assert "where the tokenizer of --base has it at" in refusal(file, base=str(taken), allow_pickle=True)
    assert "--family colar cannot be meant" in refusal(file, base=str(gpt2_base), allow_pickle=True, family="colar")


def test_padded_embeddings(gpt2_base: Path, tmp_path: Path, agree: Callable[..., None]) -> None:
    """As `resize_token_embeddings(pad_to_multiple_of=64)` leaves them; the row of no use is one of the padding."""
    module = CodiModule(with_tokens(gpt2_base, 64 - BASE_TOKENS))
    file = saved(module, tmp_path / "file")
    notes = convert(file, tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    assert any("rows of the embeddings are padding" in note for note in notes)
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert (checkpoint.config.vocab_size, checkpoint.end_id, checkpoint.latent_id) == (64, END, BASE_TOKENS + 3)
    prompt = [*base_tokenizer()("ann has 3 pens ?")["input_ids"], START]
    agree(tmp_path / "out", prompt, END, module.codi, module.codi.get_input_embeddings(), module.prj)
