"""How fast are rollouts, against the plain loop and against the machine?

    python -m benchmarks.rollout                                  # GPT-2 small on one CPU thread
    python -m benchmarks.rollout --shape llama-1b --dtype bfloat16 --n 1 4 16 --questions 2
    python -m benchmarks.rollout --device cuda --dtype bfloat16 --questions 64

Weights are random in the real shape, prompts as long as GSM8K's. Both sides take the same batch of questions, in the
same process, one after the other; a line is the median of some rounds. "Limit" is the time that the machine needs at
least for the arithmetic that a rollout asks for, or for reading the weights once a pass, whichever binds, measured in
the same process; the share is that of our time.
"""

import argparse
import gc
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.machine import Machine, faster, measure_machine, seconds_of
from benchmarks.plain_rollout import PlainRollout
from benchmarks.random_model import VOCABULARIES, random_problems_of, save_random_reasoner
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.engine.state import RolloutState
from latent_core.models.reasoner import DTYPES, LatentReasoner
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory, TrajectoryBatch

_STEPS, _ANSWER_TOKENS = 6, 12
_POSITIONS = 256
_SAMPLERS: dict[str, dict[str, Any]] = {
    "noise": {"kind": "gaussian", "sigma": 0.3},
    "dropout": {"kind": "mc_dropout", "p": 0.1, "sites": ["feed_forward"], "scope": ["latent"]},
    # Of reasoners that think in mixtures; see `benchmarks.mixtures`.
    "gumbel": {"kind": "gumbel", "scale": 0.5},
}


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        sampler: Its name here.
        n: Rows per question.
        questions: Questions in the batch.
        ours: Trajectories per second of the engine.
        plain: The same of the plain loop; None where it was not run.
        share: Share of the machine's limit that the engine reaches.
        thinking: The same of the latent steps alone.
        memory: Most bytes in use while the engine ran, weights included.
    """

    sampler: str
    n: int
    questions: int
    ours: float
    plain: float | None
    share: float
    thinking: float
    memory: float


class Bench:
    """A reasoner, the plain loop on the same weights, and the machine."""

    plain_loop: type[PlainRollout] = PlainRollout

    def __init__(
        self,
        shape: str,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        all_logits: bool,
        prompt_tokens: int | None = None,
    ) -> None:
        """Make random weights and load them twice; prompts are as long as GSM8K's where their length is not given."""
        self._prompt_tokens = prompt_tokens
        save_random_reasoner(shape, _POSITIONS + (prompt_tokens or 0), folder, VOCABULARIES[shape])
        self.describe(folder)
        self.device, self.dtype = device, dtype
        self.reasoner = LatentReasoner.from_pretrained(str(folder), device=device, dtype=dtype)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        checkpoint = self.reasoner.checkpoint
        ends = checkpoint.end_id, self.reasoner.end_of_text_id
        self.plain = self.plain_loop(model.to(device), *ends, all_logits=all_logits)
        self.machine = measure_machine(device, dtype)
        # As actors do.
        gc.freeze()
        self.weight_bytes = sum(one.numel() * one.element_size() for one in self.reasoner.model.parameters())

    def describe(self, folder: Path) -> None:
        """Say in a checkpoint how it thinks, where that is not as its architecture does."""

    def line(self, name: str, n: int, questions: int, rounds: int, with_plain: bool) -> Line:
        """Measure one line, both sides in turns."""
        settings = _SAMPLERS[name]
        lengths = [self._prompt_tokens] * questions if self._prompt_tokens else prompt_lengths(questions)
        sampler, problems = parse_sampler(settings), random_problems_of(lengths)
        prompts = [self.reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]

        def plain() -> object:
            written = self.plain.roll_out(
                prompts,
                n,
                _STEPS,
                _ANSWER_TOKENS,
                settings.get("sigma", settings.get("scale", 0.0)),
                settings.get("p", 0.0),
            )
            return self._graded(written, [problem for problem in problems for _ in range(n)])

        def ours() -> object:
            return self._sample(sampler, problems, n)

        self.machine = faster(self.machine, measure_machine(self.device, self.dtype))
        sides: list[Callable[[], object]] = [ours, plain] if with_plain else [ours]
        for side in sides:
            side()
        reset_peak_memory(self.device)
        ours()
        memory = peak_memory(self.device)
        seconds = [[seconds_of(side, self.device) for side in sides] for _ in range(rounds)]
        medians = [statistics.median(column) for column in zip(*seconds, strict=True)]
        rows = n * questions
        trajectories = self._sample(sampler, problems, n)
        thinking = self._thinking_limit(trajectories, prompts) / self._thinking_seconds(sampler, prompts, n, rounds)
        return Line(
            name,
            n,
            questions,
            rows / medians[0],
            rows / medians[1] if with_plain else None,
            self._limit(trajectories) / medians[0],
            thinking,
            memory,
        )

    def _sample(self, sampler: Sampler, problems: Sequence[Problem], n: int) -> TrajectoryBatch:
        return sample_trajectories(
            self.reasoner,
            sampler,
            problems,
            range(n),
            latent_steps=_STEPS,
            answer_tokens=_ANSWER_TOKENS,
            seed=0,
        )

    def _graded(self, written: Tensor, problems: Sequence[Problem]) -> list[bool]:
        """Read and grade the plain loop's answers, so that both sides end at the same place."""
        checkpoint = self.reasoner.checkpoint
        texts = checkpoint.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [
            problem.is_correct(problem.canonical(checkpoint.format.extract_answer(text)))
            for problem, text in zip(problems, texts, strict=True)
        ]

    def _thinking_seconds(self, sampler: Sampler, prompts: Sequence[Sequence[int]], n: int, rounds: int) -> float:
        """Median seconds of all latent steps of a batch."""
        engine = RolloutEngine(self.reasoner, sampler)
        names = [str(number) for number in range(len(prompts))]

        def think(state: RolloutState) -> None:
            for _ in range(_STEPS):
                state = engine.step(state)

        seconds = []
        for _ in range(rounds + 1):
            state = engine.start(prompts, names, 0, range(max(n, -(-MIN_ROWS // len(prompts)))))
            seconds.append(seconds_of(lambda state=state: think(state), self.device))
        return statistics.median(seconds[1:])

    def _thinking_limit(self, rows: Sequence[Trajectory], prompts: Sequence[Sequence[int]]) -> float:
        """Least seconds of the latent steps of a batch."""
        each = len(rows) // len(prompts)
        flops = sum(each * self.reasoner.flops.trajectory(len(prompt), _STEPS, 0, 0) for prompt in prompts)
        return self.machine.seconds(flops, _STEPS * self.weight_bytes)

    def _limit(self, rows: Sequence[Trajectory]) -> float:
        """Least seconds of a batch: one pass over the prompts, one for each latent step and each token that is fed."""
        prompts = {row.question_id: row.prompt_flops for row in rows}
        passes = 1 + _STEPS + max(row.answer_tokens for row in rows)
        return self.machine.seconds(sum(prompts.values()), self.weight_bytes) + self.machine.seconds(
            sum(row.flops for row in rows), (passes - 1) * self.weight_bytes
        )


def reset_peak_memory(device: torch.device) -> None:
    """Forget how much memory has been in use so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """Return the most bytes in use since the last reset."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024.0 * int(kilobytes)


def table(lines: Sequence[Line], machine: Machine) -> str:
    """Return the lines as Markdown."""
    rows = [
        f"{machine.name}; {machine.flops / 1e9:,.0f} GFLOP/s, {machine.bandwidth / 1e9:,.1f} GB/s",
        "",
        "| sampler | N | questions | plain, trajectories/s | ours | ratio | share of the limit | in latent steps | "
        "peak memory, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        plain, ratio = ("-", "-") if line.plain is None else (f"{line.plain:.1f}", f"{line.ours / line.plain:.1f}x")
        rows.append(
            f"| {line.sampler} | {line.n} | {line.questions} | {plain} | {line.ours:.1f} | {ratio} | "
            f"{100 * line.share:.0f} % | {100 * line.thinking:.0f} % | {line.memory / 1e6:,.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=VOCABULARIES, default="gpt2-small")
    parser.add_argument("--n", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--samplers", nargs="+", choices=("noise", "dropout"), default=["noise", "dropout"])
    parser.add_argument("--questions", type=int, default=4, help="questions in a batch")
    parser.add_argument("--prompt-tokens", type=int, help="tokens of every prompt; as GSM8K's where it is left out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--lean", action="store_true", help="let the plain loop skip logits that nobody reads")
    parser.add_argument("--plain-up-to", type=int, default=1 << 30, help="largest N at which the plain loop runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        device, dtype = torch.device(options.device), DTYPES[options.dtype]
        bench = Bench(options.shape, Path(folder), device, dtype, not options.lean, options.prompt_tokens)
    lines = []
    for name in options.samplers:
        for n in options.n:
            line = bench.line(name, n, options.questions, options.rounds, n <= options.plain_up_to)
            lines.append(line)
            sys.stderr.write(f"{line}\n")
    sys.stdout.write(table(lines, bench.machine) + "\n")


if __name__ == "__main__":
    main()
