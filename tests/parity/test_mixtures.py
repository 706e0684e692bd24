"""Reasoners that think in mixtures of token embeddings, against golden rollouts of the published programs."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from golden_rollouts import NONE, Golden, RowNumbers
from torch import Tensor

from latent_core.mixtures import Candidates
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers.gumbel import GumbelNoise
from latent_core.samplers.multiplex import Multiplex

AT_ONCE = pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])


class InjectedGumbel(GumbelNoise):
    """Gumbel noise with given draws: [steps, rows, candidates in their order] or [steps, rows, vocabulary]."""

    kind: ClassVar[str] = "injected_gumbel"
    draws: Any
    rows: Any
    by_token: bool

    def noise(self, candidates: Candidates, streams: Streams, step: int) -> Tensor:
        # Rows that are cut are asked once more, and what they would think then does not count.
        drawn: Tensor = self.draws[min(step, len(self.draws)) - 1][self.rows.of(streams)]
        return drawn.gather(1, candidates.ids) if self.by_token else drawn[:, : candidates.ids.shape[1]]


class InjectedDraws(Multiplex):
    """Multiplex with given tokens, [steps, rows, draws]."""

    kind: ClassVar[str] = "injected_draws"
    sampled_ids: Any
    rows: Any

    def drawn(self, candidates: Candidates, streams: Streams, step: int) -> Tensor:
        ids: Tensor = self.sampled_ids[step - 1][self.rows.of(streams)].clamp(min=0)
        return (candidates.ids[:, None, :] == ids[:, :, None]).int().argmax(dim=-1)


@pytest.fixture(scope="module", params=["latentsft-llama", "latentsft-qwen2"])
def latent_sft(
    request: pytest.FixtureRequest, parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Golden, LatentReasoner]:
    golden = Golden(request.param, parity_2026_dir)
    mixture = {"width": golden.description["top_k"]}
    return golden, golden.described(tmp_path_factory.mktemp("latent_sft"), "latent_sft", mixture=mixture)


@pytest.fixture(scope="module", params=["stop", "all"])
def latent_grpo(
    request: pytest.FixtureRequest, parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Golden, LatentReasoner, str]:
    """Latent-GRPO, with only the first token of the end fed or all of them."""
    golden = Golden("latentgrpo-llama", parity_2026_dir)
    described = golden.description
    mixture = {
        "width": described["top_k"],
        "at_least": described["top_k"],
        "top_p": described["top_p"],
        "noise_range": described["gumbel_clamp"],
    }
    to = tmp_path_factory.mktemp("latent_grpo")
    return golden, golden.described(to, "latent_grpo", mixture=mixture, end_fed=request.param), request.param


@pytest.fixture(scope="module")
def soft_thinking(parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Golden, LatentReasoner]:
    golden = Golden("softthinking-qwen2", parity_2026_dir)
    described = golden.description
    mixture = {
        **{name: described[name] for name in ("temperature", "top_k", "top_p", "min_p")},
        "width": described["max_topk"],
        "cold_stop": {"entropy": described["cold_stop_entropy"], "steps": described["cold_stop_steps"]},
    }
    return golden, golden.described(tmp_path_factory.mktemp("soft_thinking"), "soft_thinking", mixture=mixture)


@pytest.fixture(scope="module")
def multiplex(parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Golden, LatentReasoner]:
    golden = Golden("multiplex-qwen2", parity_2026_dir)
    mixture = {"width": golden.description["width"], "temperature": golden.description["temperature"]}
    return golden, golden.described(tmp_path_factory.mktemp("multiplex"), "multiplex", mixture=mixture)


def assert_same_conventions(golden: Golden, reasoner: LatentReasoner) -> None:
    checkpoint = reasoner.checkpoint
    assert [checkpoint.prompt_ids(text) for text in golden.description["questions"]] == golden.description["prompt_ids"]
    assert checkpoint.end_id == golden.description["stop_id"]
    assert checkpoint.format.end_fed == "stop" or list(checkpoint.fed_ids) == golden.description["end_ids"]
    assert golden.description["eos_id"] in checkpoint.answer_ends


@AT_ONCE
def test_latent_sft(latent_sft: tuple[Golden, LatentReasoner], at_once: int) -> None:
    golden, reasoner = latent_sft
    assert_same_conventions(golden, reasoner)
    golden.check("greedy", golden.roll_out(reasoner, NONE, at_once))


@AT_ONCE
def test_latent_sft_with_injected_noise(latent_sft: tuple[Golden, LatentReasoner], at_once: int) -> None:
    golden, reasoner = latent_sft
    samples = golden.description["samples"]
    sampler = InjectedGumbel(
        draws=golden.tensors["noise.gumbel"],
        rows=RowNumbers(golden.questions, samples),
        by_token=False,
        scale=golden.description["noise_scale"],
        temperature=golden.description["noise_temperature"],
    )
    golden.check("noise", golden.roll_out(reasoner, sampler, at_once, samples))


@AT_ONCE
def test_latent_grpo(latent_grpo: tuple[Golden, LatentReasoner, str], at_once: int) -> None:
    golden, reasoner, fed = latent_grpo
    assert_same_conventions(golden, reasoner)
    found = golden.roll_out(reasoner, NONE, at_once)
    golden.check("greedy", found, *(("answer_ids_full", "logits_full") if fed == "all" else ()))


@AT_ONCE
@pytest.mark.parametrize("kind", ["noise", "scaled", "twosided"])
def test_latent_grpo_with_injected_noise(
    latent_grpo: tuple[Golden, LatentReasoner, str], kind: str, at_once: int
) -> None:
    golden, reasoner, fed = latent_grpo
    settings = golden.description["settings"][kind]
    sampler = InjectedGumbel(
        draws=golden.tensors[f"{kind}.gumbel" if f"{kind}.gumbel" in golden.tensors else "noise.gumbel"],
        rows=RowNumbers(golden.questions, 1),
        by_token=True,
        scale=settings["noise_scale"],
        temperature=settings["noise_temperature"],
        one_sided=settings["one_sided"],
    )
    found = golden.roll_out(reasoner, sampler, at_once)
    golden.check(kind, found, *(("answer_ids_full", "logits_full") if fed == "all" else ()))


@AT_ONCE
def test_soft_thinking(soft_thinking: tuple[Golden, LatentReasoner], at_once: int) -> None:
    golden, reasoner = soft_thinking
    assert_same_conventions(golden, reasoner)
    golden.check("greedy", golden.roll_out(reasoner, NONE, at_once))
    # Guards against golden rows that never are sure for long enough.
    assert 2 in golden.tensors["greedy.stop_reason"]


@AT_ONCE
@pytest.mark.parametrize(("kind", "weights"), [("weighted", "probability"), ("mean", "equal")])
def test_multiplex_with_injected_tokens(
    multiplex: tuple[Golden, LatentReasoner], kind: str, weights: str, at_once: int
) -> None:
    golden, reasoner = multiplex
    assert_same_conventions(golden, reasoner)
    drawn = golden.tensors[f"{kind}.sampled_ids"]
    sampler = InjectedDraws(
        sampled_ids=drawn, rows=RowNumbers(golden.questions, 1), weights=weights, draws=drawn.shape[-1]
    )
    found = golden.roll_out(reasoner, sampler, at_once)
    golden.check(kind, found)
    assert torch.equal(found.steps, golden.tensors[f"{kind}.steps"])
