"""The plane of a step: principal components of all groups together."""

import numpy as np
import pytest

from orchestrator.analysis.planes import plane


def test_points_in_a_plane_are_where_they_were() -> None:
    """Up to a turn and a shift distances stay, and nothing is outside of the plane."""
    generator = np.random.default_rng(0)
    flat = generator.normal(size=(30, 2)) * [3.0, 1.0]
    axes, _ = np.linalg.qr(generator.normal(size=(16, 2)))
    vectors = (flat @ axes.T + 5.0).astype(np.float32)
    found = plane([vectors[:10], vectors[10:10], vectors[10:]])
    assert [len(points) for points in found.points] == [10, 0, 20]
    assert found.share == pytest.approx(1.0, abs=1e-5)
    points = np.concatenate(found.points)
    distances, expected = (np.linalg.norm(one[:, None] - one[None], axis=2) for one in (points, flat))
    np.testing.assert_allclose(distances, expected, atol=1e-4)
    # The same picture wherever it is made: the farthest point along each axis is on its positive side.
    assert (points[np.abs(points).argmax(axis=0), [0, 1]] > 0).all()


def test_the_share_is_that_of_the_two_largest_components() -> None:
    generator = np.random.default_rng(1)
    vectors = (generator.normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]).astype(np.float32)
    values = np.linalg.eigvalsh(np.cov(vectors.T.astype(np.float64)))
    assert plane([vectors]).share == pytest.approx(values[-2:].sum() / values.sum())


@pytest.mark.parametrize("samples", [1, 5])
def test_equal_vectors_have_no_spread(samples: int) -> None:
    found = plane([np.full((samples, 8), 0.1, np.float16).astype(np.float32)])
    assert np.isnan(found.share)
    assert found.points[0].tolist() == [[0.0, 0.0]] * samples
