"""Put tensors under the names that a model has for them, and leave nothing over."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, apply_renamings

from latent_core.conversion.base import some
from latent_core.errors import UserError
from latent_core.models.backbones import find_backbone

# Masks and frequencies that older libraries saved with the weights; models compute them by themselves.
_BUFFERS = re.compile(r"(^|\.)(attn\.(bias|masked_bias)|rotary_emb\.inv_freq)$")


def fit(
    name: str, owner: str, model: PreTrainedModel, tensors: Mapping[str, Tensor], others: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return the tensors by the model's names, tied ones once.

    Args:
        name: The source, for messages.
        owner: Whose configuration the model was made from.
        model: The model without weights.
        tensors: What there is; names may lack the prefix of the base model.
        others: How the names of tensors begin that belong to something else; they are kept as they are.

    Raises:
        UserError: If a tensor is missing, has another shape, or is left over; or if the model has no list of blocks.
    """
    find_backbone(name, model.base_model)
    left = {key: tensor for key, tensor in tensors.items() if not _BUFFERS.search(key)}
    fitted = {key: left.pop(key) for key in sorted(left) if others and key.startswith(others)}
    # Some architectures have other names in files than in memory; the library knows which, and reads either.
    renamings = [one for one in get_model_conversion_mapping(model) if isinstance(one, WeightRenaming)]
    left = {apply_renamings(key, renamings): tensor for key, tensor in left.items()}
    missing = []
    prefix = f"{model.base_model_prefix}."
    for key, wanted in model.state_dict().items():
        found = left.pop(key, None)
        if found is None:
            found = left.pop(key.removeprefix(prefix), None)
        if found is None:
            missing.append(key)
        elif found.shape != wanted.shape:
            raise UserError(
                f"checkpoint {name}: {key} has shape {list(found.shape)}, but config.json of {owner} asks for "
                f"{list(wanted.shape)}; they belong to different models"
            )
        else:
            fitted[key] = found
    _merge_tied(name, model, fitted)
    tied = model.all_tied_weights_keys
    missing = [key for key in missing if key not in tied and key not in fitted]
    if missing:
        raise UserError(f"checkpoint {name}: its weights lack {some(missing)}, which config.json of {owner} asks for")
    if left:
        raise UserError(f"checkpoint {name}: nothing in a {model.config.model_type} model is called {some(left)}")
    return fitted


def _merge_tied(name: str, model: PreTrainedModel, fitted: dict[str, Tensor]) -> None:
    for alias, origin in model.all_tied_weights_keys.items():
        if alias not in fitted:
            continue
        tensor = fitted.pop(alias)
        if not torch.equal(fitted.setdefault(origin, tensor), tensor):
            raise UserError(
                f"checkpoint {name}: {alias} and {origin} differ, but config.json says that they are the same "
                "(tie_word_embeddings)"
            )
