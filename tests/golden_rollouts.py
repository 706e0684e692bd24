"""Golden rollouts of newer reasoners: read, described anew, and rolled out row by row whatever is beside a row."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.models.formats import FAMILIES
from latent_core.randomness import Streams, question_key
from latent_core.samplers import Sampler, parse_sampler

TOLERANCE = 1e-4
SEED = 3
NONE = parse_sampler({"kind": "none"})


class RowNumbers:
    """Finds the row of a golden file that a row of a batch is, by its random stream: batches lose rows on the way."""

    def __init__(self, questions: int, samples: int) -> None:
        self._numbers = {question_key(SEED, str(one)): one for one in range(questions)}
        self._samples = samples

    def of(self, streams: Streams) -> Tensor:
        first = torch.tensor([self._numbers[first, second] for first, second in streams.key.tolist()])
        # A batch of few rows is filled up with later samples, of which nothing is read.
        return first * self._samples + streams.sample.clamp(max=self._samples - 1)


@dataclass(frozen=True)
class Rows:
    """What rows have thought and written, in the order of the golden file.

    Attributes:
        latents: [rows, most steps, hidden size], zero behind a row's steps.
        thought_ids: int64 [rows, most steps], -1 behind a row's steps or where no token stands for a latent.
        steps: int64 [rows].
        answer_ids: int64 [rows, answer tokens].
        logits: [rows, answer tokens, vocabulary].
    """

    latents: Tensor
    thought_ids: Tensor
    steps: Tensor
    answer_ids: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Golden:
    """One golden file with its description."""

    name: str
    directory: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / f"{self.name}.json").read_text())
        return content

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.directory / f"{self.name}.golden.safetensors")

    @property
    def questions(self) -> int:
        return len(self.description["questions"])

    def described(self, to: Path, family: str, **settings: Any) -> LatentReasoner:
        """Load the checkpoint beside a `latent.json` of its family and of what the golden rollouts have otherwise."""
        shutil.copytree(self.directory / self.name, to / self.name)
        config = json.loads((to / self.name / "config.json").read_text())
        said = {
            "family": family,
            "latent_steps": self.description["max_latent_steps"],
            "answer_tokens": self.description["answer_tokens"],
            "budget": "own",
            **settings,
        }
        if (instruction := self.description.get("instruction")) is not None:
            before, _, behind = FAMILIES[family](config).prompt.partition("Please")
            said["prompt"] = before + instruction + "{question}" + behind.partition("{question}")[2]
        (to / self.name / "latent.json").write_text(json.dumps(said))
        return LatentReasoner.from_pretrained(str(to / self.name))

    def roll_out(self, reasoner: LatentReasoner, sampler: Sampler, at_once: int, samples: int = 1) -> Rows:
        """Roll out all prompts, so many at once."""
        prompts: list[list[int]] = self.description["prompt_ids"]
        parts = [
            _roll_out(reasoner, sampler, prompts, range(first, min(first + at_once, len(prompts))), samples, self)
            for first in range(0, len(prompts), at_once)
        ]
        return Rows(*(torch.cat([getattr(part, name) for part in parts]) for name in Rows.__dataclass_fields__))

    def check(self, kind: str, found: Rows, answers: str = "answer_ids", logits: str = "logits") -> None:
        """Compare with a set of the golden file."""
        wanted = {name.partition(".")[2]: one for name, one in self.tensors.items() if name.startswith(f"{kind}.")}
        assert found.steps.tolist() == wanted["steps"].tolist()
        torch.testing.assert_close(found.latents, wanted["latents"], atol=TOLERANCE, rtol=0)
        if "latent_ids" in wanted:
            assert found.thought_ids.tolist() == wanted["latent_ids"].tolist()
        assert found.answer_ids.tolist() == wanted[answers].tolist()
        kept = wanted[logits].shape[1]
        torch.testing.assert_close(found.logits[:, :kept], wanted[logits], atol=TOLERANCE, rtol=0)


def _roll_out(
    reasoner: LatentReasoner,
    sampler: Sampler,
    prompts: Sequence[list[int]],
    questions: range,
    samples: int,
    golden: Golden,
) -> Rows:
    most, tokens = golden.description["max_latent_steps"], golden.description["answer_tokens"]
    engine, count = RolloutEngine(reasoner, sampler), len(questions) * samples
    start = engine.start([prompts[one] for one in questions], [str(one) for one in questions], SEED, range(samples))
    rows = Rows(
        torch.zeros(count, most, start.latents.shape[-1]),
        torch.full((count, most), -1),
        torch.full((count,), -1),
        torch.zeros(count, tokens, dtype=torch.int64),
        torch.zeros(count, tokens, reasoner.checkpoint.config.vocab_size),
    )
    for stop in run_latent_steps(engine, ActiveRows.of(start), most):
        answers = engine.decode(stop.state, tokens, stop_at_end=False, keep_logits=True)
        assert answers.logits is not None
        steps, own = stop.state.latents.shape[1], stop.counts.nonzero().flatten()
        origin = stop.origin[own]
        assert bool((rows.steps[origin] == -1).all()), "a row has stopped twice"
        rows.latents[origin, :steps] = stop.state.latents[own]
        if stop.state.thought_ids.shape[1]:
            rows.thought_ids[origin, :steps] = stop.state.thought_ids[own]
        rows.steps[origin] = steps
        rows.answer_ids[origin], rows.logits[origin] = answers.token_ids[own], answers.logits[own]
    return rows
