#!/bin/sh
# AutoModel adds a LoRA adapter to merged weights that lie beside it once more, where PEFT is installed, and only there.
#
# Input: a folder as trainers leave it: `adapter_config.json` and `adapter_model.safetensors` of a LoRA run, and beside
# them the merged model, `config.json` and `model.safetensors`, which `merge_and_unload` and `save_pretrained` wrote.
# A good engineer would expect the whole weights, or an error, and the same on every machine. transformers 5.23.0 with
# peft 0.21.2 loads the whole weights and applies the adapter on top of them, so that its change is there twice; in the
# same environment without PEFT the same line gives the whole weights alone. Neither says a word.
#
# Exits with 0 while that is so. Seen, the change of a weight in units of the adapter's own:
#   with peft      2.00
#   without peft   1.00
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0
cat >"$folder/make.py" <<'PYTHON'
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2
)
start = LlamaForCausalLM(config)
before = start.model.layers[0].self_attn.q_proj.weight.detach().clone()
trained = get_peft_model(start, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
trained.save_pretrained(sys.argv[1])
merged = trained.merge_and_unload()
merged.save_pretrained(sys.argv[1])
after = merged.model.layers[0].self_attn.q_proj.weight.detach()
torch.save({"before": before, "change": after - before}, sys.argv[2])
PYTHON
cat >"$folder/load.py" <<'PYTHON'
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM
from transformers.utils import is_peft_available

known = torch.load(sys.argv[2], weights_only=True)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
layer = model.model.layers[0].self_attn.q_proj
with torch.no_grad():
    acts = layer(torch.eye(8)).T  # what the layer does, whatever it is made of
share = ((acts - known["before"]) / known["change"]).mean().item()
peft = "with peft" if is_peft_available() else "without peft"
print(f"{peft:<14} {share:.2f}   (transformers {transformers.__version__}, torch {torch.__version__})")
sys.exit(0 if abs(share - float(sys.argv[3])) < 0.01 else "the behaviour has changed")
PYTHON
python="$folder/venv/bin/python"
export HF_HUB_OFFLINE=1
"$python" "$folder/make.py" "$folder/model" "$folder/known.pt"
"$python" "$folder/load.py" "$folder/model" "$folder/known.pt" 2
"$folder/venv/bin/pip" uninstall --quiet --yes peft
"$python" "$folder/load.py" "$folder/model" "$folder/known.pt" 1
