"""Memory budget: how much there is, and how much a batch of rollouts needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from latent_core.attention.padding import padded_length

_SHARE = {"cpu": 0.25, "cuda": 0.8}
"""Share of the free memory that a batch may fill: other processes of a machine use its memory too, and a process that
takes too much of it is killed, while a GPU only refuses."""
_FLOAT32 = 4
_SAMPLED_COPIES = 8
"""Copies of the logits that drawing a token makes: probabilities, their order, sums."""
_SMALLEST_PROMPT, _SMALLEST_SUFFIX = 64, 32


def prompt_bucket(positions: int) -> int:
    """Bucket size of prompts, the longest of which has so many positions: a power of two, so that few shapes occur."""
    return _power_of_two(positions, _SMALLEST_PROMPT)


def suffix_bucket(positions: int) -> int:
    """Bucket size for so many positions behind the prompt."""
    return _power_of_two(positions, _SMALLEST_SUFFIX)


def _power_of_two(count: int, least: int) -> int:
    return max(least, 1 << (count - 1).bit_length())


def free_bytes(device: torch.device) -> int | None:
    """Return how many bytes a device can still hand out, or None where nobody knows.

    On a GPU that is what the driver has left, and what torch has taken from it and not used. On a CPU it is what the
    machine or the container has left, whichever is less.
    """
    if device.type == "cuda":
        left, _ = torch.cuda.mem_get_info(device)
        return int(left + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    found = [left for left in (_machine_bytes(), _container_bytes()) if left is not None]
    return min(found, default=None)


def _machine_bytes(source: Path = Path("/proc/meminfo")) -> int | None:
    if not source.exists():
        return None
    lines = (line.split() for line in source.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)


def _container_bytes(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what version 2 of control groups leaves, if there is a limit; cached files give way and do not count."""
    limit, used, details = (folder / name for name in ("memory.max", "memory.current", "memory.stat"))
    if not limit.exists() or not used.exists() or not limit.read_text().strip().isdigit():
        return None
    lines = (line.split() for line in details.read_text().splitlines()) if details.exists() else ()
    cached = sum(int(words[1]) for words in lines if words[0] in ("active_file", "inactive_file"))
    return max(0, int(limit.read_text()) - int(used.read_text()) + cached)


@dataclass(frozen=True)
class Footprint:
    """What rollouts of a model need, estimated from its shapes.

    Attributes:
        per_position: Bytes of the keys and values of one position.
        transient: Bytes of what the layers compute of one position, at most at any time.
        per_key: Bytes of the attention weights of one position with one key.
        logits: Bytes of the logits of one position.
    """

    per_position: int
    transient: int
    per_key: int
    logits: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Footprint":
        """Read the shapes off a causal language model."""
        config: Any = model.config
        size = torch.empty(0, dtype=model.dtype).element_size()
        heads, width = int(config.num_attention_heads), int(config.hidden_size)
        kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
        head_size = int(getattr(config, "head_dim", None) or width // heads)
        inner = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width)
        return cls(
            per_position=2 * int(config.num_hidden_layers) * kv_heads * head_size * size,
            transient=(3 * inner + 8 * width) * size,
            per_key=3 * heads * _FLOAT32,
            logits=int(config.vocab_size) * size,
        )

    def prompt(self, tokens: int, *, static: bool = False) -> int:
        """Bytes that the prompt of so many tokens needs, also for a copy in static memory if there is one."""
        padded = padded_length(tokens)
        copy = prompt_bucket(padded) * self.per_position if static else 0
        return padded * (self.per_position + self.transient) + copy

    def row(self, prompt_tokens: int, suffix: int, *, samples_tokens: bool, on_cpu: bool) -> int:
        """Bytes that a row needs behind its prompt.

        Args:
            prompt_tokens: Length of the prompt.
            suffix: Positions behind it.
            samples_tokens: Whether answer tokens are drawn.
            on_cpu: Whether the most likely token is found without all logits, and suffixes are no longer than they have
                to be.
        """
        # A suffix that outgrows its buffer, and rows that are selected, are there twice for a moment.
        kept = (suffix + (suffix if on_cpu else suffix_bucket(suffix))) * self.per_position
        attention = (padded_length(prompt_tokens) + suffix) * self.per_key
        logits = _SAMPLED_COPIES * self.logits if samples_tokens else 0 if on_cpu else self.logits
        return kept + self.transient + max(attention, logits)

    def positions(self, prompt_tokens: int, count: int) -> int:
        """Bytes that a row needs of which so many positions behind the prompt are read in one pass."""
        keys = padded_length(prompt_tokens) + count
        return count * (self.per_position + self.transient + keys * self.per_key)


def share_of(device: torch.device, reusable: int = 0) -> int | None:
    """Return how many bytes a batch may fill on a device, or None where nobody knows how much there is.

    Args:
        device: The device.
        reusable: Bytes in use that batches give back or use themselves.
    """
    free = free_bytes(device)
    return None if free is None else int(_SHARE.get(device.type, _SHARE["cpu"]) * (free + reusable))
