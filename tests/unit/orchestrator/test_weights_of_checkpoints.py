"""The rule of weights at every entry: a run's plan, `inspect`, `convert` and the library say the same of one folder."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import WIDTH, latent_head_tensors, projector_tensors, save_checkpoint_of, sums_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.inspection.facts import checkpoint_facts
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from orchestrator.cli import main
from orchestrator.commands.inspect_checkpoint import describe_facts
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import Plan, make_plan

FILE = "model.safetensors"
Change = Callable[[Path], None]


def plan_of(directory: Path) -> Plan:
    data = directory.parent / "questions.json"
    data.write_text(json.dumps([{"question": "ann 1 ?", "answer": "1"}]))
    return make_plan(
        parse_config(
            RunConfig,
            {
                "checkpoint": str(directory),
                "task": {"path": str(data)},
                "sampler": {"kind": "none"},
                "budgets": [1],
                "store": {"path": str(directory.parent / "store")},
            },
        )
    )


ENTRIES: dict[str, Callable[[Path], object]] = {
    "run": plan_of,
    "inspect": lambda directory: checkpoint_facts(Checkpoint.open(str(directory))),
    "from_pretrained": lambda directory: LatentReasoner.from_pretrained(str(directory)),
    "convert": lambda directory: convert(str(directory), directory.parent / "out", Options()),
}


def refusal(entry: str, directory: Path) -> str:
    with pytest.raises(UserError) as caught:
        ENTRIES[entry](directory)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint {directory}: ")
    assert not (directory.parent / "out").exists()
    return message


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Change:
    """Change the tensors of a checkpoint; what the function returns, if it is tensors, replaces them."""

    def apply(directory: Path) -> None:
        content = load_file(directory / FILE)
        changed = change(content)
        result = changed if isinstance(changed, dict) else content
        save_file({name: one.contiguous() for name, one in result.items()}, directory / FILE, {"format": "pt"})

    return apply


def more(**added: Tensor) -> Change:
    """Add tensors; two underscores in a name stand for a dot."""
    return tensors(lambda content: content.update({name.replace("__", "."): one for name, one in added.items()}))


def renamed(rename: Callable[[str], str]) -> Change:
    return tensors(lambda content: {rename(name): one for name, one in content.items()})


def config(**changes: Any) -> Change:
    """Change config.json; an ellipsis removes a key."""

    def apply(directory: Path) -> None:
        file = directory / "config.json"
        content = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return apply


def both(*changes: Change) -> Change:
    def apply(directory: Path) -> None:
        for change in changes:
            change(directory)

    return apply


def add_adapter(directory: Path, alpha: int = 8) -> None:
    """What PEFT saves of an adapter, beside whatever is there."""
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": alpha, "target_modules": ["q_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "x/y"}))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    update = {f"{name}A.weight": torch.ones(2, WIDTH), f"{name}B.weight": torch.ones(WIDTH, 2)}
    save_file(update, directory / "adapter_model.safetensors")


def add_shards(directory: Path) -> None:
    """An index with shards of other content beside the single file."""
    content = {name: one + 1 for name, one in load_file(directory / FILE).items()}
    save_file(content, directory / "model-00001-of-00001.safetensors")
    weight_map = dict.fromkeys(content, "model-00001-of-00001.safetensors")
    (directory / f"{FILE}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def contradicting_index(directory: Path) -> None:
    content = load_file(directory / FILE)
    (directory / FILE).unlink()
    halves = [*content][::2], [*content][1::2]
    for number, names in enumerate(halves):
        save_file({name: content[name] for name in names}, directory / f"{number}.safetensors")
    weight_map = {name: f"{number}.safetensors" for number, names in enumerate(halves) for name in names}
    weight_map[halves[0][0]] = "1.safetensors"
    (directory / f"{FILE}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def deeper(content: dict[str, Tensor]) -> None:
    block = "model.layers.1."
    copies = {name.replace(block, "model.layers.2."): one for name, one in content.items() if block in name}
    content.update({name: one.clone() for name, one in copies.items()})


def to_int8(content: dict[str, Tensor]) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    content[name] = (content[name] * 100).to(torch.int8)


def untied_copy(content: dict[str, Tensor]) -> None:
    content["lm_head.weight"] = content["model.embed_tokens.weight"] + 1


def lose(content: dict[str, Tensor]) -> None:
    del content["model.norm.weight"]


@dataclass(frozen=True)
class Case:
    """A folder that is refused.

    Attributes:
        change: What is done to a whole checkpoint.
        says: What the line says.
        described: Its `latent.json`.
        tensors: Of its feedback head.
        settings: Of its configuration.
        converts: Whether conversion makes a checkpoint of it that can be run.
    """

    change: Change
    says: tuple[str, ...]
    described: dict[str, Any] | None = None
    tensors: Callable[[], dict[str, Tensor]] = dict
    settings: tuple[tuple[str, Any], ...] = ()
    converts: bool = False


CODI = (("architectures", ["CODILlama"]),)
HEAD: dict[str, Any] = {
    "described": {"feedback": "latent_head"},
    "tensors": latent_head_tensors,
    "settings": (("latent_embedding_std", 0.5),),
}
NEEDED = ("latent_embedding_std in config.json", "0.018 in the released class")
LOST_AND = ("named as by a wrapper", "`latentswarm convert` writes them")
REFUSED: dict[str, Case] = {
    "adapter beside whole weights": Case(
        add_adapter, ("adapter_config.json, adapter_model.safetensors lie beside whole weights", "merge_and_unload")
    ),
    "adapter settings alone": Case(
        lambda directory: (directory / "adapter_config.json").write_text("{}") and None, ("adapter_config.json lie",)
    ),
    "adapter alone": Case(
        both(add_adapter, lambda directory: (directory / FILE).unlink()), ("it has only an adapter", "merge_and_unload")
    ),
    "projector that config.json does not name": Case(
        lambda directory: None,
        ("called projector.1.bias, projector.1.weight", "belong to a projector feedback", '"projector": true'),
        tensors=projector_tensors,
        settings=CODI,
    ),
    "latent head that nothing takes": Case(
        lambda directory: None, ("called lt_head.fc.0.bias", '"feedback": "latent_head"'), {}, latent_head_tensors
    ),
    "projector with a layer more": Case(
        more(projector__7__weight=torch.ones(4, 4)),
        ("projector.7.weight", "its projector feedback has no such layer"),
        {"feedback": "projector"},
        projector_tensors,
    ),
    "layer more": Case(tensors(deeper), ("model.layers.2", "says 2 layers, but the file has 3")),
    "biases": Case(
        more(model__layers__0__self_attn__q_proj__bias=torch.ones(WIDTH)),
        ("nothing in a llama model is called model.layers.0.self_attn.q_proj.bias",),
    ),
    "norms of queries": Case(
        more(model__layers__0__self_attn__q_norm__weight=torch.ones(8)), ("self_attn.q_norm.weight",)
    ),
    "updates of loralib": Case(
        more(model__layers__0__self_attn__q_proj__lora_A=torch.ones(2, WIDTH)),
        ("low-rank updates that are not merged", "q_proj.lora_A"),
    ),
    "updates of PEFT": Case(
        renamed(
            lambda name: name.replace("q_proj.", "q_proj.base_layer.").replace("k_proj.", "q_proj.lora_A.default.")
        ),
        ("low-rank updates that are not merged",),
    ),
    "two sources": Case(add_shards, ("it has weights twice", FILE, f"{FILE}.index.json", "remove one")),
    "index against shards": Case(contradicting_index, ("contradict each other",)),
    "weights that config.json names elsewhere": Case(
        config(transformers_weights="other.safetensors"),
        ("transformers_weights in config.json names other.safetensors",),
    ),
    "DDP": Case(renamed(lambda name: f"module.{name}"), LOST_AND, converts=True),
    "DDP with a tensor missing": Case(
        both(tensors(lose), renamed(lambda name: f"module.{name}")), ("",), converts=False
    ),
    "compiled": Case(renamed(lambda name: f"_orig_mod.{name}"), LOST_AND, converts=True),
    "FSDP": Case(
        renamed(lambda name: name.replace("layers.0.", "layers.0._fsdp_wrapped_module.")), LOST_AND, converts=True
    ),
    "trained copies": Case(
        tensors(
            lambda content: content.update(
                {
                    "model.embed_tokens.modules_to_save.default.weight": content.pop("model.embed_tokens.weight"),
                    "model.embed_tokens.original_module.weight": torch.zeros(36, WIDTH),
                }
            )
        ),
        ("modules_to_save", "`latentswarm convert` writes them"),
        converts=True,
    ),
    "padded embeddings": Case(
        tensors(
            lambda content: content.update(
                {
                    name: torch.cat([content[name], torch.zeros(64 - len(content[name]), WIDTH)])
                    for name in ("model.embed_tokens.weight", "lm_head.weight")
                }
            )
        ),
        ("padded to a multiple of 64: say vocab_size 64",),
        converts=True,
    ),
    "tensor missing": Case(tensors(lose), ("its weights lack model.norm.weight",)),
    "tied copy that differs": Case(
        tensors(untied_copy),
        ("lm_head.weight and model.embed_tokens.weight differ", "tie_word_embeddings"),
        settings=(("tie_word_embeddings", True),),
    ),
    "int8 without a scale": Case(tensors(to_int8), ("up_proj.weight stored as I8", "dequantize")),
    "int8 with a scale": Case(
        more(model__layers__0__mlp__up_proj__weight_scale=torch.ones(1)), ("quantized (", "weight_scale", "dequantize")
    ),
    **{
        f"config of {method}": Case(
            config(quantization_config={"quant_method": method}),
            ("quantized (quantization_config in config.json: " + method, "dequantize"),
        )
        for method in ("bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8")
    },
    "config of MLX": Case(config(quantization={"bits": 4}), ("quantized (quantization in config.json)",)),
    **{
        f"scale that is {value}": Case(config(latent_embedding_std=value), NEEDED, **HEAD)
        for value in (..., None, 0, 0.0, -0.5, "0.018", True)
    },
    "scale that is nan": Case(
        config(latent_embedding_std=float("nan")),
        ("latent_embedding_std in config.json is nan, and has to be a finite number",),
        **HEAD,
    ),
}


def make(case: Case, folder: Path) -> Path:
    described = case.described if case.described is not None or case.settings == CODI else {}
    directory = save_checkpoint_of(folder / "one", "llama", described, case.tensors(), **dict(case.settings))
    case.change(directory)
    return directory


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_are_not_what_config_says(name: str, entry: str, tmp_path: Path) -> None:
    case = REFUSED[name]
    directory = make(case, tmp_path)
    if entry == "convert" and case.converts:
        ENTRIES[entry](directory)
        LatentReasoner.from_pretrained(str(tmp_path / "out"))
        return
    message = refusal(entry, directory)
    assert all(part in message for part in case.says), message


@dataclass(frozen=True)
class Taken:
    """A folder whose weights are taken, with what is said about the rest."""

    change: Change
    says: tuple[str, ...]
    model_type: str = "llama"
    settings: tuple[tuple[str, Any], ...] = ()


def beside(name: str, **content: Tensor) -> Change:
    return lambda directory: save_file(content or {"projector.1.weight": torch.ones(4, 4)}, directory / name)


UNUSED: dict[str, Taken] = {
    "old masks": Taken(
        more(
            transformer__h__0__attn__bias=torch.ones(1, 1, 96, 96, dtype=torch.bool),
            transformer__h__0__attn__masked_bias=torch.tensor(-1e4),
        ),
        ("not used: 2 old masks (transformer.h.0.attn.bias, transformer.h.0.attn.masked_bias)",),
        "gpt2",
    ),
    "rotary buffers": Taken(
        more(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4)),
        ("not used: 1 rotary buffers (model.layers.0.self_attn.rotary_emb.inv_freq)",),
    ),
    "tied copies": Taken(
        tensors(lambda content: content.update({"lm_head.weight": content["model.embed_tokens.weight"].clone()})),
        ("not used: 1 tied copies (lm_head.weight)",),
        settings=(("tie_word_embeddings", True),),
    ),
    "files beside the weights": Taken(
        both(beside("optimizer.safetensors"), beside("ema.safetensors"), beside("projector_init.safetensors")),
        ("not read: ema.safetensors, optimizer.safetensors, projector_init.safetensors",),
    ),
}


@pytest.mark.parametrize("name", UNUSED)
def test_what_is_left_out_is_said(name: str, tmp_path: Path) -> None:
    case = UNUSED[name]
    before = save_checkpoint_of(tmp_path / "before", case.model_type, {}, **dict(case.settings))
    directory = Path(shutil.copytree(before, tmp_path / "one"))
    case.change(directory)
    lines = dict(describe_facts(checkpoint_facts(Checkpoint.open(str(directory)))))
    notes = "\n".join(convert(str(directory), tmp_path / "out", Options()))
    for said in (plan_of(directory).left_out, lines["weights"], notes):
        assert all(part in said for part in case.says), said
    one, other = (LatentReasoner.from_pretrained(str(path)).model.state_dict() for path in (before, directory))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_dry_run_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path) -> None:
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "one"))
    more(transformer__h__0__attn__masked_bias=torch.tensor(-1e4))(directory)
    plan = plan_of(directory)
    (tmp_path / "config.yaml").write_text(json.dumps(plan.config.model_dump(mode="json")))
    assert main(["run", str(tmp_path / "config.yaml"), "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "weights     not used: 1 old masks (transformer.h.0.attn.masked_bias)\n" in said


def test_nothing_is_said_of_whole_weights(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    assert plan_of(directory).left_out == ""
    assert dict(describe_facts(checkpoint_facts(Checkpoint.open(str(directory)))))["weights"] == FILE


def test_a_bias_of_a_projection_does_not_pass_for_a_mask(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})
    more(transformer__h__0__attn__bias=torch.ones(WIDTH))(directory)
    assert "is called transformer.h.0.attn.bias" in refusal("inspect", directory)


def test_the_feedback_head_is_of_the_same_file(tmp_path: Path) -> None:
    """Not of the alphabetically last one, and other files do not change the fingerprint."""
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": "projector"}, projector_tensors())
    fingerprint = Checkpoint.open(str(directory)).fingerprint
    first = LatentReasoner.from_pretrained(str(directory)).feedback.state_dict()
    others = {name: one * 7 for name, one in projector_tensors().items()}
    for name in ("ema", "projector_init", "a"):
        save_file(others, directory / f"{name}.safetensors")
    second = LatentReasoner.from_pretrained(str(directory)).feedback.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert Checkpoint.open(str(directory)).fingerprint == fingerprint


def test_shards_are_one_source(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": "projector"}, projector_tensors())
    whole = LatentReasoner.from_pretrained(str(directory))
    content, shards = load_file(directory / FILE), [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for number, shard in enumerate(shards):
        save_file(dict([*content.items()][number::2]), directory / shard)
    index = {"weight_map": {name: shards[place % 2] for place, name in enumerate(content)}}
    (directory / f"{FILE}.index.json").write_text(json.dumps(index))
    (directory / FILE).unlink()
    sharded = LatentReasoner.from_pretrained(str(directory))
    for one, other in ((whole.model, sharded.model), (whole.feedback, sharded.feedback)):
        wanted, found = one.state_dict(), other.state_dict()
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    before = sharded.checkpoint.fingerprint
    tensor = load_file(directory / shards[1])
    save_file({name: one + 1 for name, one in tensor.items()}, directory / shards[1])
    assert Checkpoint.open(str(directory)).fingerprint != before


WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
sys.path[:0] = sys.argv[1].split(":")
from checkpoints import sums_of
for source in sys.argv[2:]:
    print(sums_of(source))
"""


def test_what_is_installed_decides_nothing(tmp_path: Path) -> None:
    """With PEFT and without it one folder gives the same fingerprint and weights, or the same refusal."""
    plain = save_checkpoint_of(tmp_path / "plain", "llama", {"feedback": "projector"}, projector_tensors())
    adapted = Path(shutil.copytree(plain, tmp_path / "adapted"))
    add_adapter(adapted)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_PEFT,
            ":".join([str(Path(__file__).parent), *sys.path]),
            str(plain),
            str(adapted),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [sums_of(str(plain)), sums_of(str(adapted))]
    assert done.stdout.splitlines() == said
    assert said[0].split()[0] == Checkpoint.open(str(plain)).fingerprint
    assert "adapter_config.json, adapter_model.safetensors lie beside whole weights" in said[1]


def test_the_cure_for_an_adapter_beside_weights(tmp_path: Path) -> None:
    """Whoever knows that the weights are merged names the file itself."""
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    wanted = LatentReasoner.from_pretrained(str(directory)).model.state_dict()
    add_adapter(directory)
    convert(str(directory / FILE), tmp_path / "out", Options())
    found = LatentReasoner.from_pretrained(str(tmp_path / "out")).model.state_dict()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


@pytest.mark.parametrize("name", ["model.gguf", "weights"])
def test_gguf_says_what_it_is(name: str, tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    (directory / FILE).unlink()
    (directory / name).write_bytes(b"GGUF\x03\x00\x00\x00")
    for source in (directory / name, directory):
        with pytest.raises(UserError) as caught:
            convert(str(source), tmp_path / "out", Options())
        assert f"{name} is GGUF, the format of llama.cpp" in str(caught.value)
        assert f"gguf_file={name!r}" in str(caught.value)
        assert "pickle" not in str(caught.value)
    if name.endswith(".gguf"):
        assert "is GGUF" in refusal("inspect", directory)


def test_converted_padding_and_trained_copies_are_the_models_own(tmp_path: Path) -> None:
    directory = make(REFUSED["trained copies"], tmp_path)
    wanted = load_file(directory / FILE)["model.embed_tokens.modules_to_save.default.weight"]
    convert(str(directory), tmp_path / "out", Options())
    assert torch.equal(load_file(tmp_path / "out" / FILE)["model.embed_tokens.weight"], wanted)


def test_two_trained_copies_are_refused(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    name = "model.embed_tokens.modules_to_save."
    more(**{f"{name}{adapter}.weight".replace(".", "__"): torch.ones(36, WIDTH) for adapter in ("a", "b")})(directory)
    assert "trained copies of 2 adapters in it (a, b:" in refusal("convert", directory)


def test_one_name_for_two_tensors(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})
    tensors(lambda content: content.update({"wpe.weight": content["transformer.wpe.weight"] + 1}))(directory)
    for entry in ENTRIES:
        assert "transformer.wpe.weight and wpe.weight are both transformer.wpe.weight" in refusal(entry, directory)
