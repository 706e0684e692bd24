"""Whole trajectories: what is recorded, and that it does not depend on the batch it was sampled in."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from latent_core.answers.parsing import canonical_answer
from latent_core.attention.padding import padded_length
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.engine.state import RolloutState
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers import Sampler, parse_sampler
from latent_core.samplers.base import Phase
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task
from latent_core.trajectory import Trajectory, TrajectoryBatch

STEPS, TOKENS, SEED = 3, 6, 1

SITES = ("feed_forward", "attention", "embedding", "attention_weights")
PHASES = ("prompt", "latent", "answer")
DROPOUTS: list[dict[str, Any]] = [
    {"kind": "mc_dropout", "p": 0.2, "sites": [site], "scope": [phase], "mask": mask}
    for site, phase, mask in product(SITES, PHASES, ("step", "trajectory"))
]
CONFIGS: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "gaussian", "sigma": 0.5},
    {"kind": "gaussian", "sigma": 0.5, "relative": True},
    {"kind": "answer_sampling", "temperature": 10.0},
    {"kind": "answer_sampling", "temperature": 10.0, "top_p": 0.7},
    *DROPOUTS,
    {"kind": "mc_dropout", "p": 0.1, "sites": list(SITES), "scope": list(PHASES)},
]


def name_of(config: dict[str, Any]) -> str:
    return parse_sampler(config).describe()


def sample(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: tuple[Problem, ...],
    samples: range = range(3),
    tokens: int = TOKENS,
    latents: torch.dtype = torch.float32,
) -> TrajectoryBatch:
    return sample_trajectories(
        reasoner,
        sampler,
        problems,
        samples,
        latent_steps=STEPS,
        answer_tokens=tokens,
        seed=SEED,
        latents=latents,
    )


def assert_same(one: Sequence[Trajectory], other: Sequence[Trajectory]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a.question_id, a.sample_index) == (b.question_id, b.sample_index)
        assert (a.answer_text, a.answer_tokens, a.answer, a.correct) == (
            b.answer_text,
            b.answer_tokens,
            b.answer,
            b.correct,
        )
        assert (a.flops, a.prompt_flops) == (b.flops, b.prompt_flops)
        assert a.latents is not None
        assert b.latents is not None
        # Elements are of size 1 and a wrong draw moves them by as much; large random weights blow up rounding.
        np.testing.assert_allclose(a.latents, b.latents, atol=5e-5, rtol=0)


@pytest.fixture(scope="module")
def mixed(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Short prompts with long ones between them, which are padded to another length."""
    long = tuple(Problem(f"long-{count}", "ann has 12 pens . " * count, "1") for count in (8, 9))
    return problems[0], long[0], *problems[1:3], long[1], problems[3]


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_trajectories_do_not_depend_on_the_batch(
    tiny_reasoner: LatentReasoner, mixed: tuple[Problem, ...], config: dict[str, Any]
) -> None:
    sampler = parse_sampler(config)
    together = sample(tiny_reasoner, sampler, mixed)
    one_by_one = [row for problem in mixed for row in sample(tiny_reasoner, sampler, (problem,))]
    assert_same(together, one_by_one)
    backwards = sample(tiny_reasoner, sampler, mixed[::-1], range(1, 2))
    assert_same([row for row in together if row.sample_index == 1], backwards[::-1])
    # A single row is filled up to a larger batch behind the scenes.
    assert_same([together[-1]], sample(tiny_reasoner, sampler, mixed[-1:], range(2, 3)))


def logits_after(reasoner: LatentReasoner, sampler: Sampler, problems: tuple[Problem, ...]) -> Tensor:
    """Logits of two answer tokens of two samples of every question: the sum of all that was disturbed before them."""
    engine = RolloutEngine(reasoner, sampler)
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    state = engine.start(prompts, [problem.question_id for problem in problems], SEED, range(2))
    for _ in range(STEPS):
        state = engine.step(state)
    logits = engine.decode(state, 2, stop_at_end=False, keep_logits=True).logits
    assert logits is not None
    return logits.unflatten(0, (len(problems), 2))


@pytest.mark.parametrize("config", DROPOUTS, ids=name_of)
def test_every_site_scope_and_mask_has_an_effect_of_its_own(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], config: dict[str, Any]
) -> None:
    greedy = logits_after(tiny_reasoner, parse_sampler({"kind": "none"}), problems)
    drawn = logits_after(tiny_reasoner, parse_sampler(config), problems)
    assert ((drawn - greedy).abs().amax(dim=(2, 3)) > 1e-3).all()
    assert ((drawn[:, 0] - drawn[:, 1]).abs().amax(dim=(1, 2)) > 1e-3).all()


@pytest.mark.parametrize("config", DROPOUTS, ids=name_of)
def test_the_scope_is_kept(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], config: dict[str, Any]
) -> None:
    """The first latent is read off the prompt, later ones off latent steps, and answers come behind them all."""
    greedy = sample(tiny_reasoner, parse_sampler({"kind": "none"}), problems, range(1))
    drawn = sample(tiny_reasoner, parse_sampler(config), problems, range(1))
    for a, b in zip(greedy, drawn, strict=True):
        assert a.latents is not None
        assert b.latents is not None
        changed = np.abs(a.latents - b.latents).max(axis=1) > 1e-4
        expected = {"prompt": [True, True, True], "latent": [False, True, True], "answer": [False] * 3}
        assert changed.tolist() == expected[config["scope"][0]]


@pytest.mark.parametrize(
    "config",
    [{"kind": "gaussian", "sigma": 0.0}, {"kind": "mc_dropout", "p": 0.0, "scope": list(PHASES), "sites": list(SITES)}],
    ids=name_of,
)
def test_nothing_drawn_is_greedy(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], config: dict[str, Any]
) -> None:
    sampler = parse_sampler(config)
    assert sampler.deterministic
    assert not sampler.perturbs_prompt
    assert_same(
        sample(tiny_reasoner, sampler, problems), sample(tiny_reasoner, parse_sampler({"kind": "none"}), problems)
    )


def test_records_are_complete(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> None:
    rows = sample(tiny_reasoner, parse_sampler({"kind": "answer_sampling", "temperature": 10.0}), problems, range(2, 5))
    assert [(row.question_id, row.sample_index) for row in rows] == [
        (problem.question_id, index) for problem in problems for index in (2, 3, 4)
    ]
    tokenizer, flops = tiny_reasoner.checkpoint.tokenizer, tiny_reasoner.flops
    for row in rows:
        problem = problems[int(row.question_id[-1])]
        prompt = len(tiny_reasoner.checkpoint.prompt_ids(problem.question))
        assert row.latents is not None
        assert row.latents.shape == (STEPS, 32)
        assert row.latents.dtype == np.float32
        assert row.latent_steps == STEPS
        assert 1 <= row.answer_tokens <= TOKENS
        assert row.answer == canonical_answer(tiny_reasoner.checkpoint.format.extract_answer(row.answer_text))
        assert row.correct == (row.answer is not None and row.answer == problem.answer)
        assert not any(token in row.answer_text for token in tokenizer.all_special_tokens)
        assert row.prompt_flops == flops.prompt(prompt)
        assert row.flops == flops.trajectory(prompt, STEPS, 1, row.answer_tokens)
        assert row.seconds > 0
        assert row.error is None


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_latents_are_recorded_as_asked_for(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], dtype: torch.dtype | None
) -> None:
    sampler = Poison(row=4, step=2)
    lengths: dict[str, Any] = {"latent_steps": STEPS, "answer_tokens": TOKENS, "seed": SEED}
    rows = sample_trajectories(tiny_reasoner, sampler, problems, range(3), **lengths, latents=dtype)
    for row, full in zip(rows, sample(tiny_reasoner, sampler, problems), strict=True):
        # A vector that is no number is found even where no vector is kept.
        assert (row.answer_ids, row.latent_steps, row.error) == (full.answer_ids, full.latent_steps, full.error)
        if dtype is None or full.latents is None:
            assert row.latents is None
        else:
            assert row.latents is not None
            np.testing.assert_array_equal(row.latents, full.latents.astype(np.float16))


def test_answers_are_read_and_compared(tiny_reasoner: LatentReasoner) -> None:
    """With enough samples of a hot decoder some answers can be read, and the reference decides which are right."""
    problem = Problem("q", "ann has 12 pens ?", "7.0")
    sampler = parse_sampler({"kind": "answer_sampling", "temperature": 30.0})
    rows = sample(tiny_reasoner, sampler, (problem,), range(2000), tokens=2)
    read = {row.answer for row in rows if row.answer is not None}
    assert "7" in read
    assert len(read) > 5
    assert {row.correct for row in rows if row.answer == "7"} == {True}
    assert not any(row.correct for row in rows if row.answer != "7")
    assert any(row.answer is None for row in rows)


def test_own_prompts_are_paid_for_by_each_sample(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> None:
    config = {"kind": "mc_dropout", "p": 0.2, "scope": ["prompt"]}
    for row in sample(tiny_reasoner, parse_sampler(config), problems):
        prompt = len(tiny_reasoner.checkpoint.prompt_ids(problems[int(row.question_id[-1])].question))
        own = tiny_reasoner.flops.trajectory(prompt, STEPS, 1, row.answer_tokens)
        assert row.prompt_flops == 0
        assert row.flops == pytest.approx(own + tiny_reasoner.flops.prompt(prompt))


class Poison(Sampler):
    """Breaks one row at one step."""

    kind: ClassVar[str] = "poison"
    row: int
    step: int

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        if step != self.step:
            return latent
        spoilt = latent.clone()
        spoilt[self.row, 0] = torch.nan
        return spoilt


def test_a_row_that_breaks_is_an_error_and_nothing_else_changes(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]
) -> None:
    rows = sample(tiny_reasoner, Poison(row=4, step=2), problems)
    assert [row.error for row in rows] == [None] * 4 + ["non-finite latent at step 2"] + [None] * 7
    broken = rows[4]
    assert (broken.question_id, broken.sample_index) == (problems[1].question_id, 1)
    assert (broken.answer, broken.correct, broken.latents) == (None, False, None)
    healthy = sample(tiny_reasoner, parse_sampler({"kind": "none"}), problems)
    assert_same([*rows[:4], *rows[5:]], [*healthy[:4], *healthy[5:]])


def test_an_answer_that_follows_from_no_numbers_is_an_error(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some token is always the most likely one, also of logits that are none."""
    healthy = sample(tiny_reasoner, parse_sampler({"kind": "none"}), problems)
    feed = RolloutEngine._feed

    def breaking(engine: RolloutEngine, state: RolloutState, *rest: Any) -> RolloutState:
        state = feed(engine, state, *rest)
        if rest[1] is Phase.ANSWER and state.rows == 12:
            state.hidden[4] = float("nan")
        return state

    monkeypatch.setattr(RolloutEngine, "_feed", breaking)
    rows = sample(tiny_reasoner, parse_sampler({"kind": "none"}), problems)
    assert [row.error for row in rows] == [None] * 4 + ["non-finite logits in the answer"] + [None] * 7
    assert (rows[4].answer, rows[4].correct, rows[4].answer_text) == (None, False, "")
    assert_same([*rows[:4], *rows[5:]], [*healthy[:4], *healthy[5:]])


class Loud(Sampler):
    """Latents that float16 cannot hold."""

    kind: ClassVar[str] = "loud"

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        return latent * 1e6


def test_latents_that_the_recorded_precision_cannot_hold_are_refused(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]
) -> None:
    """As infinite ones they would be scored as another trajectory's."""
    with pytest.raises(UserError, match=r"^latents reach [\d,]+, beyond the 65,504 of float16 [^\n]+latents=float32$"):
        sample(tiny_reasoner, Loud(), problems, latents=torch.float16)
    rows = sample(tiny_reasoner, Loud(), problems, latents=torch.float32)
    assert max(abs(row.latents).max() for row in rows) > 65504


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads cut matrices at places that depend on their size, which is another source of rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_neighbours_do_not_change_how_a_trajectory_is_rounded(samples: int) -> None:
    """Latents as large as a trained model's, whose rounding differences six steps would amplify."""
    trained = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    problems = list(load_task(name="word_problems").problems[:7])
    # Prompts of other padded lengths are in the same batch.
    problems[2:2] = [Problem(f"long-{times}", " ".join([problems[0].question] * times), "1") for times in (2, 3)]
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.4, "relative": True})

    def latents(block: Sequence[Problem]) -> list[Any]:
        rows = sample_trajectories(trained, sampler, block, range(samples), latent_steps=6, answer_tokens=4, seed=0)
        return [row.latents for row in rows]

    padded = {padded_length(len(trained.checkpoint.prompt_ids(problem.question))) for problem in problems}
    assert len(padded) > 1
    alone = [row for problem in problems for row in latents([problem])]
    np.testing.assert_allclose(latents(problems), alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [{"kind": "gaussian", "sigma": 0.4, "relative": True}, {"kind": "none"}], ids=str)
def test_answers_are_cut_where_the_end_token_has_no_room(config: dict[str, Any]) -> None:
    """The same answers with ever less room: those that end are whole, and all others are cut."""
    reasoner, sampler = LatentReasoner.from_pretrained("bundled:coconut-tiny"), parse_sampler(config)
    problems = tuple(load_task(name="word_problems", count=4).problems)

    def answers(limit: int) -> TrajectoryBatch:
        lengths = {"latent_steps": reasoner.checkpoint.latent_steps, "answer_tokens": limit}
        return sample_trajectories(reasoner, sampler, problems, range(8), seed=SEED, **lengths)

    whole = answers(32)
    assert not any(row.cut for row in whole)
    lengths = sorted({row.answer_tokens for row in whole})
    for limit in {lengths[0], lengths[-1] - 1, lengths[-1], 1}:
        for row, full in zip(answers(limit), whole, strict=True):
            assert row.cut == (full.answer_tokens > limit)
            assert row.answer_ids == full.answer_ids[:limit]
            assert (row.answer_ids[-1] in reasoner.checkpoint.answer_ends) != row.cut
