"""Base models, and what every conversion is compared with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from trainers import plain_loop, save_base

from latent_core.conversion import Options, convert
from latent_core.engine.rollout import RolloutEngine
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.samplers import none

# Each step of a random model magnifies what rounding has left in the one before: few of them can be compared closely.
STEPS = 2
Refusal = Callable[..., str]


@pytest.fixture(scope="session")
def gpt2_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("bases") / "gpt2", "gpt2")


@pytest.fixture(scope="session")
def llama_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("bases") / "llama", "llama", opens=True)


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """The one line with which a conversion is refused; it must leave nothing behind."""

    def refuse(source: str | Path, **options: object) -> str:
        out = tmp_path / "refused"
        before = sorted(tmp_path.iterdir())
        with pytest.raises(UserError) as caught:
            convert(str(source), out, Options(**options))  # type: ignore[arg-type]
        message = str(caught.value)
        assert "\n" not in message
        assert ".partial" not in message
        assert sorted(tmp_path.iterdir()) == before
        return message.removeprefix(f"checkpoint {source}: ")

    return refuse


def thinks(directory: Path, question: str, steps: int) -> tuple[list[int], Tensor, Tensor]:
    """Run a converted checkpoint: prompt ids, latents, and logits behind the end token."""
    reasoner = LatentReasoner.from_pretrained(str(directory))
    engine = RolloutEngine(reasoner, none.NoSampling())
    prompt = reasoner.checkpoint.prompt_ids(question)
    state = engine.prefill([prompt], ["one"], seed=0)
    for _ in range(steps):
        state = engine.step(state)
    logits = engine.decode(state, 1, keep_logits=True).logits
    assert logits is not None
    return prompt, state.latents[0], logits[0, 0]


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """Compares a converted checkpoint with the trainer's own module, run by a plain loop."""

    def compare(
        directory: Path, prompt: list[int], end: int, model: nn.Module, embed: nn.Module, feed_back: nn.Module
    ) -> None:
        found_prompt, latents, logits = thinks(directory, "ann has 3 pens ?", STEPS)
        assert found_prompt == prompt
        wanted_latents, wanted_logits = plain_loop(model, embed, feed_back, prompt, STEPS, end)
        torch.testing.assert_close(latents, wanted_latents, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(logits[: len(wanted_logits)], wanted_logits, atol=5e-5, rtol=1e-5)

    return compare
