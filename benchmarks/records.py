"""How long does a device wait while the host makes records of what it has computed?

    python -m benchmarks.records                  # everything on one CPU thread
    python -m benchmarks.records --device cuda    # latents are rounded and looked at on the GPU, as in rollouts there

A batch of 64 questions x 64 samples has thought and written; its latents have GPT-2 small's width. What follows is
timed: copies to the host, texts, grades, records, and the table that an actor returns.
"""

import argparse
import gc
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.machine import seconds_of
from benchmarks.random_model import VOCABULARIES, random_problems_of, save_random_reasoner
from latent_core.engine.answer_buffer import Answers
from latent_core.engine.latent_steps import ActiveRows
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.engine.trajectories import read_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.trajectory import TrajectoryBatch
from workers.tables import trajectory_table

_SAMPLES, _STEPS, _WIDTH, _TOKENS, _POSITIONS = 64, 6, 768, 12, 256
_PRECISIONS = {"none": None, "float16": torch.float16, "float32": torch.float32}


class Line(NamedTuple):
    """One line of the table.

    Attributes:
        answers: "all differ", or "one per question".
        latents: Precision in which latents are recorded.
        records: Seconds for the records of the batch.
        table: Seconds for the table made of them.
    """

    answers: str
    latents: str
    records: float
    table: float


class _Written(RolloutEngine):
    """An engine whose rows have written their answers already."""

    token_ids: Tensor

    def decode(
        self,
        state: RolloutState,
        max_tokens: int,
        stop_at_end: bool = True,
        keep_logits: bool = False,
        truncated: bool = False,
        keep_confidence: bool = False,
    ) -> Answers:
        """Return what was written: writing is not what is timed."""
        device, rows = state.hidden.device, state.rows
        lengths = torch.full((rows,), self.token_ids.shape[1], device=device)
        finite, sure = torch.ones(rows, dtype=torch.bool, device=device), torch.zeros(rows, device=device)
        return Answers(self.token_ids, lengths, finite, logprob=sure, entropy=sure)


class Bench:
    """A batch that has been computed. The backbone is tiny, since nothing goes through it any more."""

    def __init__(self, folder: Path, device: torch.device, questions: int) -> None:
        """Make up what a batch has thought."""
        self._device = device
        save_random_reasoner("gpt2-tiny", _POSITIONS, folder, VOCABULARIES["gpt2-small"])
        reasoner = LatentReasoner.from_pretrained(str(folder), device=device)
        self._block = PromptBatch.of(reasoner, random_problems_of(prompt_lengths(questions)))
        self._engine = _Written(reasoner, parse_sampler({"kind": "gaussian", "sigma": 0.3}))
        state = self._engine.start(self._block.prompts, self._block.question_ids, 0, range(_SAMPLES))
        self._state = replace(state, latents=torch.randn(state.rows, _STEPS, _WIDTH, device=device))
        # As actors do.
        gc.freeze()

    def line(self, answers: str, latents: str, rounds: int) -> Line:
        """Measure one line; medians of some rounds."""
        rows, questions = self._state.rows, self._state.questions
        distinct = rows if answers == "all differ" else questions
        vocabulary = VOCABULARIES["gpt2-small"]
        ids = torch.randint(vocabulary // 2, vocabulary, (distinct, _TOKENS), device=self._device)
        self._engine.token_ids = ids.repeat_interleave(rows // distinct, dim=0)
        trajectories = self._records(latents)

        def as_table() -> object:
            return trajectory_table(trajectories, 0, _SAMPLES, latents)

        seconds: Sequence[tuple[float, float]] = [
            (seconds_of(lambda: self._records(latents), self._device), seconds_of(as_table, self._device))
            for _ in range(rounds)
        ]
        return Line(answers, latents, *(statistics.median(column) for column in zip(*seconds, strict=True)))

    def _records(self, latents: str) -> TrajectoryBatch:
        samples, kept = range(_SAMPLES), range(self._state.rows)
        stops = [ActiveRows.of(self._state)]
        dtype = _PRECISIONS[latents]
        return read_trajectories(self._engine, stops, self._block, samples, kept, _TOKENS, 0.0, dtype)


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table."""
    head = ["| answers | latents | records, ms | table, ms |", "|---|---|---|---|"]
    return "\n".join(
        head + [f"| {a} | {latents} | {1e3 * records:.0f} | {1e3 * made:.0f} |" for a, latents, records, made in lines]
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), torch.device(options.device), options.questions)
    lines = [
        bench.line(answers, latents, options.rounds)
        for answers in ("all differ", "one per question")
        for latents in _PRECISIONS
    ]
    sys.stdout.write(table(lines) + "\n")


if __name__ == "__main__":
    main()
