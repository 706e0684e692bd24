"""Stop gate: a head that decides at every latent step whether a trajectory thinks on."""

from collections.abc import Iterable, Mapping
from math import log
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from latent_core.settings import Settings

GATE = "stop_gate"
"""Beginning of the names of its tensors."""


class StopGateSettings(Settings):
    """How a gate decides.

    It has one output, the logit of stopping, or two, those of going on and of stopping. They come from rows of the
    output head, where two tokens are named, else from `stop_gate.weight` [outputs, hidden size] and `stop_gate.bias`.

    Attributes:
        threshold: A trajectory stops where the probability of stopping is above it.
        go_on_token: Token whose row of the output head is the logit of going on.
        stop_token: Token whose row is that of stopping.
        reads: Whether it reads the last hidden state, or the latent that would be fed back next.
    """

    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    go_on_token: str | None = None
    stop_token: str | None = None
    reads: Literal["hidden", "latent"] = "hidden"

    @model_validator(mode="after")
    def _both_tokens(self) -> "StopGateSettings":
        if (self.go_on_token is None) != (self.stop_token is None):
            raise ValueError("go_on_token and stop_token are rows of one head: name both, or neither")
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens for going on and for stopping; none where the gate has tensors of its own."""
        return () if self.go_on_token is None or self.stop_token is None else (self.go_on_token, self.stop_token)


class StopGate(nn.Module):
    """A linear head with one output or two, and a threshold."""

    def __init__(self, weight: Tensor, bias: Tensor | None, settings: StopGateSettings) -> None:
        """Wrap weight [1 or 2, hidden size] and bias [1 or 2]."""
        super().__init__()
        self.layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        tensors = {"weight": weight} | ({} if bias is None else {"bias": bias})
        self.layer.load_state_dict(tensors, assign=True)
        self.reads_latent = settings.reads == "latent"
        self._least = log(settings.threshold / (1.0 - settings.threshold))

    def forward(self, states: Tensor) -> Tensor:
        """Return which rows stop, bool [rows], of hidden states or latents [rows, hidden size]."""
        outputs: Tensor = self.layer(states)
        logit = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
        return logit > self._least


def gate_tensors(
    settings: StopGateSettings | None, hidden_size: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that a gate needs, given those that are there.

    Raises:
        KeyError: If its weight is missing.
    """
    if settings is None or settings.tokens:
        return {}
    outputs = 2 if shapes[f"{GATE}.weight"][0] == 2 else 1
    bias = {f"{GATE}.bias": (outputs,)} if f"{GATE}.bias" in shapes else {}
    return {f"{GATE}.weight": (outputs, hidden_size), **bias}


def kept_by_gate(settings: StopGateSettings | None, names: Iterable[str]) -> set[str]:
    """Return which of the names are those of tensors of a gate's own."""
    if settings is None or settings.tokens:
        return set()
    return {f"{GATE}.weight", f"{GATE}.bias"} & {*names}


def gate_of_rows(head: nn.Module, rows: tuple[int, ...], settings: StopGateSettings) -> StopGate:
    """Return the gate that two rows of an output head are."""
    index = torch.tensor(rows)
    tensors = dict(head.named_parameters(recurse=False))
    bias = tensors.get("bias")
    return StopGate(
        tensors["weight"].detach()[index.to(tensors["weight"].device)].clone(),
        None if bias is None else bias.detach()[index.to(bias.device)].clone(),
        settings,
    )
