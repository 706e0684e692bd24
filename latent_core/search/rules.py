"""Search rules: which continuations of a question go on after a latent step, and how many each becomes.

Rewards of early steps may say nothing, and what is dropped by them is lost. Both rules therefore leave all N rows of a
question alone before step `prune_from`, the first at which the LatentRM can tell (`latent_core.reward.step_auc`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_core.randomness import Streams
from latent_core.samplers.base import DrawSite

Choose = Callable[[int, Tensor], Tensor | None]
"""Takes a step, from 1 on, and the rewards so far, float32 [questions, rows, step]; returns the rows of each question
that go on, int64 [questions, kept], ascending, a row perhaps several times; None where all go on once."""


class SearchRule(Protocol):
    """A rule, as the search asks it."""

    @property
    def width(self) -> int:
        """N, the most rows of a question that are scored at a step."""

    @property
    def survivors(self) -> int:
        """Rows of a question at the end; there are never fewer."""

    @property
    def waits(self) -> bool:
        """Whether the first step has all N rows, however alike they are."""

    def branches(self, step: int, steps: int) -> int:
        """Return as how many continuations each row that is kept at a step goes on."""

    def start(self, streams: Streams, steps: int) -> Choose:
        """Begin with a batch of questions, of which `streams` has a row each."""


@dataclass(frozen=True)
class BeamRule:
    """Beam search: the best rows by cumulative reward go on (arXiv 2510.07745, section 4).

    Attributes:
        beams: B, rows that are kept.
        branching: C, continuations of each.
        prune_from: First step at which rows are dropped; before it B x C rows go their own ways. 1 is the paper's.
    """

    beams: int
    branching: int
    prune_from: int = 1

    def __post_init__(self) -> None:
        """Refuse a search without rows.

        Raises:
            ValueError: If there is no beam or no candidate.
        """
        if self.beams < 1 or self.branching < 1:
            raise ValueError(
                f"beam search needs at least one beam and one candidate, got {self.beams} and {self.branching}"
            )

    @property
    def width(self) -> int:
        """B x C."""
        return self.beams * self.branching

    @property
    def survivors(self) -> int:
        """B."""
        return self.beams

    @property
    def waits(self) -> bool:
        """Whether nothing is dropped at the first step."""
        return self.prune_from > 1

    def branches(self, step: int, steps: int) -> int:
        """Return C between the first pruning and the last step, 1 elsewhere."""
        return self.branching if self.prune_from <= step < steps else 1

    def start(self, streams: Streams, steps: int) -> Choose:
        """Choose by the sum of the rewards; nothing has to be remembered."""

        def choose(step: int, rewards: Tensor) -> Tensor | None:
            if step < self.prune_from:
                return None
            return by_rank(rewards.sum(dim=2))[:, : self.beams].sort(dim=1).values

        return choose


@dataclass(frozen=True)
class ParticleRule:
    """Sequential Monte Carlo: particles with weights exp(reward / temperature), resampled when few of them count.

    A particle's weight is multiplied by exp(r_t / temperature) at every step. Where the effective sample size
    (sum w)^2 / sum w^2 of a question falls below half its particles, they are drawn anew in proportion to their
    weights, all weights become equal, and copies of a particle differ by fresh draws from there on. Weights and
    threshold: Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers" (J. R. Stat. Soc. B 68, 2006). Systematic
    resampling: Kitagawa, "Monte Carlo filter and smoother for non-Gaussian nonlinear state space models" (J. Comput.
    Graph. Stat. 5, 1996). One uniform per question and step decides, at an address of its own, so that results depend
    on neither batch nor order.

    Attributes:
        particles: N.
        temperature: In units of the reward, > 0.
        prune_from: First step at which particles may be resampled; before it weights only add up.
    """

    particles: int
    temperature: float
    prune_from: int = 1

    def __post_init__(self) -> None:
        """Refuse a search without particles or weights.

        Raises:
            ValueError: If there is no particle, or the temperature is not above 0.
        """
        if self.particles < 1 or not self.temperature > 0.0:
            raise ValueError(f"needs a particle and a temperature above 0, got {self.particles} and {self.temperature}")

    @property
    def width(self) -> int:
        """N."""
        return self.particles

    @property
    def survivors(self) -> int:
        """N."""
        return self.particles

    @property
    def waits(self) -> bool:
        """Always: particles are not made later."""
        return True

    def branches(self, step: int, steps: int) -> int:
        """Return 1: a particle goes on several times by being drawn several times."""
        return 1

    def start(self, streams: Streams, steps: int) -> Choose:
        """Begin with equal weights."""
        log_weights = np.zeros((len(streams), self.particles))

        def choose(step: int, rewards: Tensor) -> Tensor | None:
            latest = rewards[:, :, -1].double().cpu().numpy() / self.temperature
            # What cannot be computed further shall not be drawn again.
            log_weights[...] += np.where(np.isnan(latest), -np.inf, latest)
            # Behind the last step copies would only write the same answer twice.
            if step < self.prune_from or step == steps:
                return None
            drawn = np.tile(np.arange(self.particles), (len(log_weights), 1))
            uniforms = streams.uniform(step, DrawSite.RESAMPLING, 1).cpu().numpy()[:, 0]
            for question, uniform in enumerate(uniforms.tolist()):
                weights = _weights(log_weights[question])
                if weights.sum() ** 2 < self.particles / 2 * (weights**2).sum():
                    drawn[question] = _systematic(weights, uniform)
                    log_weights[question] = 0.0
            return torch.from_numpy(drawn).to(rewards.device)

        return choose


def search_rule(
    kind: str, beams: int, branching: int, prune_from: int, temperature: float | None
) -> BeamRule | ParticleRule:
    """Return the rule of a search.

    Args:
        kind: "beam", or "smc" for particles.
        beams: B; the number of particles.
        branching: C, 1 for particles.
        prune_from: First step at which anything is dropped.
        temperature: Of particles, whose weights need one.

    Raises:
        ValueError: If there is no such rule.
    """
    if kind == "beam":
        return BeamRule(beams, branching, prune_from)
    if kind != "smc" or branching != 1 or temperature is None:
        raise ValueError(f"no search of kind {kind!r} with {branching} candidates and temperature {temperature}")
    return ParticleRule(beams, temperature, prune_from)


def by_rank(totals: Tensor) -> Tensor:
    """Return the rows of every question, the best one first, int64 [questions, rows], given float32 of that shape.

    Ties keep their order, and what is not a number comes last.
    """
    return totals.nan_to_num(nan=float("-inf")).sort(dim=1, descending=True, stable=True).indices


def _weights(log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights of which the largest is 1; all 1 where none is above zero, so that none is preferred."""
    largest = log_weights.max()
    return np.exp(log_weights - largest) if np.isfinite(largest) else np.ones_like(log_weights)


def _systematic(weights: NDArray[np.float64], uniform: float) -> NDArray[np.int64]:
    """Draw as many as there are, ascending: i is drawn floor or ceil of N w_i / sum w times, int64 [N]."""
    total = weights.cumsum()
    places = (np.arange(len(weights)) + uniform) / len(weights)
    return np.searchsorted(total / total[-1], places, side="right").astype(np.int64)
