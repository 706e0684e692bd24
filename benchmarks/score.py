"""How fast does a LatentRM score, against reading every trajectory with its prompt?

    python -m benchmarks.score                                   # GPT-2 small on one CPU thread
    python -m benchmarks.score --device cuda --dtype bfloat16 --questions 64

Weights and latents are random, prompts as long as GSM8K's. The plain side repeats each prompt N times, puts the latents
behind it and reads both in one pass, as published. Both sides score the same latents, and their scores are compared
before their times are.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedModel

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.machine import Machine, faster, measure_machine, seconds_of
from benchmarks.random_model import SHAPES, VOCABULARIES, random_problems_of, save_random_reasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.packing import pack_linear_layers
from latent_core.models.reasoner import DTYPES
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates

_STEPS, _POSITIONS = 6, 256
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1.0, torch.float16: 0.1}


@dataclass(frozen=True)
class Line:
    """One line of the table: N, both rates in trajectories per second, and the share of the machine's limit."""

    n: int
    ours: float
    plain: float
    share: float


class Bench:
    """A reward model twice, and the machine."""

    def __init__(self, shape: str, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        """Make random weights, and load them for both sides."""
        save_random_reasoner(shape, _POSITIONS, folder, VOCABULARIES[shape])
        self.device, self.dtype = device, dtype
        self.checkpoint = Checkpoint.open(str(folder))
        self.model = LatentRewardModel.from_reasoner(self.checkpoint, seed=0).to(device, dtype).eval()
        plain: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(folder, num_labels=1)
        plain.load_state_dict(self.model.model.state_dict())
        self.plain = plain.to(device=device, dtype=dtype).eval()
        # As a scorer's are.
        pack_linear_layers(self.model.model.base_model)
        self.machine: Machine = measure_machine(device, dtype)
        self.weight_bytes = sum(one.numel() * one.element_size() for one in plain.base_model.parameters())

    @torch.inference_mode()
    def line(self, n: int, questions: int, rounds: int) -> Line:
        """Measure one line, both sides in turns."""
        problems = random_problems_of(prompt_lengths(questions))
        prompts = [self.checkpoint.prompt_ids(problem.question) for problem in problems]
        width = self.checkpoint.hidden_size
        latents = torch.randn(n * questions, _STEPS, width, device=self.device, dtype=self.dtype)
        candidates = CandidateBatch(latents, torch.full((len(latents),), _STEPS, device=self.device))

        def ours() -> Tensor:
            return score_candidates(self.model, prompts, candidates, apart=True).score

        def plain() -> Tensor:
            return self._plain_scores(prompts, latents, n)

        self.machine = faster(self.machine, measure_machine(self.device, self.dtype))
        one, other = ours(), plain()
        difference = float((one - other).abs().max())
        assert difference < _TOLERANCE[self.dtype] * (1 + float(other.abs().max())), difference
        seconds = [[seconds_of(side, self.device) for side in (ours, plain)] for _ in range(rounds)]
        mine, theirs = (statistics.median(column) for column in zip(*seconds, strict=True))
        flops = self.model.flops
        needed = sum(flops.prompt(len(prompt)) + n * flops.suffix(len(prompt), _STEPS) for prompt in prompts)
        limit = self.machine.seconds(needed, 2 * self.weight_bytes)
        return Line(n, len(latents) / mine, len(latents) / theirs, limit / mine)

    def _plain_scores(self, prompts: Sequence[Sequence[int]], latents: Tensor, n: int) -> Tensor:
        longest = max(map(len, prompts))
        embed = self.plain.get_input_embeddings()
        rows = torch.full((len(prompts), longest), 0)
        mask = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            rows[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        rows, mask = (one.to(self.device).repeat_interleave(n, dim=0) for one in (rows, mask))
        inputs = torch.cat([embed(rows), latents], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(mask), _STEPS)], dim=1)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        output = self.plain(inputs_embeds=inputs, attention_mask=mask, position_ids=positions)
        return output.logits[:, -_STEPS:, 0].float().sum(dim=1)


def table(lines: Sequence[Line], machine: Machine) -> str:
    """Return the lines as Markdown."""
    rows = [
        f"{machine.name}; {machine.flops / 1e9:,.0f} GFLOP/s, {machine.bandwidth / 1e9:,.1f} GB/s",
        "",
        "| N | plain, trajectories/s | ours | ratio | share of the limit |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {line.n} | {line.plain:.1f} | {line.ours:.1f} | {line.ours / line.plain:.1f}x | {100 * line.share:.0f} % |"
        for line in lines
    ]
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--n", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.shape, Path(folder), torch.device(options.device), DTYPES[options.dtype])
        lines = [bench.line(n, options.questions, options.rounds) for n in options.n]
    sys.stdout.write(table(lines, bench.machine) + "\n")


if __name__ == "__main__":
    main()
