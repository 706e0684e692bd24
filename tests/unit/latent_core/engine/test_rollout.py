"""The verbs against a plain loop, and against themselves in other batches, groups and orders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from latent_core.attention.padding import padded_length
from latent_core.engine import rollout
from latent_core.engine.answer_buffer import Answers
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers import Sampler, parse_sampler
from latent_core.samplers.base import DrawSite
from latent_core.tasks.base import Problem

STEPS = 4
SEED = 5
SIGMA = 0.5

NONE = {"kind": "none"}
GAUSSIAN = {"kind": "gaussian", "sigma": SIGMA}
HOT = {"kind": "answer_sampling", "temperature": 30.0}
DROPOUT = {"kind": "mc_dropout", "p": 0.2}
PROMPT_DROPOUT = {"kind": "mc_dropout", "p": 0.2, "scope": ["prompt", "latent", "answer"]}

EngineOf = Callable[[dict[str, Any]], RolloutEngine]


@pytest.fixture(scope="module")
def engine_of(tiny_reasoner: LatentReasoner) -> EngineOf:
    """Makes an engine from a sampler's settings."""
    return lambda config: RolloutEngine(tiny_reasoner, parse_sampler(config))


@pytest.fixture(scope="module")
def prompts(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> list[list[int]]:
    """Prompts of four different lengths."""
    found = [tiny_reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    assert len({len(prompt) for prompt in found}) == len(found)
    return found


@pytest.fixture(scope="module")
def plain_model(tiny_checkpoint: Path) -> GPT2LMHeadModel:
    """The same weights in the stock class with its own attention."""
    model = GPT2LMHeadModel.from_pretrained(tiny_checkpoint, attn_implementation="eager")
    return model.eval()


def names(prompts: list[list[int]]) -> list[str]:
    return [f"question-{len(prompt)}" for prompt in prompts]


def start(engine: RolloutEngine, prompts: list[list[int]], samples: range) -> RolloutState:
    return engine.start(prompts, names(prompts), SEED, samples)


def latent_steps(engine: RolloutEngine, state: RolloutState, steps: int = STEPS) -> RolloutState:
    for _ in range(steps):
        state = engine.step(state)
    return state


@torch.no_grad()
def plain_rollout(
    model: GPT2LMHeadModel, prompt: list[int], noise: Tensor, end_id: int, tokens: int
) -> tuple[Tensor, list[int], Tensor]:
    """The latent loop of one row as one would first write it: everything is recomputed at every position."""
    embed = model.get_input_embeddings()
    sequence = embed(torch.tensor(prompt))[None]
    latents = []
    for eps in noise:
        hidden = model.transformer(inputs_embeds=sequence, use_cache=False).last_hidden_state[:, -1]
        latents.append(hidden[0] + eps)
        sequence = torch.cat([sequence, latents[-1][None, None]], dim=1)
    ids, logits, following = [], [], end_id
    for _ in range(tokens):
        sequence = torch.cat([sequence, embed(torch.tensor([[following]]))], dim=1)
        logits.append(model(inputs_embeds=sequence, use_cache=False).logits[0, -1])
        following = int(logits[-1].argmax())
        ids.append(following)
    return torch.stack(latents), ids, torch.stack(logits)


@pytest.mark.parametrize("samples", [1, 3])
def test_rollouts_equal_a_plain_loop(
    engine_of: EngineOf, prompts: list[list[int]], plain_model: GPT2LMHeadModel, samples: int
) -> None:
    """Prompts of mixed lengths in one batch; the noise of each row is the one its address names."""
    engine = engine_of(GAUSSIAN)
    state = latent_steps(engine, start(engine, prompts, range(samples)))
    answers = engine.decode(state, 5, stop_at_end=False, keep_logits=True)
    assert answers.logits is not None
    width = state.latents.shape[-1]
    for row in range(len(prompts) * samples):
        prompt = prompts[row // samples]
        streams = Streams.for_questions(SEED, names([prompt]))
        streams = Streams(streams.key, torch.tensor([row % samples]), streams.rollout)
        noise = torch.cat([streams.normal(t, DrawSite.LATENT_NOISE, width) for t in range(1, STEPS + 1)]) * SIGMA
        end_id = engine.reasoner.checkpoint.end_id
        latents, ids, logits = plain_rollout(plain_model, prompt, noise, end_id, 5)
        torch.testing.assert_close(state.latents[row], latents, atol=1e-4, rtol=0)
        torch.testing.assert_close(answers.logits[row], logits, atol=1e-3, rtol=1e-4)
        assert answers.token_ids[row].tolist() == ids


def test_greedy_equals_a_plain_loop(
    engine_of: EngineOf, prompts: list[list[int]], plain_model: GPT2LMHeadModel
) -> None:
    engine = engine_of(NONE)
    state = latent_steps(engine, start(engine, prompts, range(1)))
    ids = engine.decode(state, 5, stop_at_end=False).token_ids
    for row, prompt in enumerate(prompts):
        noise = torch.zeros(STEPS, state.latents.shape[-1])
        latents, expected, _ = plain_rollout(plain_model, prompt, noise, engine.reasoner.checkpoint.end_id, 5)
        torch.testing.assert_close(state.latents[row], latents, atol=1e-4, rtol=0)
        assert ids[row].tolist() == expected


@pytest.mark.parametrize("config", [GAUSSIAN, HOT, DROPOUT, PROMPT_DROPOUT])
def test_more_samples_begin_with_the_same_ones(
    engine_of: EngineOf, prompts: list[list[int]], config: dict[str, Any]
) -> None:
    engine = engine_of(config)

    def sample(samples: range) -> tuple[Tensor, Tensor]:
        state = latent_steps(engine, start(engine, prompts, samples))
        answers = engine.decode(state, 6, stop_at_end=False)
        shape = (len(prompts), len(samples))
        return state.latents.unflatten(0, shape), answers.token_ids.unflatten(0, shape)

    latents, ids = sample(range(8))
    for part in (range(4), range(3, 8), range(7, 8)):
        some_latents, some_ids = sample(part)
        torch.testing.assert_close(some_latents, latents[:, part.start : part.stop], atol=1e-5, rtol=1e-5)
        assert torch.equal(some_ids, ids[:, part.start : part.stop])
    if config is not HOT:
        assert (latents[:, 0] - latents[:, 1]).abs().max() > 1e-2
    assert not torch.equal(ids[:, 0], ids[:, 1])


def test_verbs_leave_the_state_they_start_from(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(GAUSSIAN)
    state = latent_steps(engine, start(engine, prompts, range(2)), 2)
    hidden, latents = state.hidden.clone(), state.latents.clone()
    keys = [layer.keys.clone() for layer in state.suffix.layers]

    first = engine.step(state)
    engine.decode(state, 4)
    engine.select(state, torch.tensor([1, 3]))
    engine.step(engine.branch(state, 3))

    assert torch.equal(state.hidden, hidden)
    assert torch.equal(state.latents, latents)
    assert state.suffix_length == 2
    assert all(torch.equal(layer.keys, before) for layer, before in zip(state.suffix.layers, keys, strict=True))
    assert torch.equal(engine.step(state).latents, first.latents)


def test_completions_of_a_stored_state_are_reproducible_and_differ(
    engine_of: EngineOf, prompts: list[list[int]]
) -> None:
    engine = engine_of(GAUSSIAN)
    stored = latent_steps(engine, start(engine, prompts, range(2)), 2)
    itself = latent_steps(engine, stored, 2)
    first = latent_steps(engine, engine.branch(stored, 3), 2)
    again = latent_steps(engine, engine.branch(stored, 3), 2)
    assert torch.equal(first.latents, again.latents)
    assert first.rows == stored.rows * 3
    # What was computed before the branch is shared ...
    torch.testing.assert_close(first.latents[:, :2], stored.latents.repeat_interleave(3, dim=0), atol=0, rtol=0)
    # ... and then every completion goes its own way, also another one than the trajectory it leaves.
    ways = torch.cat([itself.latents.unflatten(0, (-1, 1)), first.latents.unflatten(0, (-1, 3))], dim=1)[:, :, 2]
    distances = torch.cdist(ways, ways) + 1e9 * torch.eye(4)
    assert distances.min() > 0.5


def test_completions_are_numbered(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(GAUSSIAN)
    stored = latent_steps(engine, start(engine, prompts, range(2)), 1)
    five = latent_steps(engine, engine.branch(stored, 5), 2).latents.unflatten(0, (-1, 5))
    last_two = latent_steps(engine, engine.branch(stored, 2, first=3), 2).latents.unflatten(0, (-1, 2))
    torch.testing.assert_close(last_two, five[:, 3:], atol=1e-5, rtol=1e-5)


def test_completions_of_different_samples_differ(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    """Completion 0 of sample 0 and completion 0 of sample 1 must not share their noise."""
    engine = engine_of(GAUSSIAN)
    stored = latent_steps(engine, start(engine, prompts[:1], range(2)), 1)
    branched = engine.branch(stored, 2)
    after = engine.step(branched)
    noise = after.latents[:, 1] - engine.reasoner.feed_back(branched.hidden)
    assert torch.cdist(noise, noise)[~torch.eye(4, dtype=torch.bool)].min() > 0.5


@pytest.mark.parametrize("rows", [[0, 2, 3, 5, 10, 11], [1, 4, 7, 10], [3, 5], [11, 9, 1, 2], [0, 0, 8, 7]])
def test_selected_rows_go_on_as_they_would_have(engine_of: EngineOf, prompts: list[list[int]], rows: list[int]) -> None:
    """Three rows for each of four questions; also fewer questions, another order, and a row twice."""
    engine = engine_of(DROPOUT)
    state = latent_steps(engine, start(engine, prompts, range(3)), 2)
    whole = latent_steps(engine, state, 2)
    part = latent_steps(engine, engine.select(state, torch.tensor(rows)), 2)
    torch.testing.assert_close(part.latents, whole.latents[rows], atol=1e-5, rtol=1e-5)
    expected = engine.decode(whole, 6, stop_at_end=False).token_ids[rows]
    assert torch.equal(engine.decode(part, 6, stop_at_end=False).token_ids, expected)


def test_selected_completions_go_on_as_they_would_have(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(GAUSSIAN)
    stored = latent_steps(engine, start(engine, prompts, range(2)), 1)
    branched = engine.step(engine.branch(stored, 3))
    rows = [1, 5, 8, 9, 12, 17, 19, 22]
    part = engine.step(engine.select(branched, torch.tensor(rows)))
    torch.testing.assert_close(part.latents, engine.step(branched).latents[rows], atol=1e-5, rtol=1e-5)


def test_beam_search_is_a_walk_of_the_verbs(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    """Branch, step, select one of each question, branch again: shapes and prompt sharing hold up."""
    engine = engine_of(GAUSSIAN)
    state = engine.step(start(engine, prompts, range(4)))
    for _ in range(2):
        state = engine.select(state, torch.arange(len(prompts)) * state.group)
        state = engine.step(engine.branch(state, 4))
    assert (state.questions, state.group, state.rows) == (4, 4, 16)
    assert state.latents.shape[:2] == (16, 3)
    assert sum(len(part) for part in state.prefix.parts) == 4


def alone(engine: RolloutEngine, state: RolloutState, row: int, tokens: int) -> list[int]:
    """Decode one row by itself, without the tokens behind its end."""
    answers = engine.decode(engine.select(state, torch.tensor([row])), tokens)
    return answers.token_ids[0][: int(answers.lengths[0])].tolist()


@pytest.mark.parametrize("samples", [1, 12])
def test_rows_that_finish_early_change_nothing(engine_of: EngineOf, prompts: list[list[int]], samples: int) -> None:
    tokens = 20
    engine = engine_of(HOT)
    state = latent_steps(engine, start(engine, prompts, range(samples)), 2)
    answers = engine.decode(state, tokens)
    lengths = answers.lengths.tolist()
    end = engine.reasoner.end_of_text_id
    if samples > 1:
        # The case is only worth something if rows finish at many lengths, some of them never.
        assert len(set(lengths)) > 5
        assert max(lengths) == tokens
    for row, length in enumerate(lengths):
        ids = answers.token_ids[row].tolist()
        assert ids[:length] == alone(engine, state, row, tokens)
        assert end not in ids[: length - 1]
        assert ids[length - 1] == end or length == tokens
        assert all(token == end for token in ids[length:])


def test_all_rows_finishing_early_ends_the_loop(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(HOT)
    state = latent_steps(engine, start(engine, prompts[:1], range(16)), 1)
    short = engine.decode(state, 20)
    finished = (short.lengths < 20).nonzero().flatten()
    assert len(finished) > 2
    answers = engine.decode(engine.select(state, finished), 20)
    assert answers.token_ids.shape[1] == int(answers.lengths.max()) < 20
    assert torch.equal(answers.lengths, short.lengths[finished])


def test_logits_are_those_of_the_chosen_tokens(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(HOT)
    state = latent_steps(engine, start(engine, prompts, range(12)), 2)
    stopped = engine.decode(state, 20, keep_logits=True)
    through = engine.decode(state, 20, stop_at_end=False, keep_logits=True)
    assert stopped.logits is not None
    assert through.logits is not None
    assert through.lengths.tolist() == [20] * state.rows
    for row, length in enumerate(stopped.lengths.tolist()):
        torch.testing.assert_close(stopped.logits[row, :length], through.logits[row, :length], atol=1e-4, rtol=1e-4)
        assert stopped.logits[row, length:].isnan().all()
        assert torch.equal(stopped.token_ids[row, :length], through.token_ids[row, :length])


@pytest.mark.parametrize("config", [GAUSSIAN, HOT])
def test_confidence_is_that_of_the_written_tokens(
    engine_of: EngineOf, prompts: list[list[int]], config: dict[str, Any]
) -> None:
    """Of the model's own distribution, whatever chose the tokens; rows that have ended write nothing more."""
    engine = engine_of(config)
    state = latent_steps(engine, start(engine, prompts, range(4)))
    answers = engine.decode(state, 5, keep_logits=True)
    sure = engine.decode(state, 5, keep_confidence=True)
    assert answers.logits is not None
    assert sure.logprob is not None
    assert sure.entropy is not None
    assert torch.equal(sure.token_ids, answers.token_ids)
    for row, length in enumerate(answers.lengths.tolist()):
        logs = torch.log_softmax(answers.logits[row, :length].double(), dim=-1)
        chosen = logs.gather(1, answers.token_ids[row, :length, None])
        assert sure.logprob[row].item() == pytest.approx(chosen.sum().item(), abs=1e-4)
        entropy = -(logs.exp() * logs).sum(dim=-1).mean()
        assert sure.entropy[row].item() == pytest.approx(entropy.item(), abs=1e-4)
    assert answers.logprob is None


def test_without_stopping_every_answer_has_full_length(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(HOT)
    state = latent_steps(engine, start(engine, prompts, range(4)), 1)
    answers: Answers = engine.decode(state, 7, stop_at_end=False)
    assert answers.token_ids.shape == (16, 7)
    assert answers.logits is None


def test_a_sampler_of_the_prompt_needs_its_samples(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(PROMPT_DROPOUT)
    with pytest.raises(ValueError, match="needs the sample indices"):
        engine.prefill(prompts, names(prompts), SEED)
    state = engine.start(prompts, names(prompts), SEED, range(2, 5))
    assert (state.rows, state.group) == (12, 1)
    assert state.streams.sample.tolist() == [2, 3, 4] * 4


def test_shared_prompts_are_stored_once(engine_of: EngineOf, prompts: list[list[int]]) -> None:
    engine = engine_of(GAUSSIAN)
    state = latent_steps(engine, start(engine, prompts, range(16)), 2)
    assert sum(len(part) for part in state.prefix.parts) == len(prompts)
    assert state.suffix.layers[0].keys.shape[0] == 16 * len(prompts)
    assert state.suffix.layers[0].keys.shape[2] == 2
    assert state.streams.sample.tolist() == list(range(16)) * 4


def test_prompts_are_padded_in_steps(engine_of: EngineOf) -> None:
    assert [padded_length(tokens) for tokens in (1, 31, 32, 33, 64, 65)] == [32, 32, 32, 64, 64, 96]
    state = engine_of(NONE).prefill([[1] * 5, [2] * 33], ["a", "b"], SEED)
    assert state.prefix.padded_length == 64
    assert state.prefix.lengths.tolist() == [5, 33]


@pytest.mark.parametrize("length", [95, 96])
def test_padding_never_goes_beyond_the_context(engine_of: EngineOf, length: int) -> None:
    """With a context of 96 positions the last block ends there, and the longest prompt fills it."""
    state = engine_of(NONE).prefill([[1] * length], ["a"], SEED)
    assert state.prefix.padded_length == 96


class Watcher(Sampler):
    """Notes the steps at which the engine asks."""

    kind = "watcher"
    steps: list[tuple[str, int]]

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        self.steps.append(("latent", step))
        return latent

    def perturbation(self, phase: Any, streams: Streams, step: int) -> None:
        self.steps.append((str(phase), step))

    def choose_token(self, logits: Tensor, streams: Streams, step: int) -> Tensor:
        self.steps.append(("token", step))
        return logits.argmax(dim=-1)


def test_steps_count_positions_behind_the_prompt(tiny_reasoner: LatentReasoner, prompts: list[list[int]]) -> None:
    """Random draws are addressed by these numbers: the same one must not serve two positions."""
    sampler = Watcher(steps=[])
    engine = RolloutEngine(tiny_reasoner, sampler)
    engine.decode(latent_steps(engine, start(engine, prompts, range(2)), 2), 2, stop_at_end=False)
    assert sampler.steps == [
        ("prompt", 0),
        ("latent", 1),
        ("latent", 1),
        ("latent", 2),
        ("latent", 2),
        ("answer", 3),
        ("token", 4),
        ("answer", 4),
        ("token", 5),
    ]


@pytest.mark.parametrize("every", [2, 4, 50])
def test_looking_seldom_whether_rows_have_finished_changes_no_answer(
    engine_of: EngineOf, prompts: list[list[int]], every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU is not waited for after every token."""
    engine = engine_of(HOT)
    state = latent_steps(engine, start(engine, prompts, range(6)), 3)
    expected = engine.decode(state, 9)
    monkeypatch.setattr(rollout, "_LOOK_EVERY", {"cpu": every})
    found = engine.decode(state, 9)
    assert len(set(expected.lengths.tolist())) > 2
    assert torch.equal(found.token_ids, expected.token_ids)
    assert torch.equal(found.lengths, expected.lengths)
