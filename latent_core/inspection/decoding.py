"""Decoded thoughts: the most likely token at each stored latent, by the output head of the model it came from."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from latent_core.models.reasoner import LatentReasoner

_AT_ONCE = 256


@torch.inference_mode()
def decode_latents(reasoner: LatentReasoner, trajectories: Sequence[NDArray[np.floating]]) -> list[tuple[str, ...]]:
    """Return the text of the most likely token at each step of each trajectory.

    Where the feedback head is not the identity, a latent is an input of the model and no hidden state, and the token is
    a hint rather than what the model was about to write.

    Args:
        reasoner: The model that the latents are of.
        trajectories: Latents [T, hidden size] each; T may differ and be 0.
    """
    lengths = [len(latents) for latents in trajectories]
    if not sum(lengths):
        return [() for _ in trajectories]
    rows = np.concatenate([latents.astype(np.float32) for latents in trajectories if len(latents)])
    tokens: list[int] = []
    for part in torch.from_numpy(rows).split(_AT_ONCE):
        logits = reasoner.logits(part.to(reasoner.device, reasoner.model.dtype))
        tokens += logits.argmax(dim=-1).tolist()
    decode = reasoner.checkpoint.tokenizer.decode
    texts = {token: str(decode([token])) for token in set(tokens)}
    words = iter(tokens)
    return [tuple(texts[next(words)] for _ in range(length)) for length in lengths]
