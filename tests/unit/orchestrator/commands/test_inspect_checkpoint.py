"""`latentswarm inspect`: one screen about a checkpoint."""

import json
from pathlib import Path

import pytest
from checkpoints import latent_head_tensors, save_checkpoint_of
from tokenizers import Tokenizer, processors

from orchestrator.cli import main


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """Run the command; returns its lines by label, and everything under ""."""
    capsys.readouterr()
    code = main(["inspect", *arguments])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    lines = {line[:26].strip(): line[27:] for line in captured.out.splitlines()}
    return {**lines, "": captured.out}


def test_the_bundled_reasoner(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "bundled:coconut-tiny")
    assert lines["parameters"] == "680,704, stored as float32"
    assert lines["prompt"] == r"'{question}\n<|start-latent|>'"
    assert lines["tokens"] == "start '<|start-latent|>' 538, end '<|end-latent|>' 539, latent '<|latent|>' 540"
    assert lines["shape"] == "3 layers, width 128, 4 heads, 541 tokens, context of 128"
    assert lines["latent steps"] == "6"
    assert lines["site feed_forward"] == "transformer.h.*.mlp.c_proj"
    assert "cosine" not in lines[""]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_question(capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    question = "Ann has 12 pens . She buys 7 . How many pens ?"
    lines = shown(capsys, "bundled:coconut-tiny", "--question", question, "--steps", "2", "--dtype", dtype)
    text = lines[""]
    assert text.index("step") < text.index("norm") < text.index("cosine") < text.index("answer text")
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["1"], ["2"])]
    assert [len(row) for row in rows] == [12, 13]
    assert lines["prompt"] == "14 tokens"
    assert len(lines["prompt ids"].split()) == 14
    assert lines["prompt ids"].endswith(" 538")
    assert "answer" in lines


def test_a_head_and_an_adaptive_length(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Brackets are words here, not markup.
    described = {"feedback": "latent_head", "latent_length": "adaptive", "prompt": "[red]{question}<|start-latent|>"}
    directory = save_checkpoint_of(tmp_path / "one", "llama", described, latent_head_tensors())
    lines = shown(capsys, str(directory))
    assert lines["feedback"] == "latent_head, inner width 20"
    assert lines["latent steps"] == "adaptive, up to 3"
    assert lines["prompt"] == "'[red]{question}<|start-latent|>'"
    assert lines["shape"].startswith("2 layers, width 32, 4 heads (2 for keys and values), ")
    # 20 x 32 and 20 x 20 and 32 x 20 weights, with biases, and a norm.
    assert " + 1,792 of the feedback head" in lines["parameters"]


def test_tokens_that_end_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})
    assert shown(capsys, str(directory))["answer ends with"] == "'<|endoftext|>' 0"
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 2]}))
    assert shown(capsys, str(directory))["answer ends with"] == "'<|endoftext|>' 0, 'ann' 2"


def test_a_token_that_opens_prompts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", None, architectures=["COCONUTLlama"])
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="ann $A", special_tokens=[("ann", 2)])
    tokenizer.save(str(directory / "tokenizer.json"))
    lines = shown(capsys, str(directory), "--question", "ben has 3 pens ?")
    assert "'{question}\\n<|start-latent|>', behind 'ann' 2" in lines[""]
    assert lines["prompt"] == "7 tokens"
    assert lines["prompt ids"].split()[:2] == ["2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["./nowhere"], "checkpoint ./nowhere: no such directory"),
        (["bundled:coconut-tiny", "--steps", "3"], "--steps: nothing thinks without --question"),
        (["bundled:coconut-tiny", "--question", "?", "--steps", "0"], "--steps: at least one latent step"),
        (["bundled:coconut-tiny", "--question", "? " * 200], "has a context of 128"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--dtype", "float8"], ["a", "--steps", "x"]])
def test_wrong_arguments_show_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *arguments]) == 2
    assert "Usage: latentswarm" in capsys.readouterr().err
