"""Principal components of the variance within questions, from a covariance that is added up block by block."""

import numpy as np

from latent_core.dynamics.block import LatentArray
from latent_core.selection.estimators.arrays import BoolArray, FloatArray

SHARE = 0.9
_MOST_BYTES = 1 << 29
# Equal latents differ from their mean by the last bits of a float32; those are no variance.
_ROUNDING = 1e-10


class WithinCovariance:
    """Pooled covariance within questions at every latent step: d x d numbers a step, whatever the number of questions.

    Attributes:
        steps: Steps that are added up: as many as fit into half a gigabyte.
    """

    def __init__(self, steps: int, width: int) -> None:
        """Begin with nothing.

        Args:
            steps: T, the most latent steps.
            width: Hidden size d.
        """
        self.steps = min(steps, _MOST_BYTES // (8 * width * width))
        self._width = width
        self._sums: dict[int, FloatArray] = {}
        self._squares = np.zeros(steps)

    def add(self, latents: LatentArray, present: BoolArray) -> None:
        """Add questions: latents [Q, N, T, d], zeros where there is none, and where there is one [Q, N, T]."""
        number = present.sum(axis=1)
        means = latents.sum(axis=1, dtype=np.float64) / np.maximum(number, 1)[..., None]
        for step in range(min(self.steps, latents.shape[2])):
            rows = (latents[:, :, step] - means[:, None, step].astype(np.float32)) * present[:, :, step, None]
            # In single precision: a product of a block has errors of 1e-6, and those of blocks do not add up in double.
            flat = rows.reshape(-1, self._width)
            total = self._sums.setdefault(step, np.zeros((self._width, self._width)))
            total += flat.T @ flat
            self._squares[step] += np.einsum("qnd,qnd->", latents[:, :, step], latents[:, :, step], dtype=np.float64)

    def components(self, step: int, share: float = SHARE) -> float:
        """Return how many principal components hold a share of the variance at a step, counted from 0.

        NaN where there is no variance: no two samples of any question differ.
        """
        total = self._sums.get(step)
        if total is None or np.trace(total) <= _ROUNDING * self._squares[step]:
            return np.nan
        # Rounding may leave the smallest ones below zero.
        values = np.maximum(np.linalg.eigvalsh(total)[::-1], 0.0)
        reached = np.cumsum(values) / values.sum()
        return float(np.searchsorted(reached, share - 1e-12) + 1)
