"""Graph runner: steps of one batch shape in static memory, so that each is a CUDA graph, captured once and replayed."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from latent_core.attention.prefix import PrefixPart, SharedPrefix
from latent_core.attention.suffix import KVBuffer, StaticSuffixLayer, SuffixCache, SuffixLayer
from latent_core.engine.cuda_graph import CudaGraph
from latent_core.engine.memory import prompt_bucket, suffix_bucket
from latent_core.engine.state import RolloutState
from latent_core.kernels import use_kernels
from latent_core.models.reasoner import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers.base import Phase, Sampler


@dataclass(frozen=True)
class BatchShape:
    """Batch shape of a state, positions rounded up to bucket sizes.

    Attributes:
        questions: B.
        group: Rows per question.
        prompt: Bucket size of a prompt, in positions.
        suffix: Bucket size of what is behind it, in positions.
    """

    questions: int
    group: int
    prompt: int
    suffix: int

    @classmethod
    def of(cls, state: RolloutState) -> "BatchShape":
        """Return the shape in which a state has room for one position more."""
        prompt, suffix = prompt_bucket(state.prefix.padded_length), suffix_bucket(state.suffix_length + 1)
        return cls(state.questions, state.group, prompt, suffix)

    def nbytes(self, like: RolloutState) -> int:
        """Bytes of the keys and values of states of this shape that are like the given one."""
        part = like.prefix.parts[0]
        positions = self.questions * (self.prompt + self.group * self.suffix)
        return sum(one.shape[1] * one.shape[3] * one.element_size() for one in (*part.keys, *part.values)) * positions


class GraphRunner:
    """Static buffers that a state is loaded into, and the captured passes that go on from there.

    What it returns are ordinary states. Their suffixes look into the buffers; as long as one of them is alive, no other
    state can be loaded.

    Attributes:
        shape: The shape of the states.
        nbytes: Bytes of the buffers.
    """

    def __init__(self, shape: BatchShape, like: RolloutState) -> None:
        """Allocate the buffers for states like the given one."""
        first, device, rows = like.prefix.parts[0], like.hidden.device, like.rows
        self.shape = shape
        self._prompts = [
            tuple(one.new_zeros(shape.questions, one.shape[1], shape.prompt, one.shape[3]) for one in tensors)
            for tensors in (first.keys, first.values)
        ]
        self._suffixes = [
            tuple(one.new_zeros(rows, one.shape[1], shape.suffix, one.shape[3]) for one in tensors)
            for tensors in (first.keys, first.values)
        ]
        self._lengths = torch.ones(shape.questions, dtype=torch.int64, device=device)
        self._inputs = torch.zeros_like(like.hidden)
        self._streams = Streams(*(torch.zeros_like(one) for one in _words(like.streams)))
        # Where the new position goes, how many there are then, the step that it is, and how far positions jump.
        self._place, self._filled, self._step, self._gap = torch.zeros(4, 1, dtype=torch.int64, device=device)
        self._graphs: dict[tuple[str, Phase] | None, CudaGraph] = {}
        self._kv_buffers: list[weakref.ref[KVBuffer]] = []
        self._prefix: weakref.ref[SharedPrefix] | None = None
        self.nbytes = shape.nbytes(like)

    def follows(self, state: RolloutState) -> bool:
        """Whether the buffers hold this state and nothing behind it."""
        kv_buffers = [kv_buffer() for kv_buffer in self._kv_buffers]
        layers = state.suffix.layers
        return len(kv_buffers) == len(layers) > 0 and all(
            isinstance(layer, SuffixLayer) and layer.buffer is kv_buffer and kv_buffer is not None
            for layer, kv_buffer in zip(layers, kv_buffers, strict=True)
        )

    @property
    def in_use(self) -> bool:
        """Whether a state that was returned is still alive."""
        return any(kv_buffer() is not None for kv_buffer in self._kv_buffers)

    def feed(
        self, reasoner: LatentReasoner, sampler: Sampler, state: RolloutState, inputs: Tensor, phase: Phase, step: int
    ) -> RolloutState:
        """Append one position to every row.

        Args:
            reasoner: The model.
            sampler: Acts inside the pass.
            state: One that the buffers hold, or any other of the shape while they are not in use.
            inputs: [rows, hidden size].
            phase: Which phase the pass belongs to.
            step: Step of the position.

        Returns:
            The state behind it, its latents not yet brought up to date.
        """
        kv_buffers = self._load(state)
        length = state.suffix_length + 1
        self._inputs.copy_(inputs)
        numbers = (self._place, self._filled, self._step, self._gap)
        for number, value in zip(numbers, (length - 1, length, step, state.gap), strict=True):
            number.fill_(value)
        perturbation = sampler.perturbation(phase, self._streams, self._step)
        if perturbation is not None:
            for buffer, words in zip(_words(self._streams), _words(state.streams), strict=True):
                buffer.copy_(words)

        def compute() -> Tensor:
            prefix = SharedPrefix((PrefixPart(self._prompts[0], self._prompts[1], self._lengths),), self.shape.group)
            suffix = SuffixCache()
            suffix.layers = [
                StaticSuffixLayer(keys, values, self._place) for keys, values in zip(*self._suffixes, strict=True)
            ]
            positions = self._lengths.repeat_interleave(self.shape.group) + self._place + self._gap
            hidden = reasoner.forward(
                self._inputs[:, None],
                positions[:, None],
                suffix,
                prefix=prefix,
                perturbation=perturbation,
                suffix_length=self._filled,
            )
            return hidden[:, 0]

        key = None if perturbation is None else (sampler.describe(), phase)
        hidden = self._graphs.setdefault(key, CudaGraph()).run(compute, inputs.device)
        for kv_buffer in kv_buffers:
            kv_buffer.filled = length
        return replace(state, suffix=SuffixCache.within(kv_buffers), hidden=hidden)

    def _load(self, state: RolloutState) -> list[KVBuffer]:
        """Bring a state into the buffers unless it is there; returns the buffers that its suffix now looks into."""
        if self._prefix is None or self._prefix() is not state.prefix:
            first = 0
            self._forget(self._prompts, 0)
            for part in state.prefix.parts:
                questions, first = slice(first, first + len(part)), first + len(part)
                for buffers, tensors in zip(self._prompts, (part.keys, part.values), strict=True):
                    for buffer, tensor in zip(buffers, tensors, strict=True):
                        buffer[questions, :, : part.padded_length] = tensor
                self._lengths[questions] = part.lengths
            self._prefix = weakref.ref(state.prefix)
        if self.follows(state):
            return [kv_buffer for kv_buffer in (one() for one in self._kv_buffers) if kv_buffer is not None]
        length = state.suffix_length
        self._forget(self._suffixes, length)
        for buffers, name in zip(self._suffixes, ("keys", "values"), strict=True):
            for buffer, layer in zip(buffers, state.suffix.layers, strict=False):
                buffer[:, :, :length] = getattr(layer, name)
        # Graphs write to this memory: what outgrows it goes elsewhere.
        pairs = zip(*self._suffixes, strict=True)
        kv_buffers = [KVBuffer(keys, values, length, movable=False) for keys, values in pairs]
        self._kv_buffers = [weakref.ref(kv_buffer) for kv_buffer in kv_buffers]
        return kv_buffers

    def _forget(self, buffers: Sequence[Sequence[Tensor]], behind: int) -> None:
        """Clear positions that do not count: kernels do not look at them, but elsewhere NaN times nothing is NaN."""
        if use_kernels(self._inputs.device):
            return
        for buffer in chain.from_iterable(buffers):
            buffer[:, :, behind:].zero_()


def _words(streams: Streams) -> tuple[Tensor, Tensor, Tensor]:
    return streams.key, streams.sample, streams.rollout
