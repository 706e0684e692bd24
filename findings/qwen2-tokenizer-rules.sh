#!/bin/sh
# AutoTokenizer of transformers 5 replaces the splitting rules of a valid tokenizer.json where model_type is qwen2.
#
# Input: a folder with config.json (model_type qwen2, as in reasoners distilled into Qwen's layout), a valid
# tokenizer.json that splits numbers into groups of up to three digits, and a tokenizer_config.json that asks for
# PreTrainedTokenizerFast, the class that takes tokenizer.json as it stands.
# A good engineer would expect the ids of tokenizer.json. transformers 5.23.0 with tokenizers 0.23.3 gives those of
# Qwen2Tokenizer, which splits digit by digit, without a word; under model_type llama the same files give the file's.
#
# Exits with 0 while that is so. Seen:
#   tokenizers        ['345', '678']
#   llama             TokenizersBackend ['345', '678'], 0 warnings
#   qwen2             Qwen2Tokenizer ['3', '4', '5', '6', '7', '8'], 0 warnings
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import logging
import sys
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

warned = []


class Listener(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING and "PyTorch" not in record.getMessage():
            warned.append(record.getMessage())


transformers.logging.get_logger("transformers").addHandler(Listener())
folder = Path(sys.argv[1]) / "model"
folder.mkdir()
written = Tokenizer(models.BPE())
written.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
written.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(
    vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
)
written.train_from_iterator(["345 678"] * 9, trainer)
written.save(str(folder / "tokenizer.json"))
settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
(folder / "tokenizer_config.json").write_text(json.dumps(settings))

print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
wanted = written.encode("345678").tokens
print(f"{'tokenizers':<17} {wanted}")
found = {}
for model_type in ("llama", "qwen2"):
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found[model_type] = tokenizer.tokenize("345678")
    print(f"{model_type:<17} {type(tokenizer).__name__} {found[model_type]}, {len(warned)} warnings")
assert wanted == ["345", "678"] == found["llama"], "llama no longer takes tokenizer.json as it stands"
assert found["qwen2"] == list("345678"), "qwen2 now splits as tokenizer.json says"
assert not warned, "it now says something"
PYTHON
