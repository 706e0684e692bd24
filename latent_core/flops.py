"""What a rollout costs: floating-point operations, counted from the shapes that are computed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True)
class FlopModel:
    """FLOPs of a decoder-only transformer; one multiply-add counts as two.

    Matrix products are counted, which is what FLOP counters of profilers count; element-wise work is not.

    Attributes:
        per_token: FLOPs of all projections for one position, attention scores and output head excluded.
        per_token_and_key: FLOPs of attention scores and weighted values for one query against one key.
        per_logits: FLOPs of the output head for one position.
        per_feedback: FLOPs of turning one hidden state into the next latent vector.
    """

    per_token: float
    per_token_and_key: float
    per_logits: float
    per_feedback: float = 0.0

    @classmethod
    def of(
        cls, model: PreTrainedModel, feedback: nn.Module | None = None, *, feeds_back_logits: bool = False
    ) -> "FlopModel":
        """Read the shapes off a causal language model and its feedback head, which may need logits at every step."""
        head = model.get_output_embeddings()
        backbone: Any = model.base_model
        per_logits = 2.0 * head.weight.numel() if head is not None else 0.0
        own = _projection_flops(feedback) if feedback is not None else 0.0
        return replace(
            cls.of_backbone(backbone),
            per_logits=per_logits,
            per_feedback=own + (per_logits if feeds_back_logits else 0.0),
        )

    @classmethod
    def of_backbone(cls, backbone: PreTrainedModel) -> "FlopModel":
        """Read the shapes off a model without an output head."""
        config = backbone.config
        heads = config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            per_token=_projection_flops(backbone),
            per_token_and_key=4.0 * config.num_hidden_layers * heads * head_size,
            per_logits=0.0,
        )

    def with_feedback(self, shapes: Mapping[str, tuple[int, ...]]) -> "FlopModel":
        """Return the same model with a feedback head whose tensors have these shapes; matrices are what costs."""
        own = sum(2.0 * prod(shape) for shape in shapes.values() if len(shape) == 2)
        return replace(self, per_feedback=self.per_feedback + own)

    def prompt(self, tokens: int) -> float:
        """FLOPs of reading a prompt of that many tokens once."""
        return self.suffix(0, tokens)

    def shared_prompt(self, tokens: int, own: int) -> tuple[float, float]:
        """FLOPs of a prompt's tokens that samples share, and of the last `own` ones, which each reads for itself."""
        return self.prompt(tokens - own), self.suffix(tokens - own, own)

    def suffix(self, context: int, tokens: int) -> float:
        """FLOPs of feeding tokens one after the other behind a context of the given length, without logits."""
        keys_seen = tokens * context + tokens * (tokens + 1) / 2
        return self.per_token * tokens + self.per_token_and_key * keys_seen

    def trajectory(self, prompt_tokens: int, latent_steps: int, forced_tokens: int, answer_tokens: int) -> float:
        """FLOPs of one trajectory beyond its prompt.

        Args:
            prompt_tokens: Length of the prompt that is attended to.
            latent_steps: Latent vectors fed back.
            forced_tokens: Tokens fed between latents and answer (the end: 1 for most, 0 without).
            answer_tokens: Answer tokens chosen; the last one is never fed back.
        """
        fed = latent_steps + forced_tokens + max(answer_tokens - 1, 0)
        return self.suffix(prompt_tokens, fed) + self.per_logits * answer_tokens + self.per_feedback * latent_steps


def _projection_flops(module: nn.Module) -> float:
    return 2.0 * sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Linear | Conv1D))
