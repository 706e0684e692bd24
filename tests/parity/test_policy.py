"""CoLaR's stochastic head, against golden rollouts of the published generation."""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from golden_rollouts import NONE, Golden, RowNumbers
from torch import Tensor

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers.policy import Policy

AT_ONCE = pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])


class InjectedPolicy(Policy):
    """The policy with given normal draws, [steps, rows, hidden size], and uniform ones, [steps, rows]."""

    kind: ClassVar[str] = "injected_policy"
    eps: Any
    uniform: Any
    rows: Any

    def noise(self, streams: Streams, step: int, width: int) -> Tensor:
        # What rows would think that have taken the most steps does not count.
        drawn: Tensor = self.eps[min(step, len(self.eps)) - 1][self.rows.of(streams)]
        return drawn

    def draw_stop(self, probability: Tensor, streams: Streams, step: int) -> Tensor:
        # Numbered by the latents that have been fed.
        drawn: Tensor = self.uniform[step - 2][self.rows.of(streams)]
        return drawn < probability


@pytest.fixture(scope="module")
def golden(parity_2026_dir: Path) -> Golden:
    return Golden("colar-policy", parity_2026_dir)


@pytest.fixture(scope="module", params=["merged", "converted"])
def merged(request: pytest.FixtureRequest, golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> LatentReasoner:
    """The model in one piece, or converted from what its trainer leaves, with what no file says of it."""
    to, said = tmp_path_factory.mktemp("colar_policy") / "merged", golden.description
    if request.param == "converted":
        options = Options(
            base=str(golden.directory / said["base"]),
            changes={"latent_steps": said["max_latent_steps"], "answer_tokens": said["answer_tokens"]},
            lora_alpha=said["lora_alpha"],
            allow_pickle=True,
            embedding_std=said["embeds_std"],
        )
        convert(str(golden.directory / golden.name / said["weights"]), to, options)
        return LatentReasoner.from_pretrained(str(to))
    shutil.copytree(golden.directory / golden.description["merged"], to)
    config = json.loads((to / "config.json").read_text())
    config["latent_embedding_std"] = golden.description["embeds_std"]
    (to / "config.json").write_text(json.dumps(config))
    described = {
        "family": "colar_policy",
        "latent_steps": golden.description["max_latent_steps"],
        "answer_tokens": golden.description["answer_tokens"],
    }
    (to / "latent.json").write_text(json.dumps(described))
    return LatentReasoner.from_pretrained(str(to))


def test_conventions(golden: Golden, merged: LatentReasoner) -> None:
    checkpoint = merged.checkpoint
    assert checkpoint.end_id == golden.description["stop_id"]
    assert list(checkpoint.fed_ids) == [golden.description["end_id"]]
    assert [checkpoint.prompt_ids(text) for text in golden.description["questions"]] == golden.description["prompt_ids"]


def test_what_no_file_says_has_to_be_given(golden: Golden, tmp_path: Path) -> None:
    said = golden.description
    given = {"base": str(golden.directory / said["base"]), "allow_pickle": True}
    weights = str(golden.directory / golden.name / said["weights"])
    with pytest.raises(UserError, match="LoRA alpha of the trainer, which the weights depend on; say it with"):
        convert(weights, tmp_path / "out", Options(**given, embedding_std=said["embeds_std"]))
    with pytest.raises(UserError, match="say with --embedding-std"):
        convert(weights, tmp_path / "out", Options(**given, lora_alpha=said["lora_alpha"]))


@AT_ONCE
def test_other_samplers_think_in_means(golden: Golden, merged: LatentReasoner, at_once: int) -> None:
    golden.check("mean", golden.roll_out(merged, NONE, at_once))


@AT_ONCE
@pytest.mark.parametrize(
    ("kind", "stop"), [("mean", "argmax"), ("noise", "argmax"), ("cool", "argmax"), ("drawn", "drawn")]
)
def test_injected_draws(golden: Golden, merged: LatentReasoner, kind: str, stop: str, at_once: int) -> None:
    sampler = InjectedPolicy(
        eps=golden.tensors["noise.eps"],
        uniform=golden.tensors["drawn.uniform"],
        rows=RowNumbers(golden.questions, 1),
        temperature=golden.description["temperatures"][kind],
        stop=stop,
    )
    golden.check(kind, golden.roll_out(merged, sampler, at_once))
