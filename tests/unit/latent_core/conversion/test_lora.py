"""Low-rank updates, added by hand."""

from pathlib import Path

import torch
from trainers import save_base
from transformers import AutoModelForCausalLM

from latent_core.conversion.lora import merged


def test_one_update_by_hand(gpt2_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(gpt2_base)
    path = "transformer.h.0.mlp.c_fc"
    weight = model.get_submodule(path).weight.detach()
    first, second = torch.randn(2, 32), torch.randn(weight.shape[1], 2)
    tensors = {
        f"{path}.base_layer.weight": weight,
        f"{path}.base_layer.bias": torch.ones(3),
        f"{path}.lora_A.default.weight": first,
        f"{path}.lora_B.default.weight": second,
        "other": torch.ones(1),
    }
    found, updates = merged("x", model, tensors, alpha=6.0)
    assert (updates, sorted(found)) == (1, ["other", f"{path}.bias", f"{path}.weight"])
    # The Conv1D of GPT-2 stores [inputs, outputs]; the rank is 2.
    torch.testing.assert_close(found[f"{path}.weight"], weight + 3.0 * (second @ first).T)


def test_a_square_weight_is_not_turned_where_it_is_a_plain_layer(llama_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama_base)
    path = "model.layers.1.self_attn.q_proj"
    weight = model.get_submodule(path).weight.detach()
    first, second = torch.randn(4, 32), torch.randn(32, 4)
    tensors = {
        f"{path}.base_layer.weight": weight.bfloat16(),
        f"{path}.lora_A.default.weight": first.bfloat16(),
        f"{path}.lora_B.default.weight": second.bfloat16(),
    }
    found, _ = merged("x", model, tensors, alpha=4.0)
    assert found[f"{path}.weight"].dtype == torch.bfloat16
    wanted = weight.bfloat16().float() + second.bfloat16().float() @ first.bfloat16().float()
    torch.testing.assert_close(found[f"{path}.weight"], wanted.bfloat16())


def test_nothing_to_add(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_base(tmp_path / "base", "gpt2"))
    assert merged("x", model, {"a": torch.ones(1)}, alpha=32.0) == ({"a": torch.ones(1)}, 0)
