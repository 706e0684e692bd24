"""Counter-based random draws: every number is a pure function of its address.

The generator is Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) written with
torch integer arithmetic, so that one implementation serves every device and yields the same bits on all of them. The
address of a draw is

    key     = 64-bit hash of (run seed, question id)
    counter = (block of elements, sample index, rollout index, step and site)

No state is carried from one draw to the next. A trajectory therefore does not depend on the batch it was computed in,
on the process that computed it, or on how often it was retried.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from latent_core.kernels import use_kernels

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MASK32 = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_STEP_BITS = 16
_MAX_STEP = 1 << _STEP_BITS
_MAX_SITE = 1 << (32 - _STEP_BITS)
LEAST_DROPOUT = 2.0**-16
"""Least probability of an element to be dropped that `Streams.keep_mask` can draw."""


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Apply the Philox4x32-10 bijection.

    Args:
        counter: Four int64 tensors that hold 32-bit words; they broadcast against each other.
        key: Two int64 tensors that hold 32-bit words; they broadcast against the counter.

    Returns:
        Four int64 tensors of the common shape, each element a uniform 32-bit word.
    """
    import torch

    c0, c1, c2, c3 = torch.broadcast_tensors(*counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        # A 32 x 32 bit product needs 64 bits; int64 wraps exactly, and masking the shifted product undoes its sign.
        product0, product1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0 = ((product1 >> 32) & _MASK32).bitwise_xor_(c1).bitwise_xor_(k0)
        c2 = ((product0 >> 32) & _MASK32).bitwise_xor_(c3).bitwise_xor_(k1)
        c1, c3 = product1.bitwise_and_(_MASK32), product0.bitwise_and_(_MASK32)
        k0, k1 = (k0 + _WEYL_0) & _MASK32, (k1 + _WEYL_1) & _MASK32
    return [c0, c1, c2, c3]


def question_key(seed: int, question_id: str) -> tuple[int, int]:
    """Return the two 32-bit key words for a question of a run."""
    digest = hashlib.blake2b(f"{seed}\x00{question_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


@dataclass(frozen=True)
class Streams:
    """The random streams of a batch of rows: one address prefix per row.

    Attributes:
        key: Key words, int64 [rows, 2].
        sample: Sample index of each row, int64 [rows].
        rollout: Index of a completion branched off later than the prompt, int64 [rows]; 0 for plain samples.
    """

    key: Tensor
    sample: Tensor
    rollout: Tensor

    @classmethod
    def for_questions(cls, seed: int, question_ids: Sequence[str], device: torch.device | str = "cpu") -> Self:
        """Open one stream per question, at sample 0."""
        import torch

        keys = [question_key(seed, question_id) for question_id in question_ids]
        zeros = torch.zeros(len(keys), dtype=torch.int64, device=device)
        return cls(torch.tensor(keys, dtype=torch.int64, device=device).reshape(-1, 2), zeros, zeros)

    def __len__(self) -> int:
        return len(self.sample)

    def take(self, rows: Tensor) -> Self:
        """Return the streams of the given rows, int64 [n]."""
        return type(self)(self.key[rows], self.sample[rows], self.rollout[rows])

    def part(self, rows: slice) -> Self:
        """Return the streams of neighbouring rows."""
        return type(self)(self.key[rows], self.sample[rows], self.rollout[rows])

    def words(self, step: Tensor | int, site: int, count: int) -> Tensor:
        """Draw uniform 32-bit words.

        Args:
            step: Step of each row (int64 [rows]) or of all rows (an int, or int64 [1]), below 65,536.
            site: Where in the model the draw is used, below 65,536; sites must differ for draws to be independent.
            count: How many words per row.

        Returns:
            int64 [rows, count], each element in [0, 2**32).

        Raises:
            ValueError: If step or site is out of range; steps that are on a GPU are not looked at.
        """
        place = self._place(step, site)
        if use_kernels(self.sample.device):
            from latent_core.kernels import philox

            return philox.words(self.key, self.sample, self.rollout, place, count)
        import torch

        block = torch.arange(-(-count // 4), dtype=torch.int64, device=self.sample.device)
        drawn = philox4x32(
            (block.reshape(1, -1), self.sample.reshape(-1, 1), self.rollout.reshape(-1, 1), place.reshape(-1, 1)),
            (self.key[:, :1], self.key[:, 1:]),
        )
        return torch.stack(drawn, dim=-1).flatten(1)[:, :count]

    def _place(self, step: Tensor | int, site: int) -> Tensor:
        """Return step and site as one word, int64 [rows] or [1]."""
        import torch

        if not 0 <= site < _MAX_SITE:
            raise ValueError(f"site {site} is outside [0, {_MAX_SITE})")
        if isinstance(step, int):
            _check_steps(step, step)
            return torch.full((1,), step | (site << _STEP_BITS), dtype=torch.int64, device=self.sample.device)
        # To look at what is on a GPU is to wait for it, and while a graph is captured nobody may.
        if step.device.type == "cpu" and step.numel():
            _check_steps(int(step.min()), int(step.max()))
        return step.reshape(-1).to(torch.int64) | (site << _STEP_BITS)

    def uniform(self, step: Tensor | int, site: int, count: int) -> Tensor:
        """Draw uniforms in the open interval (0, 1), float32 [rows, count]."""
        # 24 bits fit a float32 mantissa; the half step keeps 0 out, which a logarithm could not take.
        return ((self.words(step, site, count) >> 8).float() + 0.5) * 2.0**-24

    def normal(self, step: Tensor | int, site: int, count: int) -> Tensor:
        """Draw standard normals by the Box-Muller transform, float32 [rows, count]."""
        import torch

        half = -(-count // 2)
        u = self.uniform(step, site, 2 * half)
        radius = torch.sqrt(-2.0 * torch.log(u[:, :half]))
        angle = (2.0 * math.pi) * u[:, half:]
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]

    def keep_mask(self, step: Tensor | int, site: int, count: int, drop_probability: float) -> Tensor:
        """Draw dropout masks, already rescaled: 0 with the given probability, else 1 / (1 - probability).

        Probabilities are rounded to multiples of 2**-16, and the scale uses the rounded value, so the mask's
        expectation is exactly 1.

        Returns:
            float32 [rows, count].
        """
        threshold = min(round(drop_probability * 65536), 65535)
        if use_kernels(self.sample.device):
            from latent_core.kernels import philox

            scale, place = 65536 / (65536 - threshold), self._place(step, site)
            return philox.keep_mask(self.key, self.sample, self.rollout, place, count, threshold, scale)
        import torch

        words = self.words(step, site, -(-count // 2))
        halves = torch.stack([words & 0xFFFF, words >> 16], dim=-1).flatten(1)[:, :count]
        return (halves >= threshold).float().mul_(65536 / (65536 - threshold))


def _check_steps(first: int, last: int) -> None:
    for step in (first, last):
        if not 0 <= step < _MAX_STEP:
            raise ValueError(f"step {step} is outside [0, {_MAX_STEP})")
