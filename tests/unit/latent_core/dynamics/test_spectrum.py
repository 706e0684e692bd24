"""Principal components of populations whose spectrum is known, added up block by block."""

import numpy as np
import pytest

from latent_core.dynamics.spectrum import WithinCovariance


def components(latents: np.ndarray, present: np.ndarray | None = None, blocks: int = 4) -> float:
    known = np.ones(latents.shape[:3], np.bool_) if present is None else present
    covariance = WithinCovariance(latents.shape[2], latents.shape[3])
    for part, there in zip(np.array_split(latents, blocks), np.array_split(known, blocks), strict=True):
        covariance.add(part, there)
    return covariance.components(0)


@pytest.fixture
def centres() -> np.ndarray:
    """Far apart: what differs between questions is no variance within them."""
    return np.random.default_rng(0).normal(0.0, 30.0, size=(200, 1, 1, 20)).astype(np.float32)


def test_isotropic_noise_needs_nine_tenths_of_the_width(centres: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(size=(200, 16, 1, 20)).astype(np.float32)
    assert components(centres + noise) == 18


def test_one_direction_is_one_component(centres: np.ndarray) -> None:
    along = np.random.default_rng(2).normal(size=(200, 16, 1, 1)).astype(np.float32)
    direction = np.random.default_rng(3).normal(size=20).astype(np.float32)
    assert components(centres + along * direction) == 1


def test_equal_samples_have_no_components(centres: np.ndarray) -> None:
    assert np.isnan(components(np.repeat(centres, 7, axis=1)))
    assert np.isnan(components(centres))
    assert np.isnan(WithinCovariance(1, 20).components(0))


def test_what_is_not_there_adds_nothing(centres: np.ndarray) -> None:
    noise = np.random.default_rng(4).normal(size=(200, 4, 1, 20)).astype(np.float32)
    latents = np.zeros((200, 6, 1, 20), np.float32)
    latents[:, :4, :, :3] = noise[..., :3]
    latents[:, :4] += centres
    present = np.zeros((200, 6, 1), np.bool_)
    present[:, :4] = True
    assert components(latents, present) == 3


def test_blocks_make_no_difference(centres: np.ndarray) -> None:
    scale = np.linspace(0.1, 3.0, 20, dtype=np.float32)
    latents = centres + scale * np.random.default_rng(5).normal(size=(200, 8, 1, 20)).astype(np.float32)
    whole = (latents - latents.mean(axis=1, keepdims=True)).reshape(-1, 20).astype(np.float64)
    values = np.linalg.eigvalsh(whole.T @ whole)[::-1]
    expected = np.searchsorted(np.cumsum(values) / values.sum(), 0.9) + 1
    assert {components(latents, blocks=blocks) for blocks in (1, 7, 200)} == {expected}


def test_covariances_that_do_not_fit_into_memory_are_left_out() -> None:
    wide = WithinCovariance(40, 4096)
    assert wide.steps == 4
    assert WithinCovariance(12, 768).steps == 12
