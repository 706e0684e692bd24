"""Replay: trajectories computed once more from their addresses, with gradients.

A draw is a pure function of (seed, question, sample, step, site), and on a CPU a row has the same bits in every batch.
So the learner has the very latents that an actor has sampled, and none of them has to travel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from latent_core.answers.extractors import find_extractor
from latent_core.engine.answer_tree import BranchedAnswers, write_answers
from latent_core.engine.gradients import gradients
from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import kept_rows, start_samples
from latent_core.engine.state import RolloutState
from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.checks import answer_tokens_of, latent_steps_of
from latent_core.policy.settings import PolicySettings
from latent_core.samplers.none import NoSampling
from latent_core.tasks.base import Problem


@dataclass(frozen=True)
class WrittenAnswers:
    """Answers that have been written, n behind each trajectory.

    Attributes:
        ids: Their tokens, int64 [trajectories, n, longest].
        lengths: Tokens of each, int64 [trajectories, n].
    """

    ids: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class AnswerLikelihood:
    """What the policy says of answers.

    Attributes:
        logprob: Log-probability of each, [trajectories, n], differentiable.
        entropy: Mean entropy of its tokens in nats, [trajectories, n].
    """

    logprob: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class Replay:
    """Some trajectories of some questions: question by question, sample by sample.

    Attributes:
        engine: Reasoner and sampler.
        prompt_batch: The questions.
        samples: Sample indices of every question.
        seed: Seed of the draws.
        settings: The recipe.
        written: The sampled answers behind each trajectory.
    """

    engine: RolloutEngine
    prompt_batch: PromptBatch
    samples: range
    seed: int
    settings: PolicySettings
    written: WrittenAnswers

    @property
    def answer_ids(self) -> Tensor:
        """Tokens of the sampled answers, int64 [trajectories, answers, longest]."""
        return self.written.ids

    @property
    def latent_steps(self) -> int:
        """The most latent steps of a trajectory."""
        return latent_steps_of(self.engine.reasoner.checkpoint, self.settings)

    @cached_property
    def kept(self) -> Tensor:
        """Rows of the computed states that the trajectories are, int64 [trajectories]; batches may be filled up."""
        kept = kept_rows(len(self.prompt_batch.problems), self.samples)
        return torch.tensor(kept, device=self.engine.reasoner.device)

    def replayed(self) -> list[ActiveRows]:
        """Take the latent steps again; rows as they stop thinking."""
        state, _ = start_samples(self.engine, self.prompt_batch, self.samples, self.seed)
        return list(run_latent_steps(self.engine, ActiveRows.of(state), self.latent_steps))

    def latents(self) -> Tensor:
        """Return the latents of the trajectories, [trajectories, T, hidden size], where all have equally many."""
        (stop,) = self.replayed()
        return stop.state.latents[self.kept]

    def answers(self, stops: Sequence[ActiveRows], written: WrittenAnswers | None = None) -> AnswerLikelihood:
        """Return what the policy says of answers behind replayed trajectories.

        Args:
            stops: Where they have stopped thinking. Behind those that were cut off in it nothing is written, and what
                is said of nothing is 0.
            written: The answers; None for those that were sampled.
        """
        written = self.written if written is None else written
        rows = max(int(stop.origin.max()) for stop in stops) + 1
        parts, places = [], []
        for stop in stops:
            if stop.truncated:
                continue
            counted = stop.counts.nonzero().squeeze(1)
            found = self._likelihood(stop.state, self._of_rows(written, rows, stop.origin))
            parts.append((found.logprob[counted], found.entropy[counted]))
            places.append(stop.origin[counted])
        return self._in_order(rows, written, parts, places)

    def answer_logprob(self) -> Tensor:
        """Return the log-probability of the sampled answers behind the replayed latents, [trajectories, answers]."""
        return self.answers(self.replayed()).logprob

    def reference_logprob(self) -> Tensor:
        """Return that of the reference answer of each trajectory's question, [trajectories, 1]."""
        return self.answers(self.replayed(), self.references()).logprob

    def answer_logprob_behind(self, state: RolloutState) -> Tensor:
        """Return that of the sampled answers behind the last latents of a state, [trajectories, answers]."""
        stop = ActiveRows.of(state).closed(self._quiet, self.latent_steps)
        return self.answers([stop]).logprob

    def density(self) -> tuple[Tensor, RolloutState]:
        """Feed the drawn latents back, held fixed, and look at what the model would have thought undisturbed.

        Returns:
            sum_t log N(z_t; h_t, sigma^2) of every trajectory up to a constant, [trajectories], and the state behind
            the last latent, with the rows of the computed batch.
        """
        drawn = self.drawn_latents
        state, _ = start_samples(self._quiet, self.prompt_batch, self.samples, self.seed)
        total = drawn.new_zeros(len(drawn), dtype=torch.promote_types(drawn.dtype, torch.float32))
        for step in range(self.latent_steps):
            latent = drawn[:, step].to(total.dtype)
            away = latent - self._quiet.propose(state).to(total.dtype)
            # A share of the size of what was drawn: a number that does not depend on the weights here.
            scale = self.settings.latent_sigma * latent.square().mean(dim=-1, keepdim=True).sqrt()
            total = total - 0.5 * (away / scale).square().sum(dim=-1)
            state = self._quiet.feed(state, drawn[:, step])
        return total[self.kept], state

    @cached_property
    def drawn_latents(self) -> Tensor:
        """What the sampler has made of all latents of the computed batch, [rows, T, hidden size]; no gradients."""
        with gradients(False):
            (stop,) = self.replayed()
        # Outside of inference mode, whose tensors no backward pass may read.
        return stop.state.latents.clone()

    def references(self) -> WrittenAnswers:
        """Return the reference answer of its question for every trajectory, one each."""
        problems = [problem for problem in self.prompt_batch.problems for _ in self.samples]
        ids = [reference_ids(self.engine.reasoner, problem) for problem in problems]
        most = answer_tokens_of(self.engine.reasoner.checkpoint, self.settings)
        device, filler = self.engine.reasoner.device, self.engine.reasoner.end_of_text_id
        longest = min(max(map(len, ids)), most)
        rows = [[*one[:longest], *[filler] * (longest - len(one))] for one in ids]
        lengths = torch.tensor([min(len(one), longest) for one in ids], device=device)
        return WrittenAnswers(torch.tensor(rows, device=device)[:, None], lengths[:, None])

    @cached_property
    def _quiet(self) -> RolloutEngine:
        return RolloutEngine(self.engine.reasoner, NoSampling())

    def _likelihood(self, state: RolloutState, written: WrittenAnswers) -> BranchedAnswers:
        longest = written.ids.shape[2]

        def choose(_logits: Tensor, _node: Tensor, position: int, _step: int) -> Tensor:
            return written.ids[:, :, position]

        n, temperature = written.ids.shape[1], self.settings.temperature
        return write_answers(self.engine, state, n, longest, temperature, choose, written.lengths)

    def _of_rows(self, written: WrittenAnswers, rows: int, origin: Tensor) -> WrittenAnswers:
        """Return the answers behind rows of the computed batch; none behind those that only fill it up."""
        ids = written.ids.new_full((rows, *written.ids.shape[1:]), self.engine.reasoner.end_of_text_id)
        lengths = written.lengths.new_zeros(rows, written.lengths.shape[1])
        ids[self.kept], lengths[self.kept] = written.ids, written.lengths
        return WrittenAnswers(ids[origin], lengths[origin])

    def _in_order(
        self, rows: int, written: WrittenAnswers, parts: list[tuple[Tensor, Tensor]], places: list[Tensor]
    ) -> AnswerLikelihood:
        """Put what is said of rows that stopped together into the order of the trajectories."""
        shape, device = (rows, written.ids.shape[1]), written.ids.device
        if not parts:
            nothing = torch.zeros(shape, device=device)[self.kept]
            return AnswerLikelihood(nothing, nothing)
        place = torch.full((rows,), sum(map(len, places)), device=device)
        place[torch.cat(places)] = torch.arange(sum(map(len, places)), device=device)
        # Behind the rows that have written stands one that says nothing.
        both = [torch.cat([*some, some[0].new_zeros(1, shape[1])])[place] for some in zip(*parts, strict=True)]
        return AnswerLikelihood(both[0][self.kept], both[1][self.kept])


def reference_ids(reasoner: LatentReasoner, problem: Problem) -> list[int]:
    """Return the tokens of a problem's reference answer as the checkpoint writes answers, the end included."""
    extractor = problem.extractor or reasoner.checkpoint.format.extractor
    text = find_extractor(extractor).written.replace("{answer}", problem.answer)
    ids: list[int] = reasoner.checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, reasoner.end_of_text_id]
