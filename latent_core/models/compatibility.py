"""Compatibility of an architecture: a random-weight replica has to compute the same with a shared prompt as without."""

import copy

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache

from latent_core.attention.prefix import SharedPrefix
from latent_core.attention.shared_prefix import SHARED_PREFIX_ATTENTION
from latent_core.errors import UserError
from latent_core.models.output_head import OutputHead

_VERIFIED = frozenset({"gpt2", "llama"})
"""Model types whose parity with released models is tested."""
_LAYERS, _VOCABULARY, _PROMPT, _SUFFIX = 2, 16, 6, 3
_TOLERANCE = 1e-4
_GAIN = 4.0
"""Size of a layer's outputs in those of its inputs: enough for scores that caps change."""
_REASONS = (
    "computes something else where samples share a prompt (hidden states differ by {:.1e}); its attention is not the "
    "plain causal one",
    "computes something else from embeddings than from ids (hidden states differ by {:.1e}); latents cannot be fed to "
    "it as inputs",
    "has logits that are not those of its output head (they differ by {:.1e})",
)
_CAPS = ("attn_logit_softcapping", "attn_logit_softcap", "attention_logit_cap")
_PASSED: set[str] = set()
"""Configurations that were let through: whoever plans and loads in one process asks twice."""
_LENGTH_DEPENDENT = ("dynamic", "longrope")


def check_shared_prefix(source: str, config: PreTrainedConfig) -> None:
    """Refuse an architecture whose forward pass with a shared prompt is not its ordinary forward pass.

    Attention over windows, with sinks or capped scores, and state that is no attention at all would be computed
    wrongly; so would positions that depend on how long the longest row of a batch is, inputs that are more than the
    embeddings of ids, and logits that nobody knows how to get from hidden states.

    Raises:
        UserError: If it differs, or cannot be run.
    """
    _check_config(source, config)
    described = config.to_json_string(use_diff=False)
    if config.model_type in _VERIFIED or described in _PASSED:
        return
    replica = _replica_config(config)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        try:
            plain: PreTrainedModel = AutoModelForCausalLM.from_config(replica, attn_implementation="eager").eval()
            _strengthen(plain)
            shared: PreTrainedModel = AutoModelForCausalLM.from_config(
                copy.deepcopy(replica), attn_implementation=SHARED_PREFIX_ATTENTION
            ).eval()
            shared.load_state_dict(plain.state_dict())
            differences = _differences(plain, shared)
        except (
            ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
        ) as error:  # fmt: skip
            raise UserError(
                f"checkpoint {source}: model_type {config.model_type!r} cannot be run with a prompt that samples "
                f"share ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            ) from error
    for difference, why in zip(differences, _REASONS, strict=True):
        if not difference < _TOLERANCE:
            raise UserError(f"checkpoint {source}: model_type {config.model_type!r} {why.format(difference)}")
    if not isinstance(getattr(config, "max_position_embeddings", None), int):
        raise UserError(
            f"checkpoint {source}: config.json of model_type {config.model_type!r} has no max_position_embeddings, so "
            "that nobody knows how long a prompt may be"
        )
    _PASSED.add(described)


def _check_config(source: str, config: PreTrainedConfig) -> None:
    other = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    window = getattr(config, "sliding_window", None)
    if not other and window and getattr(config, "use_sliding_window", True):
        longest = getattr(config, "max_position_embeddings", None) or float("inf")
        other = [f"a sliding window of {window}"] if window < longest else []
    if other:
        raise UserError(
            f"checkpoint {source}: config.json asks for {', '.join(other)}, but only full causal attention can share a "
            "prompt"
        )
    cap = next((name for name in _CAPS if getattr(config, name, None)), None)
    if cap is not None:
        raise UserError(
            f"checkpoint {source}: config.json caps the scores of attention ({cap} {getattr(config, cap)}), which the "
            "attention with a shared prompt does not"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type") if isinstance(rope, dict) else None
    if kind in _LENGTH_DEPENDENT:
        raise UserError(
            f"checkpoint {source}: rope type {kind!r} makes positions depend on the longest row of a batch, and with "
            "it every sample on its neighbours"
        )


def _replica_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the configuration with few layers and words, all widths as they are."""
    replica = copy.deepcopy(config)
    replica.num_hidden_layers = min(_LAYERS, int(config.num_hidden_layers))
    replica.vocab_size = _VOCABULARY
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(replica, name, 0)
    if getattr(replica, "layer_types", None):
        replica.layer_types = list(replica.layer_types)[: replica.num_hidden_layers]
    return replica


def _strengthen(model: PreTrainedModel) -> None:
    """Give a model weights with which every part of it counts.

    As they are initialised, scores are so small that a cap of 50 does not show, and biases are nothing.
    """
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.mean()), std=0.1)
        else:
            torch.nn.init.normal_(parameter, std=_GAIN * parameter.shape[-1] ** -0.5)


def _differences(plain: PreTrainedModel, shared: PreTrainedModel) -> tuple[float, float, float]:
    """Return how far apart numbers are that have to be the same, relative to their size.

    Returns:
        Hidden states of two rows behind one prompt, from embeddings: shared prompt against ordinary pass; hidden
        states from embeddings against those from ids; and logits against the model's own.
    """
    # Without id 0, which pads.
    prompt = 1 + torch.arange(_PROMPT) % (_VOCABULARY - 1)
    suffixes = 1 + torch.arange(2 * _SUFFIX).reshape(2, _SUFFIX) % (_VOCABULARY - 1)
    ids = torch.cat([prompt.expand(2, -1), suffixes], dim=1)
    whole: Tensor = plain.base_model(inputs_embeds=plain.get_input_embeddings()(ids)).last_hidden_state
    expected = whole[:, -_SUFFIX:]
    cache = DynamicCache()
    embed = shared.get_input_embeddings()
    positions = torch.arange(_PROMPT)[None]
    shared.base_model(inputs_embeds=embed(prompt[None]), position_ids=positions, past_key_values=cache, use_cache=True)
    prefix = SharedPrefix.from_cache(cache, torch.tensor([_PROMPT])).regroup(2)
    suffix, found = DynamicCache(), []
    for step in range(_SUFFIX):
        output = shared.base_model(
            inputs_embeds=embed(suffixes[:, step : step + 1]),
            position_ids=torch.full((2, 1), _PROMPT + step),
            past_key_values=suffix,
            use_cache=True,
            prefix=prefix,
        )
        found.append(output.last_hidden_state)
    from_ids, logits = plain.base_model(input_ids=ids).last_hidden_state, plain(input_ids=ids).logits
    return (
        _gap(torch.cat(found, dim=1), expected),
        _gap(whole, from_ids),
        _gap(OutputHead(plain).logits(from_ids), logits),
    )


def _gap(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())
