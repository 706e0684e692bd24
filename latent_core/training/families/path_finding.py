"""Path finding: each thought is the edge of its hop, and the answer reads the thoughts out, right or wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from latent_core.tasks.path_finding import HOPS, NODES, Core, draw_cores, tell, vocabulary
from latent_core.tasks.word_problems import Split
from latent_core.training.batch import Batch, encode_prompts
from latent_core.training.families.base import FAMILIES, SyntheticFamily

_NO_EDGE = -1


@dataclass(frozen=True)
class EdgeTokens:
    """Which token is which edge.

    Attributes:
        ids: Token id of the edge from tail to head, int64 [nodes, nodes]; `_NO_EDGE` on the diagonal.
        tails: Node that the edge of a token leaves, int64 [vocabulary]; `_NO_EDGE` where the token is no edge.
        heads: Node that it enters, likewise.
        mark: Token id that precedes answers.
        end: Token id that ends them.
    """

    ids: Tensor
    tails: Tensor
    heads: Tensor
    mark: int
    end: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Self:
        """Find the edges in a tokenizer's vocabulary."""
        known = tokenizer.get_vocab()
        ids = torch.tensor([[known.get(tail + head, _NO_EDGE) for head in NODES] for tail in NODES])
        tails, heads = torch.full((2, len(tokenizer)), _NO_EDGE)
        tail, head = (ids != _NO_EDGE).nonzero(as_tuple=True)
        tails[ids[tail, head]], heads[ids[tail, head]] = tail, head
        return cls(ids, tails, heads, known["###"], int(tokenizer.eos_token_id))


@dataclass(frozen=True)
class PathGuide:
    """Knows every graph of a batch, and so what is right after any thought.

    Attributes:
        tokens: Which token is which edge.
        start: Node per row, int64 [rows].
        goal: Node per row, int64 [rows].
        listed: Whether there is an edge from tail to head, bool [rows, nodes, nodes].
        reaches: Whether the goal is exactly k hops away from a node, bool [rows, HOPS + 1, nodes].
    """

    tokens: EdgeTokens
    start: Tensor
    goal: Tensor
    listed: Tensor
    reaches: Tensor

    @classmethod
    def of(cls, cores: Sequence[Core], tokens: EdgeTokens) -> Self:
        """Read the graphs of problems with equally many edges."""
        start, goal = torch.tensor([[core.start, core.goal] for core in cores]).unbind(1)
        edges = torch.tensor([core.edges for core in cores])
        listed = torch.zeros(len(cores), len(NODES), len(NODES), dtype=torch.bool)
        listed[torch.arange(len(cores))[:, None], edges[..., 0], edges[..., 1]] = True
        reaches = [torch.nn.functional.one_hot(goal, len(NODES)).bool()]
        for _ in range(HOPS):
            reaches.append((listed & reaches[-1][:, None]).any(2))
        return cls(tokens, start, goal, listed, torch.stack(reaches, dim=1))

    def next_thoughts(self, thoughts: Tensor) -> Tensor:
        """Return the listed edges that lead to the goal in time; all that go on where none does."""
        node = self._node(thoughts)
        heads = self._good_heads(node, HOPS - thoughts.shape[1])
        right = torch.zeros(len(node), len(self.tokens.tails), dtype=torch.bool)
        rows, head = heads.nonzero(as_tuple=True)
        right[rows, self.tokens.ids[node[rows], head]] = True
        return right

    def answer(self, thoughts: Tensor) -> Tensor:
        """Return "###", the thoughts and the end of text."""
        mark, end = (torch.full_like(thoughts[:, :1], token) for token in (self.tokens.mark, self.tokens.end))
        return torch.cat([mark, thoughts, end], dim=1)

    def solved(self, thoughts: Tensor) -> Tensor:
        """Return whether the thoughts are a walk from start to goal along listed edges."""
        tails, heads = self.tokens.tails[thoughts], self.tokens.heads[thoughts]
        joined = tails == torch.cat([self.start[:, None], heads[:, :-1]], dim=1)
        # A token that is no edge has -1 for both nodes, which is a node's number too when used as an index.
        listed = self.listed[torch.arange(len(thoughts))[:, None], tails, heads] & (tails != _NO_EDGE)
        return joined.all(1) & listed.all(1) & (heads[:, -1] == self.goal)

    def rows(self, start: int, end: int) -> Self:
        """Return the guide of a range of rows."""
        tensors = (tensor[start:end] for tensor in (self.start, self.goal, self.listed, self.reaches))
        return type(self)(self.tokens, *tensors)

    def written(self, detours: float, generator: torch.Generator) -> Tensor:
        """Draw one walk per row, int64 [rows, HOPS]: each hop is right, or with probability `detours` any listed one.

        A walk that has run into a dead end goes on from anywhere.
        """
        rows = torch.arange(len(self.start))
        thoughts = torch.empty(len(rows), 0, dtype=torch.int64)
        for hop in range(HOPS):
            node = self._node(thoughts)
            heads = self._good_heads(node, HOPS - hop)
            strays = torch.rand(len(rows), generator=generator) < detours
            heads = torch.where(strays[:, None], self.listed[rows, node], heads)
            anywhere = torch.arange(len(NODES)) != node[:, None]
            heads = torch.where(heads.any(1, keepdim=True), heads, anywhere)
            head = torch.multinomial(heads.float(), 1, generator=generator)[:, 0]
            thoughts = torch.cat([thoughts, self.tokens.ids[node, head][:, None]], dim=1)
        return thoughts

    def _node(self, thoughts: Tensor) -> Tensor:
        """Return where each row is after its thoughts; a thought that is no edge leads nowhere."""
        node = self.start
        for thought in thoughts.unbind(1):
            head = self.tokens.heads[thought]
            node = torch.where(head == _NO_EDGE, node, head)
        return node

    def _good_heads(self, node: Tensor, left: int) -> Tensor:
        """Return to which nodes to go with this many hops left, bool [rows, nodes]; to none from a dead end."""
        possible = self.listed[torch.arange(len(node)), node]
        right = possible & self.reaches[:, left - 1]
        return torch.where(right.any(1, keepdim=True), right, possible)


class PathFinding(SyntheticFamily):
    """Problems with many right walks: what is right next depends on the thoughts before."""

    fewest_steps = most_steps = HOPS

    def vocabulary(self) -> list[str]:
        """Return words, nodes and edges."""
        return vocabulary()

    def initialise(self, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, std: float) -> None:
        """Give the edges that leave a node one half of their embedding in common, and those that enter it the other.

        With unrelated embeddings, looking ahead takes half as many updates again to learn.
        """
        tokens, known = EdgeTokens.of(tokenizer), tokenizer.get_vocab()
        embeddings = model.transformer.wte.weight
        tails, heads = (torch.randn(2, len(NODES), embeddings.shape[1] // 2) * std).unbind(0)
        tail, head = (tokens.ids != _NO_EDGE).nonzero(as_tuple=True)
        with torch.no_grad():
            embeddings[[known[node] for node in NODES]] = torch.cat([tails, heads], dim=1)
            embeddings[tokens.ids[tail, head]] = torch.cat([tails[tail], heads[head]], dim=1)

    def batches(
        self,
        split: Split,
        size: int,
        count: int,
        seed: int,
        tokenizer: PreTrainedTokenizerFast,
        latent_steps: int,
        detours: float = 0.0,
    ) -> Iterator[Batch]:
        """Yield batches whose written thoughts are right up to detours."""
        stream, tokens = draw_cores(split, seed), EdgeTokens.of(tokenizer)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            cores = list(islice(stream, size))
            guide = PathGuide.of(cores, tokens)
            thoughts = guide.written(detours, generator)
            prompt, mask = encode_prompts([tell(core) for core in cores], tokenizer)
            yield Batch(prompt, mask, thoughts, guide.answer(thoughts), guide)


FAMILIES.register("path_finding", PathFinding())
