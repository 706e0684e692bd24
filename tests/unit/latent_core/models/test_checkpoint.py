"""Finding checkpoints, and refusing what is no latent reasoner in one line that says why."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.training.tokenizer import LATENT, build_tokenizer

Copy = Callable[[], Path]
BUNDLED = Path(__file__).parents[4] / "latent_core" / "bundled"


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Copy:
    """Makes copies of the tiny checkpoint that may be spoilt."""
    count = iter(range(100))
    return lambda: Path(shutil.copytree(tiny_checkpoint, tmp_path / f"copy{next(count)}"))


def change_config(directory: Path, **changes: Any) -> None:
    """Overwrite keys of config.json; None removes one."""
    file = directory / "config.json"
    content = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def refusal(source: str | Path) -> str:
    """The message with which a checkpoint is refused: one line that names it."""
    with pytest.raises(UserError) as caught:
        Checkpoint.open(str(source))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint {source}: ")
    return message.removeprefix(f"checkpoint {source}: ")


def test_a_directory_is_read(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(str(tiny_checkpoint))
    assert checkpoint.directory == tiny_checkpoint
    assert checkpoint.format.name == "coconut"
    assert checkpoint.architecture == "COCONUTGPT2"
    assert checkpoint.context_length == 96
    tokens = checkpoint.tokenizer.convert_ids_to_tokens([checkpoint.end_id, checkpoint.latent_id])
    assert tokens == ["<|end-latent|>", "<|latent|>"]


def test_a_setting_that_stands_twice(copy: Copy) -> None:
    """Readers of JSON take the last of two values, and a person who looks for one may find the first."""
    directory = copy()
    file = directory / "config.json"
    same, other = (f'"vocab_size": {first}, "vocab_size": 36' for first in (36, 35))
    content = json.dumps(json.loads(file.read_text()))
    assert '"vocab_size": 36' in content
    file.write_text(content.replace('"vocab_size": 36', same))
    Checkpoint.open(str(directory))
    file.write_text(content.replace('"vocab_size": 36', other))
    assert refusal(directory).startswith("config.json cannot be read: an object has the key 'vocab_size' twice")


def test_a_home_directory_is_understood(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Checkpoint.open(f"~/{copy().name}").directory == tmp_path / "copy0"


def test_the_bundled_checkpoint_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint.open("bundled:coconut-tiny")
    assert checkpoint.source == "bundled:coconut-tiny"
    assert (checkpoint.directory / "model.safetensors").is_file()


def test_a_prompt_ends_where_the_first_latent_is_read(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(str(tiny_checkpoint))
    tokens = checkpoint.tokenizer.convert_ids_to_tokens(checkpoint.prompt_ids("ann has 3 pens ?"))
    assert tokens == ["ann", "has", "3", "pens", "?", "<|start-latent|>"]


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all", "nowhere", "~/nowhere", "a/b/c"])
def test_a_directory_that_is_missing(source: str) -> None:
    assert refusal(source) == "no such directory, and not a hub id (owner/name) or bundled:NAME"


def test_an_unknown_bundled_name() -> None:
    names = ", ".join(f"bundled:{path.parent.name}" for path in sorted(BUNDLED.glob("*/config.json")))
    assert "bundled:coconut-tiny" in names
    assert refusal("bundled:coconut-tin") == f"not bundled; bundled are {names}"


def test_a_directory_without_config(copy: Copy) -> None:
    directory = copy()
    (directory / "config.json").unlink()
    assert refusal(directory) == "the directory has no config.json"


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[]", b'"text"', b"\xff\xfe\x00"],
    ids=["cut off", "empty", "list", "text", "binary"],
)
def test_a_config_that_is_no_config(copy: Copy, content: bytes) -> None:
    directory = copy()
    (directory / "config.json").write_bytes(content)
    assert "config.json" in refusal(directory)


def test_a_config_with_a_value_of_the_wrong_type(copy: Copy) -> None:
    directory = copy()
    change_config(directory, n_embd="wide")
    assert "n_embd" in refusal(directory)


@pytest.mark.parametrize(
    ("architectures", "named"),
    [(["GPT2LMHeadModel"], "names GPT2LMHeadModel"), ([], "names nothing"), (None, "names nothing")],
)
def test_an_architecture_that_is_no_latent_reasoner(copy: Copy, architectures: list[str] | None, named: str) -> None:
    directory = copy()
    change_config(directory, architectures=architectures)
    message = refusal(directory)
    assert named in message
    assert "known: COCONUTGPT2" in message


@pytest.mark.parametrize(
    ("changes", "why"),
    [({}, "transformers has no such model"), ({"auto_map": {"AutoConfig": "x.Y"}}, "code that comes with")],
    ids=["unknown", "remote code"],
)
def test_a_model_that_transformers_does_not_have(copy: Copy, changes: dict[str, Any], why: str) -> None:
    directory = copy()
    change_config(directory, model_type="thinker", **changes)
    message = refusal(directory)
    assert message.startswith("model_type 'thinker' in config.json cannot be loaded: ")
    assert why in message


def test_code_in_a_checkpoint_is_never_run(copy: Copy, tmp_path: Path) -> None:
    """Also where the model type is a known one, whose own code is then used."""
    directory = copy()
    trace = tmp_path / "was run"
    (directory / "x.py").write_text(f"open({str(trace)!r}, 'w')")
    change_config(directory, auto_map={"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z"})
    LatentReasoner.from_pretrained(str(directory))
    assert not trace.exists()


def test_a_directory_without_weights(copy: Copy) -> None:
    directory = copy()
    (directory / "model.safetensors").unlink()
    assert refusal(directory) == f"no .safetensors weights in {directory}"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "checkpoint.pth"])
def test_pickled_weights_are_refused_with_a_way_out(copy: Copy, name: str) -> None:
    directory = copy()
    (directory / "model.safetensors").rename(directory / name)
    message = refusal(directory)
    assert message.startswith(f"its weights are pickled ({name}), and reading a pickle can run code;")
    assert f"`latentswarm convert {directory} --allow-pickle --out DIRECTORY`" in message


DESCRIBED = {"name": "mine", "prompt": "Q: {question}<|start-latent|>", "latent_steps": 3, "extractor": "last_number"}


def describe(directory: Path, **changes: Any) -> None:
    """Make a checkpoint of a plain architecture and describe it in latent.json."""
    change_config(directory, architectures=["GPT2LMHeadModel"])
    (directory / "latent.json").write_text(json.dumps({**DESCRIBED, **changes}))


def test_a_description_beside_the_configuration(copy: Copy) -> None:
    directory = copy()
    describe(directory)
    checkpoint = Checkpoint.open(str(directory))
    assert (checkpoint.architecture, checkpoint.format.name, checkpoint.latent_steps) == ("GPT2LMHeadModel", "mine", 3)
    assert checkpoint.format.fill_prompt("Why?") == "Q: Why?<|start-latent|>"


def test_the_description_is_part_of_the_fingerprint(copy: Copy) -> None:
    one, other = copy(), copy()
    describe(one)
    describe(other, latent_steps=4)
    assert Checkpoint.open(str(one)).fingerprint != Checkpoint.open(str(other)).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feedback": "projectr"}, "latent.json: feedback: unknown feedback 'projectr': did you mean 'projector'?"),
        ({"extractor": "last"}, "latent.json: extractor: unknown extractor 'last'"),
        ({"prompt": "no question"}, "latent.json: prompt: the template has to contain {question}"),
        ({"latent_step": 3}, "latent.json: unknown key 'latent_step': did you mean 'latent_steps'?"),
        ({"latent_steps": 0}, "latent.json: latent_steps: "),
        ({"latent_length": "any"}, "latent.json: latent_length: "),
        ({"end_token": "<|stop|>"}, "its tokenizer lacks the latent tokens <|stop|>;"),
        ({"end_token": None, "start_token": None}, ""),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_description_that_is_wrong(copy: Copy, changes: dict[str, Any], message: str) -> None:
    directory = copy()
    describe(directory, **changes)
    if message:
        assert refusal(directory).startswith(message)
    else:
        # config.json names the end token by its id.
        change_config(directory, latent_end_id=7)
        assert Checkpoint.open(str(directory)).end_id == 7
        change_config(directory, latent_end_id=None)
        assert refusal(directory).startswith("neither its format nor latent_end_id in config.json names an end token")


def test_a_tokenizer_of_another_model(copy: Copy) -> None:
    """Its latent tokens are where they belong, but it knows words for which there are no embeddings."""
    directory = copy()
    tokenizer = Checkpoint.open(str(directory)).tokenizer
    size = json.loads((directory / "config.json").read_text())["vocab_size"]
    tokenizer.add_tokens(["another"])
    tokenizer.save_pretrained(directory)
    assert refusal(directory).startswith(f"its tokenizer has ids up to {size}, but config.json says vocab_size {size};")


@pytest.mark.parametrize("kept", [0, 20, 5000])
def test_damaged_weights_are_seen_before_anything_is_loaded(copy: Copy, kept: int) -> None:
    directory = copy()
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert refusal(directory).startswith("the weights in model.safetensors are damaged: ")


def test_a_tokenizer_without_latent_tokens(copy: Copy) -> None:
    directory = copy()
    tokenizer = directory / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace(LATENT, "<|something|>"))
    settings = directory / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace(LATENT, "<|something|>"))
    message = refusal(directory)
    assert "lacks the latent tokens <|latent|>;" in message


@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["missing", "cut off", "empty"])
def test_a_tokenizer_that_cannot_be_read(copy: Copy, content: str | None) -> None:
    directory = copy()
    if content is None:
        for file in directory.glob("tokenizer*"):
            file.unlink()
    else:
        (directory / "tokenizer.json").write_text(content)
    assert "tokenizer" in refusal(directory)


def test_a_tokenizer_without_an_end_of_text_token(copy: Copy) -> None:
    """Answers end with it, and prompts are padded with it."""
    directory = copy()
    file = directory / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["eos_token"]
    file.write_text(json.dumps(settings))
    assert "tokenizer" in refusal(directory)


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ("latent_start_id", "<|start-latent|>"),
        ("latent_end_id", "<|end-latent|>"),
        ("latent_id", "<|latent|>"),
    ],
)
def test_ids_that_contradict_the_config(copy: Copy, key: str, token: str) -> None:
    directory = copy()
    change_config(directory, **{key: 5})
    assert refusal(directory).startswith(f"config.json says {key} 5, but its tokenizer has {token} at ")


def test_ids_are_the_tokenizers_where_the_config_is_silent(copy: Copy, tiny_checkpoint: Path) -> None:
    directory = copy()
    change_config(directory, latent_start_id=None, latent_end_id=None, latent_id=None)
    silent, original = Checkpoint.open(str(directory)), Checkpoint.open(str(tiny_checkpoint))
    assert (silent.end_id, silent.latent_id) == (original.end_id, original.latent_id)


def test_ids_beyond_the_embeddings(copy: Copy) -> None:
    directory = copy()
    size = json.loads((directory / "config.json").read_text())["vocab_size"]
    change_config(directory, vocab_size=size - 1)
    assert refusal(directory) == f"latent token id {size - 1} is outside its {size - 1} embeddings"


def test_a_hub_id_that_is_not_in_the_cache_and_one_that_is(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Offline, in a process of its own, since the hub's client reads its environment once."""
    repository = tmp_path / "hub" / "models--owner--kept"
    revision = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / revision
    blobs = repository / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(tiny_checkpoint.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(blobs / str(number))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)

    code = """
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
kept = LatentReasoner.from_pretrained("owner/kept")
print(kept.checkpoint.fingerprint)
try:
    LatentReasoner.from_pretrained("owner/missing")
except UserError as error:
    print(error)
"""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    fingerprint, refused = done.stdout.splitlines()
    assert fingerprint == Checkpoint.open(str(tiny_checkpoint)).fingerprint
    assert refused.startswith("checkpoint owner/missing: no such directory, and the hub did not give it")
    assert "hf download owner/missing" in refused


def test_the_fingerprint_does_not_depend_on_the_place(copy: Copy, tiny_checkpoint: Path) -> None:
    directory = copy()
    (directory / "README.md").write_text("words")
    (directory / "training.json").write_text("{}")
    assert Checkpoint.open(str(directory)).fingerprint == Checkpoint.open(str(tiny_checkpoint)).fingerprint


def spoil_weights(directory: Path) -> None:
    file = directory / "model.safetensors"
    weights = load_file(file)
    weights["transformer.h.0.mlp.c_fc.bias"][3] += 1e-3
    save_file(weights, file, metadata={"format": "pt"})


def spoil_tokenizer(directory: Path) -> None:
    words = ["ben", "ann", "eva", "has", "buys", "sells", "pens", "cards", ".", "?", "###", *map(str, range(20))]
    build_tokenizer(words, 96).save_pretrained(directory)


def spoil_config(directory: Path) -> None:
    change_config(directory, layer_norm_epsilon=1e-4)


@pytest.mark.parametrize("spoil", [spoil_weights, spoil_tokenizer, spoil_config])
def test_the_fingerprint_sees_every_change_that_counts(
    copy: Copy, tiny_checkpoint: Path, spoil: Callable[[Path], None]
) -> None:
    directory = copy()
    spoil(directory)
    assert Checkpoint.open(str(directory)).fingerprint != Checkpoint.open(str(tiny_checkpoint)).fingerprint


def test_questions_that_just_fit_and_that_do_not(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(str(tiny_checkpoint))
    checkpoint.check_length("q", prompt_tokens=96 - 6 - 1 - 32, latent_steps=6, answer_tokens=32)
    with pytest.raises(UserError) as caught:
        checkpoint.check_length("q7", prompt_tokens=96 - 6 - 32, latent_steps=6, answer_tokens=32)
    message = str(caught.value)
    assert message.startswith(
        "question q7: 58 prompt tokens + 6 latent steps + end token + 32 answer tokens = 97, but "
    )
    assert f"{tiny_checkpoint} has a context of 96" in message
