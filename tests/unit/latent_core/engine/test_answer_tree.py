"""Answers that share their beginnings are those that branching and decoding writes."""

import pytest
import torch
from checkpoints import save_checkpoint_of
from torch import Tensor

from latent_core.engine.answer_tree import BranchedAnswers, write_answers
from latent_core.engine.gradients import gradients
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler

N, TOKENS = 7, 4


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RolloutEngine:
    torch.set_num_threads(1)
    source = save_checkpoint_of(tmp_path_factory.mktemp("tree") / request.param, request.param, {})
    reasoner = LatentReasoner.from_pretrained(str(source), trainable=True)
    return RolloutEngine(reasoner, parse_sampler({"kind": "mc_dropout", "p": 0.2, "answer_temperature": 0.7}))


def thought(engine: RolloutEngine) -> RolloutState:
    prompts = [engine.reasoner.checkpoint.prompt_ids(text) for text in ("ann has 3 pens ?", "ben buys 4 cards . 5 ?")]
    state = engine.start(prompts, ["a", "b"], 3, range(2, 5))
    for _ in range(3):
        state = engine.step(state)
    return state


def branched(engine: RolloutEngine, state: RolloutState) -> tuple[Tensor, Tensor]:
    """Draw the same answers with the verbs, one row each: ids and lengths."""
    answers = engine.decode(engine.branch(state, N), TOKENS)
    rows = (state.rows, N)
    return answers.token_ids.unflatten(0, rows), answers.lengths.unflatten(0, rows)


def forced(engine: RolloutEngine, state: RolloutState, ids: Tensor, lengths: Tensor) -> BranchedAnswers:
    return write_answers(
        engine, state, N, ids.shape[2], 0.7, lambda _logits, _node, position, _step: ids[:, :, position], lengths
    )


def test_answers_are_those_of_branches(engine: RolloutEngine) -> None:
    state = thought(engine)
    ids, lengths = branched(engine, state)
    streams = engine.branch(state, N).streams

    def draw(logits: Tensor, node: Tensor, _position: int, step: int) -> Tensor:
        return engine.sampler.choose_token(logits[node.flatten()], streams, step).reshape(node.shape)

    answers = write_answers(engine, state, N, TOKENS, 0.7, draw)
    assert torch.equal(answers.token_ids, ids)
    assert torch.equal(answers.lengths, lengths)
    assert len({tuple(one) for one in ids.flatten(0, 1).tolist()}) > 10, "answers that are all alike show nothing"
    assert answers.finite.all()


def test_log_probabilities_are_those_of_one_row_per_answer(engine: RolloutEngine) -> None:
    state = thought(engine)
    ids, lengths = branched(engine, state)
    found = forced(engine, state, ids, lengths)
    alone = engine.close(engine.branch(state, N))
    expected, entropy = torch.zeros(alone.rows), torch.zeros(alone.rows)
    for position in range(ids.shape[2]):
        said = torch.log_softmax(engine.reasoner.logits(alone.hidden) / 0.7, dim=-1)
        tokens, counts = ids[:, :, position].flatten(), position < lengths.flatten()
        expected += torch.where(counts, said[torch.arange(alone.rows), tokens], 0.0)
        entropy += torch.where(counts, -(said.exp() * said).sum(-1), 0.0)
        alone = engine.write(alone, tokens)
    torch.testing.assert_close(found.logprob.flatten(), expected)
    torch.testing.assert_close(found.entropy.flatten(), entropy / lengths.flatten())


def test_gradients_reach_the_prompt_and_change_no_bit(engine: RolloutEngine) -> None:
    state = thought(engine)
    ids, lengths = branched(engine, state)
    plain = forced(engine, state, ids, lengths)
    weight = dict(engine.reasoner.model.named_parameters())
    chosen = next(one for name, one in weight.items() if name.endswith(("c_attn.weight", "v_proj.weight")))
    chosen.requires_grad_(True)
    try:
        with gradients():
            again = thought(engine)
            assert again.latents.requires_grad
            answers = forced(engine, again, ids, lengths)
            (gradient,) = torch.autograd.grad(answers.logprob.sum(), [chosen])
    finally:
        chosen.requires_grad_(False)
    assert torch.equal(again.latents, state.latents)
    assert torch.equal(answers.logprob, plain.logprob)
    assert gradient.abs().sum() > 0


def test_an_answer_stops_where_it_is_told_to(engine: RolloutEngine) -> None:
    state = thought(engine)
    ids = torch.full((state.rows, N, 3), 5)
    lengths = torch.arange(state.rows * N).reshape(state.rows, N) % 4
    answers = forced(engine, state, ids, lengths)
    assert torch.equal(answers.lengths, lengths)
    assert (answers.logprob[lengths == 0] == 0).all()
    assert (answers.logprob[lengths == 3] < answers.logprob[lengths == 1].max()).all()
