"""Prompt cache: what is recalled has the bits of what is read anew, and no more is kept than there is room for."""

from typing import Any

import pytest
import torch

from latent_core.attention.prefix import PrefixPart, SharedPrefix
from latent_core.engine.prompt_cache import PromptCache
from latent_core.engine.runtime import RolloutRuntime
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import TASKS
from latent_core.trajectory import TrajectoryBatch

SAMPLERS: list[dict[str, Any]] = [
    {"kind": "gaussian", "sigma": 0.5},
    {"kind": "answer_sampling", "temperature": 3.0},
    {"kind": "mc_dropout", "p": 0.2},
    {"kind": "mc_dropout", "p": 0.2, "scope": ["boundary", "latent"]},
    {"kind": "singular_value", "alpha": 0.1, "scope": ["latent"]},
]
LONG = Problem("long", " ".join(["ann has 12 pens ."] * 12) + " how many ?", "12")


@pytest.fixture
def reasoner() -> LatentReasoner:
    return LatentReasoner.from_pretrained("bundled:coconut-tiny")


@pytest.fixture(scope="module")
def problems() -> tuple[Problem, ...]:
    """Of two padded lengths."""
    return (*TASKS["word_problems"]("validation", 5, 3).problems, LONG)


def sample(
    reasoner: LatentReasoner, config: dict[str, Any], problems: tuple[Problem, ...], samples: range, keep: bool
) -> TrajectoryBatch:
    return sample_trajectories(
        reasoner,
        parse_sampler(config),
        problems,
        samples,
        latent_steps=3,
        answer_tokens=6,
        seed=1,
        keep_prompts=keep,
    )


@pytest.mark.parametrize("config", SAMPLERS, ids=lambda config: parse_sampler(config).describe())
def test_waves_have_the_bits_of_one_go(
    reasoner: LatentReasoner, problems: tuple[Problem, ...], config: dict[str, Any]
) -> None:
    """Further samples of some questions, in another order and beside a new one."""
    cache, some = RolloutRuntime.of(reasoner).prompts, (problems[5], problems[3], problems[0], problems[4])
    wanted = {(one.question_id, one.sample_index): one for one in sample(reasoner, config, problems, range(6), False)}
    assert (cache.read, cache.recalled) == (0, 0)
    first = sample(reasoner, config, (*problems[:4], LONG), range(2), True)
    assert (cache.read, cache.recalled) == (5, 0)
    second = sample(reasoner, config, some, range(2, 6), True)
    assert (cache.read, cache.recalled) == (6, 3)
    for found in (*first, *second):
        known = wanted[found.question_id, found.sample_index]
        assert found.answer_ids == known.answer_ids
        assert found.answer_logprob == known.answer_logprob
        assert found.latents is not None
        assert (found.latents == known.latents).all()


def test_prompts_that_a_sampler_perturbs_are_not_kept(reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> None:
    config = {"kind": "mc_dropout", "p": 0.2, "scope": ["prompt", "latent"]}
    for samples in (range(2), range(2, 4)):
        sample(reasoner, config, problems, samples, True)
    cache = RolloutRuntime.of(reasoner).prompts
    assert (cache.read, cache.recalled) == (0, 0)


def test_memory_that_runs_out_is_given_back(reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> None:
    runtime = RolloutRuntime.of(reasoner)
    sample(reasoner, SAMPLERS[0], problems, range(2), True)
    runtime.row_limit.release()
    sample(reasoner, SAMPLERS[0], problems, range(2, 4), True)
    assert (runtime.prompts.read, runtime.prompts.recalled) == (2 * len(problems), 0)


HEADS, PADDED, SIZE, WIDTH = 2, 32, 4, 8
BYTES = 4 * (2 * HEADS * PADDED * SIZE + WIDTH)


def read(prompts: Any) -> tuple[SharedPrefix, torch.Tensor]:
    """One layer whose numbers are the first token of each prompt."""
    first = torch.tensor([float(prompt[0]) for prompt in prompts])
    keys = first[:, None, None, None].expand(-1, HEADS, PADDED, SIZE)
    part = PrefixPart((keys,), (keys,), torch.tensor([len(prompt) for prompt in prompts]))
    return SharedPrefix((part,)), first[:, None].expand(-1, WIDTH)


@pytest.mark.parametrize(("room", "kept"), [(None, 0), (0, 0), (8 * BYTES - 1, 0), (8 * BYTES, 1), (8 * 3 * BYTES, 3)])
def test_the_oldest_goes_first(room: int | None, kept: int) -> None:
    cache = PromptCache(lambda filled: room)
    for token in (1, 2, 3, 4):
        cache.prefill([[token]], PADDED, read)
    assert cache.recalled == 0
    for token in (4, 3, 2, 1)[:kept]:
        prefix, hidden = cache.prefill([[token]], PADDED, read)
        assert hidden.tolist() == [[float(token)] * WIDTH]
        assert prefix.parts[0].keys[0].unique().tolist() == [float(token)]
    assert cache.recalled == kept
    cache.prefill([(4, 3, 2, 1)[kept : kept + 1]], PADDED, read)
    assert cache.recalled == kept


def test_the_same_prompt_twice_in_a_batch_and_another_padding() -> None:
    cache = PromptCache(lambda filled: 1 << 30)
    prefix, _ = cache.prefill([[7, 1], [7, 1], [8]], PADDED, read)
    assert prefix.lengths.tolist() == [2, 2, 1]
    prefix, hidden = cache.prefill([[8], [9], [7, 1]], PADDED, read)
    assert (cache.read, cache.recalled) == (4, 2)
    assert prefix.lengths.tolist() == [1, 1, 2]
    assert hidden[:, 0].tolist() == [8.0, 9.0, 7.0]
    cache.prefill([[8]], 2 * PADDED, read)
    assert cache.recalled == 2


def test_what_is_kept_does_not_hold_its_batch() -> None:
    cache = PromptCache(lambda filled: 8 * 2 * BYTES)
    prefix, _ = cache.prefill([[1], [2]], PADDED, read)
    again, _ = cache.prefill([[1]], PADDED, read)
    assert again.parts[0].keys[0].untyped_storage().nbytes() == HEADS * PADDED * SIZE * 4
    assert prefix.parts[0].keys[0].untyped_storage().data_ptr() != again.parts[0].keys[0].untyped_storage().data_ptr()
