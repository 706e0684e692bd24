"""Principal components of a question's latents, step by step: the plane in which its samples can be looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """The plane of one latent step, common to all groups of samples.

    Attributes:
        points: Per group its samples' coordinates [n, 2].
        share: Share of the variance about the mean that lies in the plane, in [0, 1]; NaN where all are equal.
    """

    points: tuple[Points, ...]
    share: float


def plane(groups: Sequence[NDArray[np.float32]]) -> Plane:
    """Project groups of vectors on the first two principal components of all of them together.

    Components are signed so that the point farthest from the mean along each lies on its positive side: the picture is
    the same wherever it is made.

    Args:
        groups: Vectors [n, width] of each group; n may differ and be 0.
    """
    rows = np.concatenate([group.astype(np.float64) for group in groups if len(group)])
    centred = rows - rows.mean(axis=0)
    # There are far fewer samples than dimensions: their inner products have the same components.
    products = centred @ centred.T
    values, vectors = np.linalg.eigh(products)
    largest = np.maximum(values[::-1][:2], 0.0)
    total = float(np.trace(products))
    # What is left of equal vectors in float16 is no direction.
    spread = total > 1e-12 * max(1.0, float((rows**2).sum()))
    coordinates = vectors[:, ::-1][:, :2] * np.sqrt(largest) if spread else np.zeros((len(rows), 2))
    if coordinates.shape[1] < 2:
        coordinates = np.pad(coordinates, ((0, 0), (0, 2 - coordinates.shape[1])))
    farthest = np.abs(coordinates).argmax(axis=0)
    coordinates = coordinates * np.where(coordinates[farthest, [0, 1]] < 0, -1.0, 1.0)
    ends = np.cumsum([len(group) for group in groups])
    points = tuple(coordinates[end - len(group) : end] for group, end in zip(groups, ends, strict=True))
    return Plane(points, float(largest.sum() / total) if spread else float("nan"))
