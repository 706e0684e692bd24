"""The records of trajectories: rows that have finished are decoded, copied to the host, read and graded."""

import time
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

from torch import Tensor

from latent_core.engine.answers import Answers
from latent_core.engine.blocks import PromptBlock
from latent_core.engine.host import to_host
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.walk import Stretch
from latent_core.trajectory import FloatArray, Trajectory


def read_trajectories(
    engine: RolloutEngine,
    stops: Iterable[Stretch],
    block: PromptBlock,
    samples: range,
    kept: Sequence[int],
    answer_tokens: int,
    started: float,
) -> list[Trajectory]:
    """Decode the answers behind the last latent steps and make a record of each kept row.

    Args:
        engine: The engine that has walked there.
        stops: The rows of the first state, as they stop thinking.
        block: The questions.
        samples: Sample indices per question.
        kept: Rows of the first state, question by question in sample order.
        answer_tokens: Longest answer in tokens.
        started: When the batch was begun, by `time.perf_counter()`.
    """
    finished: dict[int, _Finished] = {}
    for stop in stops:
        answers = engine.decode(stop.state, answer_tokens, overrun=stop.overrun)
        finished.update(_finished(stop, answers))
    seconds = (time.perf_counter() - started) / len(kept)
    reader = _Reader(engine, block)
    addresses = ((question, sample) for question in range(len(block.problems)) for sample in samples)
    return [
        reader.trajectory(question, sample, finished[row], seconds)
        for row, (question, sample) in zip(kept, addresses, strict=True)
    ]


_Finished = tuple[FloatArray, tuple[int, ...], bool, int]
"""What a row has thought, the ids that it has written, whether it overran, and how many of its first latents are
finite."""


def _finished(stop: Stretch, answers: Answers) -> Iterable[tuple[int, _Finished]]:
    """Go through the rows that count, with the row of the first state that each of them is."""
    latents = stop.state.latents.float()
    thoughts, *others = to_host(
        latents, answers.token_ids, answers.lengths, stop.origin, stop.counts, _finite_steps(latents)
    )
    array = thoughts.numpy()
    token_ids, lengths, origin, counts, finite = (one.tolist() for one in others)
    for row in compress(range(len(counts)), counts):
        yield origin[row], (array[row], tuple(token_ids[row][: lengths[row]]), stop.overrun, finite[row])


def _finite_steps(latents: Tensor) -> Tensor:
    """Return how many latents of each row are finite before the first that is not, int64 [rows]."""
    # Both extremes are what is not a number as soon as one element is; looking at every element takes longer.
    finite = latents.amax(dim=-1).isfinite() & latents.amin(dim=-1).isfinite()
    return finite.long().cumprod(dim=-1).sum(dim=-1)


class _Grade(NamedTuple):
    """What samples of a question share that write the same.

    Attributes:
        text: The decoded text.
        answer: The canonical answer in it, or None.
        correct: Whether it is right.
        spoken: The ids without those that show thinking.
    """

    text: str
    answer: str | None
    correct: bool
    spoken: tuple[int, ...]


class _Reader:
    """Reads what rows have written; samples often write the same, and reading it once is enough."""

    def __init__(self, engine: RolloutEngine, block: PromptBlock) -> None:
        self._engine, self._block = engine, block
        self._grades: dict[tuple[int, tuple[int, ...]], _Grade] = {}
        self._costs: dict[tuple[int, int, int, bool], tuple[float, float]] = {}

    def trajectory(self, question: int, sample: int, row: _Finished, seconds: float) -> Trajectory:
        """Make the record of one finished row."""
        latents, ids, overrun, finite = row
        problem, steps = self._block.problems[question], len(latents)
        if finite < steps:
            return Trajectory.failed(problem, sample, f"non-finite latent at step {finite + 1}")
        grade = self._grades.get((question, ids)) or self._graded(question, ids)
        cost = (question, steps, len(ids), overrun)
        prompt_flops, flops = self._costs.get(cost) or self._counted(*cost)
        return Trajectory(
            question_id=problem.question_id,
            sample_index=sample,
            answer_text=grade.text,
            answer=grade.answer,
            correct=grade.correct,
            latent_steps=steps,
            answer_tokens=len(ids),
            answer_ids=grade.spoken,
            latents=latents,
            prompt_flops=prompt_flops,
            flops=flops,
            seconds=seconds,
        )

    def _graded(self, question: int, ids: tuple[int, ...]) -> _Grade:
        reasoner, problem = self._engine.reasoner, self._block.problems[question]
        spoken = reasoner.spoken(ids)
        text = reasoner.text_of(spoken)
        answer = problem.canonical(reasoner.checkpoint.format.extract_answer(text))
        grade = self._grades[question, ids] = _Grade(text, answer, problem.is_correct(answer), spoken)
        return grade

    def _counted(self, question: int, steps: int, tokens: int, overrun: bool) -> tuple[float, float]:
        """Return the FLOPs of the prompt where samples share it, else 0, and those of a trajectory alone."""
        reasoner, prompt_tokens = self._engine.reasoner, len(self._block.prompts[question])
        prompt = reasoner.flops.prompt(prompt_tokens)
        own = reasoner.flops.trajectory(prompt_tokens, steps, 0 if overrun else 1, tokens)
        own += self._engine.perturbation_flops(prompt_tokens, steps)
        cost = (0.0, own + prompt) if self._engine.sampler.perturbs_prompt else (prompt, own)
        self._costs[question, steps, tokens, overrun] = cost
        return cost
