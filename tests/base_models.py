"""Language models with random weights that know any text, and a file of annotated problems, made in a moment."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

NAMES = ("Ann", "Ben", "Charlotte")
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for every byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(BPE({byte: index for index, byte in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )


def save_base(directory: Path, model_type: str = "llama", **changes: Any) -> Path:
    """Write a language model with random weights."""
    tokenizer = byte_tokenizer()
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    config = CONFIG_MAPPING[model_type](vocab_size=len(tokenizer), **SHAPES[model_type], **ids, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def save_problems(file: Path, count: int = 60) -> Path:
    """Write problems of two steps."""
    rows = []
    for number in range(count):
        pens, more, price = 10 + number, 2 + number % 7, 2 + number % 5
        if {pens, more, price, 2} & {pens + more, (pens + more) * price}:
            continue
        name = NAMES[number % len(NAMES)]
        rows.append(
            {
                "question": f"{name} has {pens} pens, buys {more} and sells all at ${price}. How much is that?",
                "answer": f"That is <<{pens}+{more}={pens + more}>>{pens + more} pens.\n"
                f"They bring <<{pens + more}*{price}={(pens + more) * price}>>.\n#### {(pens + more) * price}",
            }
        )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def recipe_of(base: Path, data: Path, /, **changes: Any) -> dict[str, Any]:
    """A recipe of 20 updates: the written chain, then latents that it teaches."""
    rates = {"learning_rate": 0.003, "final_learning_rate": 0.001}
    stages = [
        {"name": "written", "thoughts": "written", "updates": 10, **rates},
        {
            "name": "latent",
            "thoughts": "latent",
            "updates": 10,
            "chain_weight": 1.0,
            "distillation_weight": 1.0,
            "latent_dropout": 0.1,
            "latent_noise": 0.1,
            **rates,
        },
    ]
    return {
        "family": "gsm8k",
        "base": str(base),
        "data": {"path": str(data), "variants": 2, "validation_share": 0.2, "longest": 200},
        "latent_steps": 3,
        "batch_size": 8,
        "threads": 1,
        "report_every": 1,
        "evaluate_every": 10,
        "evaluation_problems": 8,
        "stages": stages,
        **changes,
    }
