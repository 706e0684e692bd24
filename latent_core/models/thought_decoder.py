"""Thought decoder: the output head alone, which says the most likely token at a latent vector.

No model is built: one tensor of the weight files is read. Classes that scale or cap logits behind the head keep their
order, so they need not be known here. Where the feedback head is the identity, a latent is the hidden state that the
head was trained on; elsewhere it is an input, and the token near it is a hint.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint

_HEADS = ("lm_head.weight", "embed_out.weight", "output_layer.weight")
_EMBEDDINGS = ("wte.weight", "embed_tokens.weight", "embed_in.weight", "word_embeddings.weight")
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class ThoughtDecoder:
    """The output head of a checkpoint.

    Attributes:
        weight: float32 [vocabulary, hidden size].
        bias: float32 [vocabulary], or None.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "ThoughtDecoder":
        """Read the head of a checkpoint.

        Raises:
            UserError: If its weight files do not tell which tensor it is.
        """
        name = head_name(checkpoint)
        bias = name.removesuffix("weight") + "bias"
        names = [name, *([bias] if bias in checkpoint.weights.headers else [])]
        with checkpoint.weights.tensors(names) as slices:
            tensors = {one: slices[one][:].float().numpy() for one in names}
        return cls(tensors[name], tensors.get(bias))

    def flops(self, latents: int) -> float:
        """FLOPs of decoding so many latents."""
        return 2.0 * latents * self.weight.size

    def decode(self, latents: NDArray[Any]) -> NDArray[np.int32]:
        """Return the most likely token, int32 [rows], at latents [rows, hidden size], the first of equals."""
        found = np.empty(len(latents), np.int32)
        # A piece at a time: logits of all rows would take more memory than everything else.
        for first in range(0, len(latents), _ROWS):
            logits = latents[first : first + _ROWS].astype(np.float32, copy=False) @ self.weight.T
            if self.bias is not None:
                logits += self.bias
            found[first : first + _ROWS] = logits.argmax(axis=1)
        return found


def head_name(checkpoint: Checkpoint) -> str:
    """Return the name, in the weight files, of the output head, which may be the embeddings.

    Raises:
        UserError: If it cannot be told.
    """
    shape = (int(checkpoint.config.vocab_size), checkpoint.hidden_size)
    fitting = [name for name, header in checkpoint.weights.headers.items() if header.shape == shape]
    for endings in (_HEADS, _EMBEDDINGS):
        found = [name for name in fitting if name.endswith(endings)]
        if len(found) == 1:
            return found[0]
    if len(fitting) == 1:
        return fitting[0]
    raise UserError(
        f"checkpoint {checkpoint.source}: cannot tell which of its tensors is the output head ({len(fitting)} have the "
        f"shape {list(shape)})"
    )
