"""The weights of a checkpoint: checked by their headers, and loaded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.utils import logging

from latent_core.engine.attention import SHARED_PREFIX_ATTENTION
from latent_core.errors import UserError
from latent_core.models.feedback import FEEDBACKS, Feedback
from latent_core.models.files import load_part
from latent_core.models.shared_prefix_check import check_shared_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def tensor_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of all tensors from the headers of the weight files."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - the file is not a mapping
                shapes[name] = tuple(file.get_slice(name).get_shape())
    return shapes


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


def load_feedback(
    kind: str, directory: Path, config: "PreTrainedConfig", device: torch.device | str, dtype: torch.dtype
) -> Feedback:
    """Load a feedback head whose tensors have been checked."""
    cls = FEEDBACKS[kind]
    tensors: dict[str, Tensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - the file is not a mapping
                if name.startswith(cls.prefixes()):
                    tensors[name] = file.get_tensor(name)
    feedback = cls.from_tensors(tensors, float(getattr(config, "latent_embedding_std", None) or 1.0))
    return feedback.to(device=device, dtype=dtype).eval().requires_grad_(False)


def load_model(auto: Any, source: str, directory: Path, **extra: Any) -> tuple["PreTrainedModel", list[str]]:
    """Load a model with the shared-prefix attention.

    Args:
        auto: The auto class of transformers that says which head it has.
        source: What the user named.
        directory: Where its files are.
        **extra: What else the loading function takes.

    Returns:
        The model, and the sorted names of tensors that its files lack.

    Raises:
        UserError: If the architecture cannot share prompts, or the weights cannot be loaded.
    """
    read_config = partial(AutoConfig.from_pretrained, trust_remote_code=False)
    check_shared_prefix(source, load_part(source, "config.json", read_config, directory))
    try:
        with _silently():
            loaded: Any = auto.from_pretrained(
                directory,
                attn_implementation=SHARED_PREFIX_ATTENTION,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **extra,
            )
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"checkpoint {source}: its weights cannot be loaded: {reason}") from error
    for name, found, wanted in sorted(loaded[1]["mismatched_keys"]):
        raise UserError(
            f"checkpoint {source}: its weights have {name} with shape {list(found)}, but its configuration asks for "
            f"{list(wanted)}"
        )
    _fuse_activations(loaded[0])
    return loaded[0], sorted(loaded[1]["missing_keys"])


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
