"""Does an architecture compute the same with a shared prompt as without? Asked of a small twin with random weights."""

import copy

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache

from latent_core.engine.attention import SHARED_PREFIX_ATTENTION
from latent_core.engine.prefix import SharedPrefix
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint

_VERIFIED = frozenset({"gpt2", "llama"})
"""Model types whose parity with released models is tested."""
_LAYERS, _VOCABULARY, _PROMPT, _TAIL = 2, 16, 6, 3
_TOLERANCE = 1e-3
_LENGTH_DEPENDENT = ("dynamic", "longrope")


def check_shared_prefix(checkpoint: Checkpoint) -> None:
    """Refuse an architecture whose forward pass with a shared prompt is not its ordinary forward pass.

    Attention over windows, with sinks or capped scores, and state that is no attention at all would be computed
    wrongly; so would positions that depend on how long the longest row of a batch is.

    Raises:
        UserError: If it differs, or cannot be run.
    """
    config, source = checkpoint.config, checkpoint.source
    _check_config(source, config)
    if config.model_type in _VERIFIED:
        return
    twin = _twin_config(config)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        try:
            plain: PreTrainedModel = AutoModelForCausalLM.from_config(twin, attn_implementation="eager").eval()
            shared: PreTrainedModel = AutoModelForCausalLM.from_config(
                copy.deepcopy(twin), attn_implementation=SHARED_PREFIX_ATTENTION
            ).eval()
            shared.load_state_dict(plain.state_dict())
            difference = _difference(plain, shared)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, IndexError, AssertionError) as error:
            raise UserError(
                f"checkpoint {source}: model_type {config.model_type!r} cannot be run with a prompt that samples "
                f"share ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            ) from error
    if not difference < _TOLERANCE:
        raise UserError(
            f"checkpoint {source}: model_type {config.model_type!r} computes something else where samples share a "
            f"prompt (hidden states differ by {difference:.1e}); its attention is not the plain causal one"
        )


def _check_config(source: str, config: PreTrainedConfig) -> None:
    other = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    window = getattr(config, "sliding_window", None)
    if not other and window and getattr(config, "use_sliding_window", True):
        other = [f"a sliding window of {window}"] if window < config.max_position_embeddings else []
    if other:
        raise UserError(
            f"checkpoint {source}: config.json asks for {', '.join(other)}, but only full causal attention can share a "
            "prompt"
        )
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type") if isinstance(rope, dict) else None
    if kind in _LENGTH_DEPENDENT:
        raise UserError(
            f"checkpoint {source}: rope type {kind!r} makes positions depend on the longest row of a batch, and with "
            "it every sample on its neighbours"
        )


def _twin_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the configuration with few layers and words, all widths as they are."""
    twin = copy.deepcopy(config)
    twin.num_hidden_layers = min(_LAYERS, int(config.num_hidden_layers))
    twin.vocab_size = _VOCABULARY
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(twin, name, 0)
    if getattr(twin, "layer_types", None):
        twin.layer_types = list(twin.layer_types)[: twin.num_hidden_layers]
    return twin


def _difference(plain: PreTrainedModel, shared: PreTrainedModel) -> float:
    """Return how far the hidden states of two rows behind one prompt are apart, relative to their size."""
    prompt = torch.arange(_PROMPT) % _VOCABULARY
    tails = torch.arange(2 * _TAIL).reshape(2, _TAIL) % _VOCABULARY
    whole = plain.get_input_embeddings()(torch.cat([prompt.expand(2, -1), tails], dim=1))
    expected: Tensor = plain.base_model(inputs_embeds=whole).last_hidden_state[:, -_TAIL:]
    cache = DynamicCache()
    embed = shared.get_input_embeddings()
    positions = torch.arange(_PROMPT)[None]
    shared.base_model(inputs_embeds=embed(prompt[None]), position_ids=positions, past_key_values=cache, use_cache=True)
    prefix = SharedPrefix.from_cache(cache, torch.tensor([_PROMPT])).regroup(2)
    tail, found = DynamicCache(), []
    for step in range(_TAIL):
        output = shared.base_model(
            inputs_embeds=embed(tails[:, step : step + 1]),
            position_ids=torch.full((2, 1), _PROMPT + step),
            past_key_values=tail,
            use_cache=True,
            prefix=prefix,
        )
        found.append(output.last_hidden_state)
    gap = (torch.cat(found, dim=1) - expected).abs().max() / expected.abs().max()
    return float(gap)
