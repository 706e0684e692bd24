"""The weights of a checkpoint: checked by their headers, and loaded."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.utils import logging

from latent_core.attention.shared_prefix import SHARED_PREFIX_ATTENTION
from latent_core.errors import UserError
from latent_core.mixtures import MixtureSettings
from latent_core.models.feedback import FEEDBACKS, Feedback
from latent_core.models.gates import GATE, StopGate, StopGateSettings, gate_tensors
from latent_core.models.weight_files import WeightSource, some

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_ROWS = 4096
"""Rows of two tensors that are compared at a time."""


def check_feedback(source: str, kind: str, hidden_size: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors of a feedback head with those that it needs.

    Raises:
        UserError: If one is missing or has another shape.
    """
    try:
        wanted = FEEDBACKS[kind].wanted(hidden_size, shapes)
    except KeyError as error:
        raise UserError(f"checkpoint {source}: its weights lack {error.args[0]} of the {kind} feedback") from None
    for name, shape in wanted.items():
        if name not in shapes:
            raise UserError(f"checkpoint {source}: its weights lack {name} of the {kind} feedback")
        if shapes[name] != shape:
            raise UserError(
                f"checkpoint {source}: {name} of the {kind} feedback has shape {list(shapes[name])}, but latents of "
                f"width {hidden_size} need {list(shape)}"
            )


def check_gate(
    source: str, gate: StopGateSettings | None, hidden_size: int, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare the tensors of a stop gate with those that it needs; nothing where the output head is the gate.

    Raises:
        UserError: If one is missing or has another shape.
    """
    try:
        wanted = gate_tensors(gate, hidden_size, shapes)
    except KeyError as error:
        raise UserError(
            f"checkpoint {source}: its weights lack {error.args[0]} of the stop gate; a gate that is rows of the "
            "output head names go_on_token and stop_token"
        ) from None
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise UserError(
                f"checkpoint {source}: {name} of the stop gate has shape {list(shapes[name])}, but one or two outputs "
                f"of hidden states of width {hidden_size} need {list(shape)}"
            )


def load_gate(
    source: str, gate: StopGateSettings, weights: WeightSource, device: torch.device | str, dtype: torch.dtype
) -> StopGate:
    """Load a stop gate with tensors of its own, which have been checked."""
    names = [name for name in weights.headers if name in (f"{GATE}.weight", f"{GATE}.bias")]
    with weights.tensors(names) as slices:
        tensors = {name: one[...] for name, one in slices.items()}
    loaded = StopGate(tensors[f"{GATE}.weight"], tensors.get(f"{GATE}.bias"), gate).to(dtype=dtype)
    check_finite(f"checkpoint {source}", loaded.named_parameters())
    return loaded.to(device=device).eval().requires_grad_(False)


def check_tied_copies(source: str, weights: WeightSource, tied: Mapping[str, str]) -> None:
    """Compare copies of tensors with what they are copies of, some rows at a time.

    Args:
        source: What the user named.
        weights: Where the tensors are.
        tied: The name of each copy, with that of its original.

    Raises:
        UserError: If one differs: the model would be another one with it than without it.
    """
    for copy, origin in tied.items():
        with weights.tensors([copy, origin]) as slices:
            one, other = slices[copy], slices[origin]
            rows = one.get_shape()[0]
            same = one.get_shape() == other.get_shape() and all(
                torch.equal(one[first : first + _ROWS], other[first : first + _ROWS]) for first in range(0, rows, _ROWS)
            )
        if not same:
            raise UserError(
                f"checkpoint {source}: its weights {copy} and {origin} differ, but config.json says that they are the "
                "same; if the model was trained with two, say tie_word_embeddings false there"
            )


def feedback_scale(source: str, kind: str, config: "PreTrainedConfig") -> float:
    """Return `latent_embedding_std` of a configuration; 1 where the feedback head has no use for it.

    Raises:
        UserError: If the head needs it, and it is absent or no positive number.
    """
    if not FEEDBACKS[kind].scaled:
        return 1.0
    value = getattr(config, "latent_embedding_std", None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        said = "is absent" if value is None else f"is {value!r}"
        raise UserError(
            f"checkpoint {source}: latent_embedding_std in config.json {said}, but the {kind} feedback multiplies "
            "every latent by it; say the spread of the embeddings that it was trained with (0.018 in the released "
            "class, 1 for a head that was trained without it)"
        )
    return float(value)


def load_feedback(
    source: str,
    kind: str,
    weights: WeightSource,
    config: "PreTrainedConfig",
    device: torch.device | str,
    dtype: torch.dtype,
    mixture: MixtureSettings | None = None,
) -> Feedback:
    """Load a feedback head whose tensors have been checked; `mixture` says how one of the vocabulary merges tokens."""
    cls = FEEDBACKS[kind]
    with weights.tensors(name for name in weights.headers if name.startswith(cls.prefixes())) as slices:
        tensors = {name: one[...] for name, one in slices.items()}
    feedback = cls.from_tensors(tensors, feedback_scale(source, kind, config)).to(dtype=dtype)
    feedback = feedback.configured(mixture)
    check_finite(f"checkpoint {source}", feedback.named_parameters())
    return feedback.to(device=device).eval().requires_grad_(False)


def load_model(
    blank: "PreTrainedModel", source: str, weights: WeightSource, names: Iterable[str], dtype: torch.dtype
) -> tuple["PreTrainedModel", list[str]]:
    """Load a model with the shared-prefix attention.

    The library is given tensors and no directory, in which it would look for more: for adapters where PEFT is
    installed, for files that config.json names, for distributed checkpoints.

    Args:
        blank: The model without weights, which says what to load; whoever makes one has asked whether it can share
            prompts.
        source: What the user named.
        weights: Where the tensors are.
        names: Those of them that the model takes.
        dtype: Precision of the weights.

    Returns:
        The model, and the sorted names of tensors that are lacking.

    Raises:
        UserError: If the weights cannot be loaded.
    """
    try:
        with _silently(), weights.tensors(names) as slices:
            loaded: Any = type(blank).from_pretrained(
                None,
                config=blank.config,
                state_dict=slices,
                attn_implementation=SHARED_PREFIX_ATTENTION,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=dtype,
            )
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"checkpoint {source}: its weights cannot be loaded: {reason}") from error
    for name, found, wanted in sorted(loaded[1]["mismatched_keys"]):
        raise UserError(
            f"checkpoint {source}: its weights have {name} with shape {list(found)}, but its configuration asks for "
            f"{list(wanted)}"
        )
    if unexpected := loaded[1]["unexpected_keys"]:
        raise UserError(f"checkpoint {source}: transformers does not take {some(unexpected)} of its weights")
    check_finite(f"checkpoint {source}", loaded[0].named_parameters())
    _fuse_activations(loaded[0])
    return loaded[0], sorted(loaded[1]["missing_keys"])


def leave_files(modules: Iterable[nn.Module]) -> None:
    """Copy what modules still read from mapped weight files into memory of their own.

    Tensors of safetensors are views of a mapped file. A single one keeps all of it mapped, also the weights that have
    been laid out anew since, and whoever writes the file changes or ends what is being computed.

    Args:
        modules: On a CPU; names, and tensors that modules share, stay.
    """
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.layout is torch.strided and tensor.device.type == "cpu":
                tensor.data = tensor.detach().clone(memory_format=torch.preserve_format)


def check_finite(where: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Refuse weights that are infinite or no numbers: whatever follows from them would be read as an answer.

    Args:
        where: What the user named.
        tensors: Names and weights, in the precision in which they are used: another one may not hold them.

    Raises:
        UserError: With the name of the first such tensor.
    """
    for name, tensor in tensors:
        # A sum is no number as soon as one element is none; large elements may add up to infinity, and are looked at.
        if tensor.is_meta or not tensor.is_floating_point() or tensor.sum(dtype=torch.float32).isfinite():
            continue
        if not tensor.isfinite().all():
            raise UserError(
                f"{where}: its weights have values in {name} that are infinite or no numbers as "
                f"{str(tensor.dtype).removeprefix('torch.')}; what this precision cannot hold loads in float32 or "
                "bfloat16 (dtype), anything else means that the file is spoilt"
            )


def _fuse_activations(model: nn.Module) -> None:
    """Put one kernel in place of the eight that GPT-2's GELU is written in; it differs in the last bit."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, GELUTanh())


@contextmanager
def _silently() -> Iterator[None]:
    """Keep transformers from reporting what is missing or left over, which the callers judge themselves."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
