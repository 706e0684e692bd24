"""Stop gates: thresholds and two-way heads decide as they are defined, and gated lengths are described in full."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save_checkpoint_of
from pydantic import ValidationError

from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.rollout import RolloutEngine
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.formats import LatentFormat
from latent_core.models.gates import StopGate, StopGateSettings
from latent_core.models.meta_model import check_model
from latent_core.samplers import none

WIDTH = 6


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6])
def test_one_output_is_a_probability(threshold: float) -> None:
    weight, bias, states = drawn(1, WIDTH), drawn(1), drawn(40, WIDTH)
    gate = StopGate(weight, bias, StopGateSettings(threshold=threshold))
    wanted = torch.sigmoid(states @ weight[0] + bias) > threshold
    assert gate(states).tolist() == wanted.tolist()
    assert 0 < int(wanted.sum()) < 40


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_two_outputs_are_a_choice(threshold: float) -> None:
    weight, states = drawn(2, WIDTH), drawn(40, WIDTH)
    gate = StopGate(weight, None, StopGateSettings(threshold=threshold))
    wanted = (states @ weight.T).softmax(dim=-1)[:, 1] > threshold
    assert gate(states).tolist() == wanted.tolist()
    assert 0 < int(wanted.sum()) < 40


def test_equal_outputs_go_on() -> None:
    gate = StopGate(torch.ones(2, WIDTH), None, StopGateSettings())
    assert gate(drawn(3, WIDTH)).tolist() == [False] * 3


@pytest.mark.parametrize(
    "described",
    [
        {"latent_length": "gated"},
        {"gate": {}},
        {"latent_length": "adaptive", "gate": {}},
        {"latent_length": "gated", "gate": {"stop_token": "x"}},
        {"latent_length": "gated", "gate": {"threshold": 1.0}},
    ],
)
def test_descriptions_that_contradict_themselves(described: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LatentFormat.model_validate({"prompt": "{question}", **described})


def gated(directory: Path, gate: dict[str, Any], tensors: dict[str, torch.Tensor], **described: Any) -> Path:
    """A reasoner without a feedback head that a gate stops."""
    said = {"latent_length": "gated", "gate": gate, "latent_steps": 5, "at_limit": "close", **described}
    return save_checkpoint_of(directory, "llama", said, tensors)


@pytest.mark.parametrize("reads", ["hidden", "latent"])
def test_rows_stop_where_the_gate_says(reads: str, tmp_path: Path) -> None:
    weight = 0.2 * drawn(1, 32)
    reasoner = LatentReasoner.from_pretrained(
        str(gated(tmp_path / "gated", {"reads": reads}, {"stop_gate.weight": weight, "stop_gate.bias": drawn(1)}))
    )
    assert reasoner.gate is not None
    engine = RolloutEngine(reasoner, none.NoSampling())
    prompts = [reasoner.checkpoint.prompt_ids(f"ann has {number} pens ?") for number in range(3, 11)]
    names = [str(one) for one in range(len(prompts))]
    found = {}
    for stop in run_latent_steps(engine, ActiveRows.of(engine.start(prompts, names, 0, range(1))), 5):
        for row in stop.counts.nonzero().flatten().tolist():
            found[int(stop.origin[row])] = stop.state.latents.shape[1]
    for row, prompt in enumerate(prompts):
        state, steps = engine.prefill([prompt], ["one"], 0), 0
        # Without a head the latent is the hidden state itself.
        while steps < 5 and torch.sigmoid(state.hidden[0] @ weight[0] + drawn(1)) <= 0.5:
            state, steps = engine.step(state), steps + 1
        assert found[row] == steps


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    def refused(name: str, gate: dict[str, Any], tensors: dict[str, torch.Tensor], **described: Any) -> str:
        with pytest.raises(UserError) as caught:
            check_model(Checkpoint.open(str(gated(tmp_path / name, gate, tensors, **described))))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "its weights lack stop_gate.weight of the stop gate" in refused("a", {}, {})
    assert "stop_gate.weight of the stop gate has shape [3, 32]" in refused(
        "b", {}, {"stop_gate.weight": torch.ones(3, 32)}
    )
    tokens = {"go_on_token": "<|go-on|>", "stop_token": "<|end-latent|>"}
    assert "latent.json: gate: its tokenizer has no token '<|go-on|>'" in refused("c", tokens, {})
    assert "never_written: its tokenizer has no token '<|no|>'" in refused("d", {}, {}, never_written=["<|no|>"])
    rows = {"go_on_token": "<|latent|>", "stop_token": "<|end-latent|>"}
    assert "stop_gate.weight" in refused("e", rows, {"stop_gate.weight": torch.ones(1, 32)})
