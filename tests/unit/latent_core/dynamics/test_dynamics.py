"""The dynamics of made-up trials: known ones, and ones with hardly anything in them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from latent_core.dynamics.block import ENDED, LatentBlock, dense
from latent_core.dynamics.dynamics import Dynamics, Measured

Q, N, T, D = 40, 8, 3, 20


def trial(seed: int = 0) -> LatentBlock:
    """Step 1: all samples equal. Step 2: isotropic noise. Step 3: one direction. A third of the samples is right."""
    rng = np.random.default_rng(seed)
    greedy = rng.normal(size=(Q, T, D)).astype(np.float32)
    latents = np.repeat(greedy[:, None], N, axis=1)
    latents[:, :, 1] += rng.normal(size=(Q, N, D)).astype(np.float32)
    latents[:, :, 2] += 5 * rng.normal(size=(Q, N, 1)).astype(np.float32) * np.eye(D, dtype=np.float32)[0]
    thoughts = np.zeros((Q, N, T), np.int64)
    # From step 2 on, two samples think something else, and one of them is right; of the others none is.
    thoughts[:, :2, 1:] = 7
    thoughts[:, 1, 2] = 9
    correct = np.zeros((Q, N), np.bool_)
    correct[:, 0] = True
    scores = np.zeros((Q, N, T))
    scores[:, 0, 1], scores[:, 0, 2] = -1.0, 1.0
    there = np.ones((Q, N, T), np.bool_)
    return LatentBlock(
        latents, there, there[:, :, 0], correct, greedy, there[:, 0], thoughts, np.zeros((Q, T), np.int64), scores
    )


def measured(*blocks: LatentBlock, steps: int = T) -> dict[tuple[str, int], Measured]:
    dynamics = Dynamics(steps, D)
    for block in blocks:
        dynamics.add(block)
    return {(one.measure, one.step): one for one in dynamics.measured()}


def split(block: LatentBlock, *places: int) -> list[LatentBlock]:
    names = list(LatentBlock.__dataclass_fields__)
    parts = [np.split(getattr(block, name), places) for name in names]
    return [LatentBlock(*some) for some in zip(*parts, strict=True)]


def test_known_dynamics() -> None:
    found = measured(trial())
    value = {key: one.value for key, one in found.items()}
    assert value["cosine_distance", 1] == value["greedy_distance", 1] == value["greedy_shift", 1] == 0.0
    assert ("components_90", 1) not in value
    # Of 20, which 280 directions that were drawn fill a little unevenly.
    assert value["components_90", 2] in (17, 18)
    assert value["components_90", 3] == 1
    assert value["cosine_distance", 2] == pytest.approx(0.5, abs=0.03)
    assert value["greedy_distance", 2] == pytest.approx(1 / math.sqrt(N), abs=0.05)
    assert value["greedy_shift", 2] < 0.15
    # 6 and 2 of 8; then 6, 1 and 1.
    entropy = [0.0, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), -(0.75 * math.log(0.75) + 0.25 * math.log(0.125))]
    for step, one in enumerate(entropy, start=1):
        assert value["effective_thoughts", step] == pytest.approx(math.exp(one))
    assert [value["leaves_greedy_path", step] for step in (1, 2, 3)] == [0.0, 0.25, 0.0]
    assert [value["on_greedy_path", step] for step in (1, 2, 3)] == [1.0, 0.75, 0.75]
    assert [value["right_on_path", step] for step in (1, 2, 3)] == pytest.approx([1 / 8, 0.0, 0.0])
    assert value["right_of_leaving", 2] == 0.5
    assert ("right_of_leaving", 1) not in value
    assert [value["auc", step] for step in (1, 2, 3)] == [0.5, 0.0, 1.0]
    for one in found.values():
        assert one.questions == Q
        assert math.isnan(one.lo) or one.lo <= one.value <= one.hi


def test_blocks_make_no_difference() -> None:
    whole = measured(trial())
    parts = measured(*split(trial(), 1, 17, 39))
    assert whole.keys() == parts.keys()
    for key, one in whole.items():
        assert parts[key].value == pytest.approx(one.value, rel=1e-5, abs=1e-9), key
        assert parts[key].lo == pytest.approx(one.lo, rel=1e-5, abs=1e-6, nan_ok=True), key


def test_failed_rows_are_left_out() -> None:
    block = trial()
    valid = block.valid.copy()
    valid[:, 5:] = False
    spoilt = block.latents.copy()
    spoilt[:, 5:] = 1e6
    few = {name: getattr(block, name)[:, :5] for name in ("latents", "present", "valid", "correct", "thoughts")}
    expected = measured(replace(block, **few, scores=block.scores[:, :5]))  # type: ignore[index]
    scores = np.where(valid[..., None], block.scores, np.nan)  # type: ignore[arg-type]
    found = measured(replace(block, latents=spoilt, valid=valid, scores=scores))
    assert found.keys() == expected.keys()
    for key, one in expected.items():
        assert found[key].value == pytest.approx(one.value, rel=1e-5), key


def test_lengths_that_differ() -> None:
    block = trial()
    present = block.present.copy()
    present[:, :6, 2] = False
    present[0, :, 1:] = False
    thoughts = np.where(present, block.thoughts, ENDED)
    found = measured(
        replace(block, latents=block.latents * present[..., None], present=present, thoughts=thoughts), steps=5
    )
    assert found["cosine_distance", 3].questions == Q - 1
    # Whoever ends before the greedy trajectory leaves it: two samples did, in all but one question, at step 2.
    assert found["leaves_greedy_path", 3].value == pytest.approx(4 / 8 * (Q - 1) / Q)
    assert found["on_greedy_path", 5].value == found["on_greedy_path", 3].value
    assert found["effective_thoughts", 5].value == found["effective_thoughts", 3].value
    assert ("cosine_distance", 4) not in found


def test_hardly_anything() -> None:
    block = trial()
    assert measured() == {}
    for questions, samples in ((1, 1), (1, 2), (2, 1)):
        some = {
            name: getattr(block, name)[:questions, :samples]
            for name in ("latents", "present", "valid", "correct", "thoughts", "scores")
        }
        some |= {name: getattr(block, name)[:questions] for name in ("greedy", "greedy_present", "greedy_thoughts")}
        found = measured(LatentBlock(**some))
        assert (("cosine_distance", 2) in found) == (samples > 1)
        assert found["effective_thoughts", 3].value >= 1.0
    nobody = measured(replace(block, valid=np.zeros((Q, N), np.bool_), scores=None))
    assert nobody == {}
    bare = measured(LatentBlock(block.latents, block.present, block.valid, block.correct))
    assert {name for name, _ in bare} == {"cosine_distance", "components_90"}


def test_dense_latents() -> None:
    rows = [np.arange(4, dtype=np.float16), None, np.arange(2, dtype=np.float16), np.empty(0, np.float16)]
    latents, present = dense(rows, np.array([2, 2, 1, 0]), 3, 2)
    assert present.tolist() == [[True, True, False], [False] * 3, [True, False, False], [False] * 3]
    assert latents[0].tolist() == [[0.0, 1.0], [2.0, 3.0], [0.0, 0.0]]
    assert not latents[~present].any()
    whole, all_there = dense(rows[:1] * 2, np.array([2, 2]), 2, 2)
    assert all_there.all()
    assert whole[1].tolist() == [[0.0, 1.0], [2.0, 3.0]]
