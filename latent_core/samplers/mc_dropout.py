"""Monte Carlo dropout: dropout stays on, and every trajectory draws its own masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from latent_core.randomness import LEAST_DROPOUT, Streams
from latent_core.samplers.base import (
    DrawSite,
    ModulePerturbation,
    Phase,
    Site,
    nothing_or_at_least,
    phases_in_order,
    register_sampler,
)
from latent_core.samplers.thought_sampler import ANSWER_SETTINGS, ThoughtSampler

if TYPE_CHECKING:
    from torch import Tensor


@register_sampler
class MonteCarloDropout(ThoughtSampler):
    """Dropout at chosen sites of the network while chosen phases run (arXiv 2510.07745, section 3).

    Attributes:
        p: Probability that an element is dropped.
        sites: Where masks are applied; after the feed-forward by default.
        scope: The phases in which they are applied; the latent steps by default. With "prompt" every sample reads
            its own prompt, and nothing is shared between the samples of a question. With "boundary" every sample
            reads the prompt's last position, so that already the first latents differ; what precedes it is shared.
            Each latent is fed back under masks, the last one too.
        mask: "step" draws new masks for every position, "trajectory" one set of masks per trajectory, the same at
            every position (variational dropout, Gal & Ghahramani 2016, arXiv 1512.05287).
    """

    kind: ClassVar[str] = "mc_dropout"
    silent: ClassVar[tuple[str, ...]] = ANSWER_SETTINGS

    p: float = Field(ge=0.0, lt=1.0)
    sites: tuple[Site, ...] = (Site.FEED_FORWARD,)
    scope: tuple[Phase, ...] = (Phase.LATENT,)
    mask: Literal["step", "trajectory"] = "step"

    @field_validator("p")
    @classmethod
    def _can_be_drawn(cls, value: float) -> float:
        return nothing_or_at_least(LEAST_DROPOUT, value, "masks are drawn in steps of 2^-16")

    @field_validator("sites")
    @classmethod
    def _some_and_in_order(cls, value: tuple[Site, ...]) -> tuple[Site, ...]:
        if not value:
            raise ValueError("name at least one")
        return tuple(sorted(set(value), key=list(Site).index))

    @field_validator("scope")
    @classmethod
    def _in_order(cls, value: tuple[Phase, ...]) -> tuple[Phase, ...]:
        return phases_in_order(value)

    @property
    def perturbs_prompt(self) -> bool:
        """Whether the prompt is in scope."""
        return Phase.PROMPT in self.scope and self.p > 0.0

    @property
    def perturbs_boundary(self) -> bool:
        """Whether the last position of the prompt is in scope, and what precedes it is not."""
        return Phase.BOUNDARY in self.scope and self.p > 0.0

    @property
    def perturbs_forward(self) -> bool:
        """Whether the latent steps are in scope."""
        return Phase.LATENT in self.scope and self.p > 0.0

    @property
    def deterministic(self) -> bool:
        """True where nothing is ever dropped, and answers are greedy."""
        return self.p == 0.0 and self.is_greedy

    @property
    def module_sites(self) -> frozenset[Site]:
        """Where masks are applied."""
        return frozenset(self.sites) if self.p > 0.0 else frozenset()

    def perturbation(self, phase: Phase, streams: Streams, step: Tensor | int) -> ModulePerturbation | None:
        """Return the masks of this pass where its phase is in scope."""
        if phase not in self.scope or self.p == 0.0:
            return None
        return _DropoutMasks(self, streams, step, phase)


class _DropoutMasks(ModulePerturbation):
    """The masks of one forward pass, drawn when a site asks for them."""

    def __init__(self, sampler: MonteCarloDropout, streams: Streams, step: Tensor | int, phase: Phase) -> None:
        self.sites = frozenset(sampler.sites)
        self._p = sampler.p
        self._per_step = sampler.mask == "step"
        self._streams = streams
        self._step = step
        self._in_prompt = phase is Phase.PROMPT

    def on_output(self, site: Site, layer: int, output: Tensor) -> Tensor:
        rows, positions, width = output.shape
        number = DrawSite.in_layer(site, layer)
        if self._per_step:
            mask = self._streams.keep_mask(self._step, number, positions * width, self._p)
            mask = mask.reshape(rows, positions, width)
        else:
            mask = self._streams.keep_mask(0, number, width, self._p)[:, None, :]
        return output * mask.to(output.dtype)

    def on_attention_weights(
        self, layer: int, weights: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> Tensor:
        """Mask weights by the absolute positions of query and key, so that padding does not shift any draw."""
        import torch

        heads = weights.shape[1]
        number = DrawSite.in_layer(Site.ATTENTION_WEIGHTS, layer)
        if self._per_step and self._in_prompt:
            # Within the prompt, pairs of positions are numbered row by row of the causal triangle.
            query, key = query_positions[:, :, None], key_positions[:, None, :]
            address = torch.where(key <= query, query * (query + 1) // 2 + key, 0)
        else:
            address = key_positions[:, None, :]
        step = self._step if self._per_step else 0
        drawn = self._streams.keep_mask(step, number, (int(address.max()) + 1) * heads, self._p)
        drawn = drawn.reshape(len(drawn), -1, heads)
        row = torch.arange(len(drawn), device=drawn.device)[:, None, None]
        mask = drawn[row, address].permute(0, 3, 1, 2)
        return weights * mask.to(weights.dtype)
