"""A causal language model as transformers saves it, or a latent reasoner whose weights only have to become safe."""

from latent_core.conversion.base import Draft, Layout, Options, Source, register_layout
from latent_core.conversion.description import changed_format, described_config, family_format, opened_prompt
from latent_core.conversion.fitting import fit
from latent_core.conversion.foundation import Foundation, embedding_names, padded_rows, padding_note
from latent_core.conversion.vocabulary import add_missing, grown
from latent_core.models.checkpoint import read_format
from latent_core.models.formats import FORMATS, LatentFormat

_EMBEDDINGS = ("wte.weight", "embed_tokens.weight")


def _recognises(source: Source) -> bool:
    return source.has_config or any(name.endswith(_EMBEDDINGS) for name in source.tensors)


def _draft(source: Source, options: Options) -> Draft:
    foundation = Foundation.of(source, options)
    checkpoint_format, architecture = _conventions(source, options, foundation)
    rows = padded_rows(foundation.blank(), source.tensors, foundation.vocab_size)
    model = foundation.blank(rows)
    fitted = fit(
        source.name,
        foundation.name,
        model,
        source.tensors,
        checkpoint_format.feedback,
        checkpoint_format.gate,
    )
    tokenizer, tensors, notes = foundation.tokenizer, fitted.tensors, [*fitted.notes]
    known = len(tokenizer)
    added = add_missing(tokenizer, checkpoint_format.special_tokens)
    raw = dict(foundation.raw)
    if rows is not None:
        raw["vocab_size"] = rows
        notes.append(padding_note(rows, foundation.vocab_size))
    if added:
        names = embedding_names(model)
        tensors = grown(tensors, names, [tokenizer.get_vocab()[token] for token in added], known)
        raw["vocab_size"] = tensors[names[0]].shape[0]
        notes.append(
            f"added {', '.join(added)} to the tokenizer; their embeddings are the mean of all others, and nothing has "
            "taught this model to think in latents: train it before you expect answers"
        )
    config, described = described_config(raw, checkpoint_format, architecture, tokenizer)
    return Draft(config, tokenizer, tensors, described, tuple(notes))


def _conventions(source: Source, options: Options, foundation: Foundation) -> tuple[LatentFormat, str | None]:
    """Return the conventions, and the released architecture that the configuration names, if it does."""
    named = [str(name) for name in foundation.raw.get("architectures") or []]
    architecture = next((name for name in named if name in FORMATS), None)
    own = read_format(foundation.name, foundation.directory)
    if own is None and architecture is not None:
        own = FORMATS[architecture](foundation.raw)
    if own is not None and options.family is None:
        return changed_format(own, options.changes), architecture
    has_projector = any(name.startswith("projector.") for name in source.tensors)
    start = family_format(options.family or "generic", has_projector, foundation.raw)
    # Published prompts of the others say all that is in them.
    if options.family in (None, "generic", "coconut", "codi") and "prompt" not in options.changes:
        start = opened_prompt(start, foundation.tokenizer)
    return changed_format(start, options.changes), architecture


register_layout(Layout("plain", "a causal language model of transformers", _recognises, _draft, turn=2))
