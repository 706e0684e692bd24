"""Answer tree: several answers behind one trajectory, where answers that begin alike share their forward passes.

The same as branching behind the last latent and decoding every branch, but a beginning is computed once: the first
token of all answers needs no pass of its own, and answers of one token need none at all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_core.engine.gradients import verb
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.row_invariance import MIN_ROWS

Choose = Callable[[Tensor, Tensor, int, int], Tensor]
"""Takes the logits of the nodes [nodes, vocabulary], the node of every answer int64 [rows, n], which token of an answer
it is (0-based), and its step; returns the token of every answer, int64 [rows, n]."""


@dataclass(frozen=True)
class BranchedAnswers:
    """n answers behind each of some trajectories.

    Attributes:
        token_ids: int64 [rows, n, longest answer], the token that ends an answer included; filled up with the
            end-of-text token.
        lengths: Tokens of each answer, int64 [rows, n].
        logprob: Log-probability of each answer, the sum over its tokens, at the temperature that was asked for,
            [rows, n]; differentiable where gradients are built.
        entropy: Mean over the same tokens of the entropy of the distribution that each was chosen from, in nats,
            [rows, n].
        finite: Whether every token was chosen by numbers, bool [rows, n].
    """

    token_ids: Tensor
    lengths: Tensor
    logprob: Tensor
    entropy: Tensor
    finite: Tensor


@verb
def write_answers(
    engine: RolloutEngine,
    state: RolloutState,
    n: int,
    max_tokens: int,
    temperature: float,
    choose: Choose,
    lengths: Tensor | None = None,
) -> BranchedAnswers:
    """Write n answers behind each row of a state.

    Args:
        engine: The engine that has taken the steps.
        state: The state behind the last latent step.
        n: Answers per row.
        max_tokens: Longest answer in tokens.
        temperature: Divides the logits of the log-probabilities.
        choose: Chooses tokens.
        lengths: After how many tokens each answer stops in any case, int64 [rows, n]; None for `max_tokens`.
    """
    rows, device = state.rows, state.hidden.device
    token_ids = torch.full((rows, n, max_tokens), engine.reasoner.end_of_text_id, device=device)
    most = torch.full((rows, n), max_tokens, device=device) if lengths is None else lengths
    live = most > 0
    node = torch.arange(rows, device=device)[:, None].expand(rows, n)
    written, finite = torch.zeros_like(node), torch.ones_like(live)
    logprob: Tensor = state.hidden.new_zeros(rows, n, dtype=_exact(state.hidden.dtype))
    entropy = logprob.detach()
    if max_tokens > 0:
        state = engine.close(state)
    for position in range(max_tokens):
        logits = engine.answer_logits(state)
        tokens = choose(logits.detach(), node, position, state.next_step)
        log_probabilities = torch.log_softmax(logits.to(logprob.dtype) / temperature, dim=-1)
        # Dead answers are no part of it: of what has no probability the gradient would be no number.
        chosen = log_probabilities[node, torch.where(live, tokens, log_probabilities.argmax(dim=-1)[node])]
        logprob = logprob + torch.where(live, chosen, 0.0)
        entropy = entropy + torch.where(live, _entropy(log_probabilities.detach())[node], 0.0)
        finite = finite & (state.hidden.detach().isfinite().all(dim=-1)[node] | ~live)
        token_ids[:, :, position] = torch.where(live, tokens, token_ids[:, :, position])
        written = written + live
        live = live & ~engine.reasoner.ends_answer(tokens) & (written < most)
        if position + 1 == max_tokens or not bool(live.any()):
            break
        state, node = _grown(engine, state, node, tokens, live)
    longest = int(written.max())
    return BranchedAnswers(token_ids[:, :, :longest], written, logprob, entropy / written.clamp(min=1), finite)


def _grown(
    engine: RolloutEngine, state: RolloutState, node: Tensor, tokens: Tensor, live: Tensor
) -> tuple[RolloutState, Tensor]:
    """Feed every token that follows a node once; returns the state of the new nodes, and the node of every answer."""
    wide = int(tokens.max()) + 1
    children, place = (node * wide + tokens)[live].unique(return_inverse=True)
    parent, token = children // wide, children % wide
    # Every question that is kept has to have equally many rows: the others are filled up with repetitions.
    questions, question, counts = (parent // state.group).unique_consecutive(return_inverse=True, return_counts=True)
    width = max(int(counts.max()), -(-MIN_ROWS // len(questions)))
    first = counts.cumsum(0) - counts
    slot = question * width + torch.arange(len(children), device=node.device) - first[question]
    source = first.repeat_interleave(width)
    source[slot] = torch.arange(len(children), device=node.device)
    grown = engine.write(engine.select(state, parent[source]), token[source])
    at = torch.zeros_like(node)
    at[live] = slot[place]
    return grown, at


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy of each row, [rows]; what has no probability adds nothing."""
    return -(log_probabilities.exp() * log_probabilities.clamp(min=-1e4)).sum(dim=-1)
