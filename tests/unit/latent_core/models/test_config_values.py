"""Values of config.json that no class of transformers checks: refused in one line, before anything is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import save_checkpoint_of

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.meta_model import check_model

Spoilt = Callable[..., str]


@pytest.fixture(scope="module", params=["gpt2", "llama", "qwen2"])
def model_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(model_type: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint_of(tmp_path_factory.mktemp("whole") / "one", model_type, {})


@pytest.fixture
def spoilt(whole: Path, tmp_path: Path) -> Spoilt:
    """Gives a checkpoint whose configuration says something else."""

    def spoil(**changes: Any) -> str:
        for file in whole.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        content = {**json.loads((whole / "config.json").read_text()), **changes}
        (tmp_path / "config.json").write_text(json.dumps(content))
        return str(tmp_path)

    return spoil


def refusal(source: str, ask: Callable[[str], object]) -> str:
    with pytest.raises(UserError) as caught:
        ask(source)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint {source}: ")
    return message.removeprefix(f"checkpoint {source}: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope_theta", "10000.0"),
        ("rope_theta", "1e4"),
        ("rope_theta", True),
        ("rope_theta", 0),
        ("rope_theta", -1e4),
        ("rope_scaling", "linear"),
        ("rope_scaling", [2.0]),
        ("rope_parameters", 3),
        ("hidden_size", "32"),
        ("hidden_size", None),
        ("hidden_size", 32.5),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", "2"),
        ("num_attention_heads", 0),
        ("num_key_value_heads", "2"),
        ("num_key_value_heads", -2),
        ("head_dim", "8"),
        ("intermediate_size", "48"),
        ("vocab_size", 0),
        ("vocab_size", "36"),
        ("max_position_embeddings", 0),
        ("max_position_embeddings", "96"),
        ("latent_steps", "six"),
        ("latent_steps", 0),
        ("initializer_range", float("nan")),
        ("rms_norm_eps", float("nan")),
        ("layer_norm_epsilon", float("inf")),
        ("architectures", 7),
        ("architectures", [7]),
        ("model_type", ["gpt2"]),
        ("dtype", 16),
        ("torch_dtype", {}),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_kind_is_named(spoilt: Spoilt, model_type: str, key: str, value: Any) -> None:
    own = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
    own["max_position_embeddings"] = "n_positions"
    # GPT-2 answers to the common names, but writes others.
    name = own.get(key, key) if model_type == "gpt2" else key
    assert name in refusal(spoilt(**{name: value}), Checkpoint.open)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"rope_theta": "1e4"}, "rope_parameters.rope_theta"),
        ({"rope_theta": 1e4, "factor": "2", "rope_type": "linear"}, "rope_parameters.factor"),
        ({"rope_theta": 1e4, "rope_type": 5}, "rope_parameters.rope_type"),
        ({"rope_theta": 1e4, "rope_type": "longrope", "long_factor": ["1", "2"]}, "rope_parameters.long_factor"),
        ({"full_attention": {"rope_theta": "1e4"}}, "rope_parameters.full_attention.rope_theta"),
        ({"rope_theta": float("nan")}, "rope_parameters.rope_theta"),
    ],
)
def test_the_rotary_embedding_is_described_by_numbers(spoilt: Spoilt, settings: dict[str, Any], path: str) -> None:
    assert refusal(spoilt(rope_parameters=settings), Checkpoint.open).startswith(f"{path} in config.json is ")


@pytest.mark.parametrize("changes", [{"hidden_act": "unheard", "activation_function": "unheard"}, {"head_dim": 7}])
def test_a_model_that_cannot_be_made_is_refused_in_one_line(
    spoilt: Spoilt, model_type: str, changes: dict[str, Any]
) -> None:
    if model_type == "gpt2" and "head_dim" in changes:
        changes = {"n_embd": 33}
    source = spoilt(**changes)
    for ask in (lambda name: check_model(Checkpoint.open(name)), LatentReasoner.from_pretrained):
        refusal(source, ask)


@pytest.mark.parametrize("model_type", ["gemma3", "llava"])
def test_a_model_of_several_parts_has_no_size_of_its_own(tmp_path: Path, model_type: str) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})
    content = json.loads((directory / "config.json").read_text())
    kept = {key: value for key, value in content.items() if key not in ("vocab_size", "n_embd")}
    (directory / "config.json").write_text(json.dumps({**kept, "model_type": model_type}))
    message = refusal(str(directory), Checkpoint.open)
    assert message.startswith("config.json is not that of a language model: it has no ")


def test_what_nobody_set_is_no_mistake(spoilt: Spoilt, model_type: str) -> None:
    changes = {"rope_scaling": None, "sliding_window": None, "architectures": None, "torch_dtype": "float32"}
    if model_type == "gpt2":
        changes["n_inner"] = None
    check_model(Checkpoint.open(spoilt(**changes)))
