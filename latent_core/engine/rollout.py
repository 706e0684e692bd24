"""The verbs: prefill, branch, step, select, decode. Everything the method does is made of them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from latent_core.attention.padding import length_buckets, padded_length, right_padded
from latent_core.attention.prefix import SharedPrefix
from latent_core.attention.suffix import SuffixCache
from latent_core.engine.answer_buffer import AnswerBuffer, Answers
from latent_core.engine.gradients import verb
from latent_core.engine.runtime import RolloutRuntime
from latent_core.engine.state import RolloutState, even_selection, halved_selection
from latent_core.models.feedback.base import Moment, Thought, check_draws
from latent_core.models.reasoner import LatentReasoner
from latent_core.models.token_confidence import TokenConfidence
from latent_core.randomness import Streams
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers.base import ModulePerturbation, Phase, Sampler

_COMPACT_BELOW = 0.75
"""Finished rows are dropped once the unfinished ones fill less than this share of the batch: dropping copies the
suffix, so it has to save more than it costs."""
_LOOK_EVERY = {"cpu": 1, "cuda": 4}
"""After how many answer tokens it is looked whether rows have finished. To look at a GPU is to wait for it, with
nothing left for it to do; the tokens that finished rows write meanwhile cost less."""


class RolloutEngine:
    """Runs the verbs of one reasoner under one sampler.

    Trajectories are a pure function of (seed, question id, sample index): see `latent_core.randomness`.
    """

    def __init__(self, reasoner: LatentReasoner, sampler: Sampler, *, keep_prompts: bool = False) -> None:
        """Join a reasoner and a sampler; both may serve other engines too.

        Args:
            reasoner: The model.
            sampler: What makes samples differ.
            keep_prompts: Whether prompts are kept for later engines of the same reasoner, as far as there is memory,
                and recalled where they were; for weights that stay as they are.

        Raises:
            UserError: If the sampler draws from what the reasoner's feedback head does not have.
        """
        check_draws(reasoner.checkpoint.source, reasoner.feedback.kind, sampler)
        self.reasoner = reasoner
        self.sampler = sampler
        self.runtime = RolloutRuntime.of(reasoner)
        # What a sampler perturbs is another one's.
        self._keeps_prompts = keep_prompts and not sampler.perturbs_prompt

    @verb
    def prefill(
        self, prompts: Sequence[Sequence[int]], question_ids: Sequence[str], seed: int, samples: range | None = None
    ) -> RolloutState:
        """Read each prompt once.

        Neighbours that are padded to the same length are read together, so ordering prompts by length saves passes.

        Args:
            prompts: Token ids of each prompt; lengths may differ.
            question_ids: One id per prompt; the random streams are keyed by it.
            seed: Seed of the run.
            samples: Needed where the sampler perturbs the prompt itself, or its last position: each prompt, or its last
                position, is then read once per sample index, and the state has one row per reading.

        Returns:
            The state at t = 0, one row per prompt and sample.

        Raises:
            ValueError: If the sampler perturbs the prompt and `samples` is missing, or if it perturbs the last position
                of a prompt that has no other.
        """
        streams = Streams.for_questions(seed, question_ids, self.reasoner.device)
        rows, boundary = list(prompts), self.sampler.perturbs_boundary
        if samples is None and (self.sampler.perturbs_prompt or boundary):
            raise ValueError("this sampler perturbs the prompt: prefill needs the sample indices")
        if boundary:
            rows = [prompt[:-1] for prompt in prompts]
            short = [name for name, row in zip(question_ids, rows, strict=True) if not row]
            if short:
                raise ValueError(f"question {short[0]!r}: its prompt is one token, and nothing is left to be shared")
        if samples is not None and self.sampler.perturbs_prompt:
            rows = [prompt for prompt in prompts for _ in samples]
            index = torch.tensor(samples, device=self.reasoner.device).repeat(len(prompts))
            source = torch.arange(len(prompts), device=self.reasoner.device).repeat_interleave(len(samples))
            streams = replace(streams.take(source), sample=index)
        runs = length_buckets(rows, self.reasoner.device)
        read = [self._read(rows[run], streams.part(run)) for run in runs]
        last = torch.cat([hidden for _, hidden in read])
        state = RolloutState(
            prefix=SharedPrefix.joined([prefix for prefix, _ in read]),
            suffix=SuffixCache(),
            hidden=last,
            latents=last.new_zeros(len(rows), 0, last.shape[-1]),
            streams=streams,
            thought_ids=torch.zeros(len(rows), 0, dtype=torch.int64, device=last.device),
            calm=torch.zeros(len(rows), dtype=torch.int64, device=last.device),
        )
        if samples is None or not boundary:
            return state
        state = state.branch(len(samples), samples.start)
        tokens = torch.tensor([prompt[-1] for prompt in prompts], device=last.device).repeat_interleave(state.group)
        return replace(self._feed(state, self.reasoner.embed(tokens), Phase.BOUNDARY, 0), boundary=1)

    def _read(self, prompts: Sequence[Sequence[int]], streams: Streams) -> tuple[SharedPrefix, Tensor]:
        """Return prompts of one padded length and the hidden state at the end of each, read now or before."""
        perturbation = self.sampler.perturbation(Phase.PROMPT, streams, 0)
        if not self._keeps_prompts:
            return self._read_anew(prompts, perturbation)
        longest = max(map(len, prompts))
        return self.runtime.prompts.prefill(
            prompts, padded_length(longest), lambda some: self._read_anew(some, None, longest)
        )

    def _read_anew(
        self, prompts: Sequence[Sequence[int]], perturbation: ModulePerturbation | None, at_least: int = 0
    ) -> tuple[SharedPrefix, Tensor]:
        reasoner = self.reasoner
        tokens, lengths = right_padded(
            prompts, reasoner.end_of_text_id, reasoner.checkpoint.context_length, reasoner.device, at_least
        )
        cache = DynamicCache()
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand(len(prompts), -1)
        hidden = reasoner.forward(reasoner.embed(tokens), positions, cache, perturbation=perturbation)
        last = hidden[torch.arange(len(prompts), device=tokens.device), lengths - 1]
        return SharedPrefix.from_cache(cache, lengths), last

    def start(
        self, prompts: Sequence[Sequence[int]], question_ids: Sequence[str], seed: int, samples: range
    ) -> RolloutState:
        """Prefill and branch: the state at t = 0 with one row per question and sample index."""
        state = self.prefill(prompts, question_ids, seed, samples)
        if self.sampler.perturbs_prompt or self.sampler.perturbs_boundary:
            return state
        return self.branch(state, len(samples), samples.start)

    @verb
    def branch(self, state: RolloutState, n: int, first: int = 0) -> RolloutState:
        """Turn each row into n rows; the prompt stays shared. See `RolloutState.branch`."""
        return state.branch(n, first)

    @verb
    def select(self, state: RolloutState, rows: Tensor) -> RolloutState:
        """Keep some rows. See `RolloutState.select`."""
        return state.select(rows)

    @verb
    def step(self, state: RolloutState) -> RolloutState:
        """Take one latent step: perturb the latent, feed it back, append to the suffix."""
        return self.advance(state, self.think(state))

    @verb
    def think(self, state: RolloutState) -> Thought:
        """Return what the next step feeds back, perturbed, and which rows stop instead: the first half of `step`.

        Rows stop only where the length is adaptive.
        """
        thought, taken = self._think(state, state.latents.shape[1] + 1), state.latents.shape[1]
        conventions, gate = self.reasoner.checkpoint.format, self.reasoner.gate
        if not conventions.adaptive or taken < conventions.least_latent_steps:
            return replace(thought, stops=torch.zeros(state.rows, dtype=torch.bool, device=state.hidden.device))
        if gate is not None:
            return replace(thought, stops=gate(thought.latents if gate.reads_latent else state.hidden))
        return thought if thought.stops is not None else replace(thought, stops=self._stops(state, taken + 1))

    @verb
    def wants_to_stop(self, state: RolloutState) -> Tensor:
        """Return which rows would stop now instead of thinking, bool [rows]; none where the length is fixed."""
        stops = self.think(state).stops
        return torch.zeros_like(state.calm, dtype=torch.bool) if stops is None else stops

    @verb
    def propose(self, state: RolloutState) -> Tensor:
        """Return the perturbed vectors that the next step feeds back, [rows, hidden size]."""
        return self._think(state, state.latents.shape[1] + 1).latents

    @verb
    def advance(self, state: RolloutState, thought: Thought) -> RolloutState:
        """Feed thoughts back and append to the suffix: the second half of `step`."""
        fed = self.feed(state, thought.latents)
        if thought.token_ids is not None:
            fed = replace(fed, thought_ids=torch.cat([state.thought_ids, thought.token_ids[:, None]], dim=1))
        return fed if thought.calm is None else replace(fed, calm=thought.calm)

    @verb
    def feed(self, state: RolloutState, latents: Tensor) -> RolloutState:
        """Feed vectors [rows, hidden size] back and append to the suffix."""
        state = self._feed(state, latents, Phase.LATENT, state.latents.shape[1] + 1)
        return replace(state, latents=torch.cat([state.latents, latents[:, None]], dim=1))

    def _think(self, state: RolloutState, step: int) -> Thought:
        reasoner = self.reasoner
        moment = Moment(
            hidden=state.hidden,
            logits=lambda: self._logits(state),
            embed=reasoner.embed,
            sampler=self.sampler,
            streams=state.streams,
            step=step,
            stop_id=reasoner.checkpoint.end_id,
            calm=state.calm,
        )
        thought = reasoner.feedback.think(moment)
        return replace(thought, latents=self.sampler.perturb_latent(thought.latents, state.streams, step))

    def _logits(self, state: RolloutState) -> Tensor:
        """Return the next-token logits of all rows; behind a prompt that they share, those of its questions."""
        if state.suffix_length > 0 or self.sampler.perturbs_prompt or state.questions < MIN_ROWS:
            return self.reasoner.logits(state.hidden)
        return self.reasoner.logits(state.hidden[:: state.group]).repeat_interleave(state.group, dim=0)

    def _stops(self, state: RolloutState, step: int) -> Tensor:
        """Return which rows would write the end token, bool [rows], or for which it is drawn that they do."""
        end_id = self.reasoner.checkpoint.end_id
        if not self.sampler.draws_stop:
            return self.reasoner.most_likely(state.hidden) == end_id
        probability = self.reasoner.logits(state.hidden).float().softmax(dim=-1)[:, end_id]
        return self.sampler.draw_stop(probability, state.streams, step)

    @verb
    def close(self, state: RolloutState) -> RolloutState:
        """Feed what stands behind the last latent, so that the first answer token comes next."""
        reasoner = self.reasoner
        for fed_id in reasoner.checkpoint.fed_ids:
            inputs = reasoner.embed(torch.full((state.rows,), fed_id, device=state.hidden.device))
            if reasoner.checkpoint.format.last_latent == "with_end" and state.next_step == state.latents.shape[1] + 1:
                inputs = inputs + self.propose(state)
            state = self._feed(state, inputs, Phase.ANSWER, state.next_step)
        return state

    @verb
    def answer_logits(self, state: RolloutState) -> Tensor:
        """Return the logits of the next answer token, [rows, vocabulary]."""
        return self._writable(self.reasoner.logits(state.hidden))

    @verb
    def write(self, state: RolloutState, tokens: Tensor) -> RolloutState:
        """Feed answer tokens, int64 [rows]."""
        return self._feed(state, self.reasoner.embed(tokens), Phase.ANSWER, state.next_step)

    @verb
    def decode(
        self,
        state: RolloutState,
        max_tokens: int,
        stop_at_end: bool = True,
        keep_logits: bool = False,
        truncated: bool = False,
        keep_confidence: bool = False,
    ) -> Answers:
        """Feed the end, then write answer tokens until every row has finished.

        Args:
            state: The state behind the last latent step.
            max_tokens: Longest answer in tokens.
            stop_at_end: Whether a row finishes at a token that ends answers.
            keep_logits: Whether to return the logits; needs a lot of memory with large vocabularies.
            truncated: Whether the rows were cut off while they wanted to think on. As in released CoLaR, no end token
                is fed: such a row writes one token, then thinks on, where ids show `latent_id`, until it writes the
                end token by itself, which is part of its answer's ids.
            keep_confidence: Whether to return how sure the model was of each answer. Where a row thinks on, the token
                that it would have written counts.
        """
        reasoner, device, rows = self.reasoner, state.hidden.device, state.rows
        end_id = reasoner.checkpoint.end_id
        end_of_text = reasoner.end_of_text_id
        buffer = AnswerBuffer(rows, max_tokens, end_of_text, device, keep_confidence=keep_confidence)
        look_every = _LOOK_EVERY.get(device.type, 1)
        origin = torch.arange(rows, device=device)
        unfinished = torch.ones(rows, dtype=torch.bool, device=device)
        thinking = torch.full((rows,), truncated, device=device)
        state = state if truncated else self.close(state)
        for position in range(max_tokens):
            needs_logits = keep_logits or not self.sampler.is_greedy or bool(reasoner.checkpoint.never_written)
            logits = reasoner.logits(state.hidden) if needs_logits else None
            tokens, confidence = self._choose(state, logits, keep_confidence)
            thinking = thinking & (tokens != end_id)
            silent = thinking if position > 0 else torch.zeros_like(thinking)
            shown = torch.where(silent, reasoner.checkpoint.latent_id, tokens)
            # The most likely of numbers that are none is some token; nothing would show that it means nothing.
            finite = state.hidden.isfinite().all(dim=-1)
            kept_logits = logits if keep_logits else None
            buffer.write(position, origin, unfinished, shown, finite, kept_logits, confidence)
            if stop_at_end:
                unfinished = unfinished & (silent | ~reasoner.ends_answer(tokens))
            if position + 1 == max_tokens:
                break
            if (position + 1) % look_every == 0:
                if not bool(unfinished.any()):
                    break
                found = self._fewer(state, unfinished)
                if found is not None:
                    chosen, filler = found
                    state, tokens, origin = state.select(chosen), tokens[chosen], origin[chosen]
                    thinking, silent, unfinished = thinking[chosen], silent[chosen], ~filler
            inputs = reasoner.embed(tokens)
            if truncated:
                thoughts = self._think(state, state.next_step).latents
                inputs = torch.where(silent[:, None], thoughts, inputs)
            state = self._feed(state, inputs, Phase.ANSWER, state.next_step)
        return buffer.read()

    def _choose(
        self, state: RolloutState, logits: Tensor | None, keep_confidence: bool
    ) -> tuple[Tensor, TokenConfidence | None]:
        """Return the next token of every row, int64 [rows], and how sure the model is of it if that is to be kept.

        Args:
            state: Where the rows are.
            logits: Next-token logits [rows, vocabulary]; None where the most likely token is chosen without them.
            keep_confidence: Whether to compute the confidence.
        """
        if logits is not None:
            writable = self._writable(logits)
            tokens = self.sampler.choose_token(writable, state.streams, state.next_step)
            return tokens, TokenConfidence.of_logits(writable, tokens) if keep_confidence else None
        if keep_confidence:
            return self.reasoner.most_likely_with_confidence(state.hidden)
        return self.reasoner.most_likely(state.hidden), None

    def _writable(self, logits: Tensor) -> Tensor:
        """Return logits [rows, vocabulary] without those of tokens that no answer has."""
        never = self.reasoner.checkpoint.never_written
        if not never:
            return logits
        return logits.index_fill(-1, torch.tensor(never, device=logits.device), float("-inf"))

    def behind_thoughts(self, state: RolloutState, most_steps: int) -> RolloutState:
        """Return a state that has stopped thinking, its positions moved to where its format wants the end."""
        if self.reasoner.checkpoint.format.positions == "gapless":
            return state
        return replace(state, gap=most_steps - state.latents.shape[1])

    def _fewer(self, state: RolloutState, unfinished: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return rows to go on with and which of them are fillers, or None if dropping the others does not pay."""
        by_question = unfinished.reshape(state.questions, state.group)
        if self.runtime.graph_cache.serves(unfinished.device):
            return halved_selection(by_question, MIN_ROWS)
        chosen, filler = even_selection(by_question, MIN_ROWS)
        return (chosen, filler) if len(chosen) <= _COMPACT_BELOW * state.rows else None

    def answer_limit(self, state: RolloutState, answer_tokens: int) -> int:
        """Return the most tokens of an answer behind so many latent steps, where thoughts may share its budget."""
        if self.reasoner.checkpoint.format.budget == "own":
            return answer_tokens
        return max(0, answer_tokens - state.latents.shape[1] - len(self.reasoner.checkpoint.fed_ids))

    def perturbation_flops(self, prompt_tokens: int, latent_steps: int) -> float:
        """Return the FLOPs that the sampler's matrix products add to a trajectory."""
        return self.reasoner.modules.perturbation_flops(self.sampler, prompt_tokens, latent_steps)

    def _feed(self, state: RolloutState, inputs: Tensor, phase: Phase, step: int) -> RolloutState:
        """Append one position to every row; `inputs` is [rows, hidden size]."""
        perturbation = self.sampler.perturbation(phase, state.streams, step)
        runner = self.runtime.graph_cache.runner_for(state, perturbation)
        if runner is not None:
            return runner.feed(self.reasoner, self.sampler, state, inputs, phase, step)
        suffix = state.suffix.copied()
        hidden = self.reasoner.forward(
            inputs[:, None], state.next_positions(), suffix, prefix=state.prefix, perturbation=perturbation
        )
        return replace(state, suffix=suffix, hidden=hidden[:, 0])
