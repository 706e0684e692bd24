"""The interface between the rollout engine and whatever perturbs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import ValidationError

from latent_core.errors import UserError
from latent_core.mixtures import Candidates, Merged
from latent_core.randomness import Streams
from latent_core.registry import Registry, nearest_hint
from latent_core.settings import Settings, explain_validation_error

if TYPE_CHECKING:
    from torch import Tensor

LEAST_STRENGTH = 1e-30
"""Least scale of noise, temperature or share that is not 0: with a margin, what single precision still computes with.
Noise below it vanishes, and logits divided by it are infinite."""


def nothing_or_at_least(least: float, value: float, why: str) -> float:
    """Return the strength of a sampler where it is 0 or at least so large.

    Raises:
        ValueError: With the limit and its reason: below it all samples would be the same, and be drawn nevertheless.
    """
    if 0 < value < least:
        raise ValueError(f"must be 0 or at least {least:.3g}: {why}")
    return value


class Phase(StrEnum):
    """The part of a rollout that a forward pass belongs to.

    The boundary is the last position of the prompt, from which the first latent comes: a pass of its own where a
    sampler acts on it and not on the prompt before it.
    """

    PROMPT = "prompt"
    BOUNDARY = "boundary"
    LATENT = "latent"
    ANSWER = "answer"


def phases_in_order(scope: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Return the phases of a scope, each once, in the order of a rollout.

    Raises:
        ValueError: If there is none, or if the boundary is named beside the prompt that it is part of.
    """
    if not scope:
        raise ValueError("name at least one")
    if {Phase.PROMPT, Phase.BOUNDARY} <= set(scope):
        raise ValueError("the boundary is the prompt's last position; name prompt or boundary, not both")
    return tuple(sorted(set(scope), key=list(Phase).index))


class Site(StrEnum):
    """A place in a transformer block that can be perturbed, named by its role in any architecture."""

    FEED_FORWARD = "feed_forward"
    ATTENTION = "attention"
    EMBEDDING = "embedding"
    ATTENTION_WEIGHTS = "attention_weights"


class Projection(StrEnum):
    """A linear map in a transformer block whose weight can be perturbed, named by its role in any architecture."""

    ATTENTION_QUERY = "attention_query"
    ATTENTION_KEY = "attention_key"
    ATTENTION_VALUE = "attention_value"
    ATTENTION_OUTPUT = "attention_output"
    FEED_FORWARD_INPUT = "feed_forward_input"
    FEED_FORWARD_OUTPUT = "feed_forward_output"


@dataclass(frozen=True)
class SingularFactors:
    """The singular value decomposition x W = x U diag(s) V^T of a projection.

    Attributes:
        left: U, [inputs, rank].
        values: s, [rank].
        right: V^T, [rank, outputs].
    """

    left: Tensor
    values: Tensor
    right: Tensor


class DrawSite:
    """Site numbers of the draws that are not tied to a layer; layers use numbers from `LAYERS` and `PROJECTIONS` on."""

    LATENT_NOISE = 0
    ANSWER_TOKEN = 1
    MIXTURE = 2
    STOP = 3
    RESAMPLING = 4
    LAYERS = 16

    PROJECTIONS = 32768

    @classmethod
    def in_layer(cls, site: Site, layer: int) -> int:
        """Return the site number of a module site of a layer (0-based)."""
        return cls.LAYERS + layer * len(Site) + list(Site).index(site)

    @classmethod
    def of_projection(cls, projection: Projection, layer: int) -> int:
        """Return the site number of a projection of a layer (0-based)."""
        return cls.PROJECTIONS + layer * len(Projection) + list(Projection).index(projection)


class ModulePerturbation:
    """What a sampler does inside one forward pass of the model. The default leaves everything as it is."""

    sites: frozenset[Site] = frozenset()
    projections: frozenset[Projection] = frozenset()

    def on_output(self, site: Site, layer: int, output: Tensor) -> Tensor:
        """Perturb the output of a module, [rows, positions, width]."""
        return output

    def on_attention_weights(
        self, layer: int, weights: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> Tensor:
        """Perturb attention weights.

        Args:
            layer: 0-based layer.
            weights: [rows, heads, queries, keys].
            query_positions: Absolute positions in the row's sequence, int64 [rows, queries].
            key_positions: The same for the keys, int64 [rows, keys].
        """
        return weights

    def on_projection(
        self, projection: Projection, layer: int, inputs: Tensor, output: Tensor, factors: SingularFactors
    ) -> Tensor:
        """Perturb the weight of a projection, by way of its output.

        Args:
            projection: Which one.
            layer: 0-based layer.
            inputs: What it read, [rows, positions, inputs].
            output: What it made of it, [rows, positions, outputs].
            factors: The decomposition of its weight.
        """
        return output


class Sampler(Settings):
    """Settings of a sampler and what it does at each place the engine asks it.

    Every method is a pure function of its arguments; all randomness comes from the streams and is addressed by step.
    Steps count positions behind the prompt from 1 on: latent t is step t, the first token behind T latents is T + 1.
    The prompt as a whole is step 0, and so is its boundary.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised with the behaviour of a shipped sampler: what an older one has sampled is not taken for its own."""
    silent: ClassVar[tuple[str, ...]] = ()
    """Settings that came after the sampler was shipped: where they have their default they are not written down, so
    that stores and folders which never heard of them go on."""
    feedbacks: ClassVar[tuple[str, ...]] = ()
    """Kinds of feedback head of which one is needed, because what it draws from is only there; () for any head."""

    @property
    def perturbs_prompt(self) -> bool:
        """Whether every sample needs its own pass over the prompt."""
        return False

    @property
    def perturbs_boundary(self) -> bool:
        """Whether every sample needs its own pass over the last position of the prompt, the rest being shared."""
        return False

    def own_prompt_tokens(self, prompt_tokens: int) -> int:
        """Return how many tokens of a prompt every sample reads for itself: its last ones."""
        if self.perturbs_prompt:
            return prompt_tokens
        return 1 if self.perturbs_boundary else 0

    @property
    def perturbs_forward(self) -> bool:
        """Whether it acts inside the forward passes of latent steps, so that it first shows in the next latent."""
        return False

    @property
    def deterministic(self) -> bool:
        """Whether all samples of a question are the same."""
        return False

    @property
    def is_greedy(self) -> bool:
        """Whether it writes the most likely token, so that nobody needs to see all logits."""
        return type(self).choose_token is Sampler.choose_token

    @property
    def module_sites(self) -> frozenset[Site]:
        """Sites that it acts on in some phase."""
        return frozenset()

    def projections(self, phase: Phase) -> frozenset[Projection]:
        """Return the projections whose weights it perturbs in a phase, for what that costs."""
        return frozenset()

    @property
    def draws_stop(self) -> bool:
        """Whether it is drawn where thinking ends; else it ends where the end is the most probable token."""
        return False

    def draw_latent(self, mean: Tensor, deviation: Tensor, streams: Streams, step: int) -> Tensor:
        """Return the latent of a stochastic head, [rows, hidden size]; the mean unless a sampler draws.

        Args:
            mean: [rows, hidden size].
            deviation: Standard deviation of every element, [rows, hidden size].
            streams: The random streams of the rows.
            step: The step of the latent.
        """
        return mean

    def merge(self, candidates: Candidates, streams: Streams, step: int) -> Merged:
        """Return what the latent of a vocabulary mixture is made of; the most probable tokens unless a sampler draws.

        Draws are addressed by the place of a candidate and must not depend on how many there are, which differs from
        batch to batch: behind the filters of a row stand those of its neighbours, with a weight of nothing.
        """
        return candidates.merged

    def draw_stop(self, probability: Tensor, streams: Streams, step: int) -> Tensor:
        """Draw which rows stop thinking before a step, bool [rows], from the probability of the end, [rows]."""
        return streams.uniform(step, DrawSite.STOP, 1).squeeze(1) < probability

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        """Return the vector that is fed back in place of `latent`, [rows, hidden size]."""
        return latent

    def perturbation(self, phase: Phase, streams: Streams, step: Tensor | int) -> ModulePerturbation | None:
        """Return what happens inside the forward pass of this phase and step, or None for nothing.

        On a GPU one pass is captured for all steps of a phase, so what is returned must not depend on the step, and
        its methods must pass the step on to the streams without looking at it: there it is an int64 [1] on the device.
        """
        return None

    def choose_token(self, logits: Tensor, streams: Streams, step: int) -> Tensor:
        """Choose the next answer token from logits [rows, vocabulary]; returns int64 [rows]."""
        return logits.argmax(dim=-1)

    def describe(self) -> str:
        """Return the setting in words a person can read, such as "gaussian sigma=0.4".

        Settings that have their default are left out; equal settings have equal descriptions.
        """
        words = [self.kind]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.default:
                words.append(name if value is True else f"{name}={_plain(value)}")
        return " ".join(words)

    def to_config(self) -> dict[str, Any]:
        """Return the setting as plain data, `kind` first; `parse_sampler` reads it back.

        It is complete but for `silent` settings that have their default.
        """
        fields = type(self).model_fields
        unsaid = {name for name in self.silent if getattr(self, name) == fields[name].default}
        return {"kind": self.kind, **self.model_dump(mode="json", exclude=unsaid)}


SAMPLERS: Registry[type[Sampler]] = Registry("sampler", "latent_core.samplers", group="samplers")

S = TypeVar("S", bound=type[Sampler])


def register_sampler(cls: S) -> S:
    """Class decorator that makes a sampler available under its `kind`."""
    SAMPLERS.register(cls.kind, cls)
    return cls


def parse_sampler(config: Mapping[str, Any]) -> Sampler:
    """Build a sampler from `{"kind": name, setting: value, ...}`.

    Raises:
        UserError: If the kind is unknown, a setting is unknown, or a value is out of range.
    """
    settings = dict(config)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str):
        raise UserError(f"sampler.kind: missing; {nearest_hint('', list(SAMPLERS))}")
    cls = SAMPLERS[kind]
    try:
        return cls.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain_validation_error(error, cls, "sampler", f" of sampler {kind!r}")) from None


def _plain(value: object) -> str:
    if isinstance(value, tuple | list | frozenset):
        return "+".join(str(item) for item in value)
    return str(value)
