"""The rule of weights: every tensor of a file is used, unused by a rule that has a name, or refused.

Names are matched as transformers matches them when it loads (its renamings, and the prefix of the base model), from
headers alone.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
)

from latent_core.errors import UserError
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.gates import GATE
from latent_core.models.weight_files import Header, some

MASKS = "old masks"
ROTARY = "rotary buffers"
POSITIONS = "position numbers"
TIED = "tied copies"
REASONER_HEAD = "feedback head of the reasoner"
PLAIN_TYPES = frozenset({"F64", "F32", "F16", "BF16"})
"""Types, as safetensors spells them, whose numbers are the weights themselves; all others need a scale."""

# Old libraries saved what models compute by themselves. Shapes tell a mask from the bias of a projection.
_MASK = re.compile(r"(^|\.)(attn|attention)\.(attention\.)?(bias|causal_mask)$")
_MASK_VALUE = re.compile(r"(^|\.)(attn|attention)\.(attention\.)?masked_bias$")
_ROTARY = re.compile(r"(^|\.)rotary_(pos_)?emb\.(inv_freq|cos_cached|sin_cached)$")
_POSITIONS = re.compile(r"(^|\.)position_ids$")
_WRAPPER = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
_PARALLEL = "module."
_LOW_RANK = re.compile(r"(^|\.)lora_(A|B|embedding_A|embedding_B|magnitude_vector)(\.|$)")
_SCALE = re.compile(
    r"(^|[._])(scales?|weight_scale(_inv)?|qweight|qzeros|g_idx|absmax|quant_map|SCB|zeros?_points?)(\.|$)"
)
_GATE = re.compile(r"[^.]*(gate|stop)[^.]*\.")
_LAYER = re.compile(r"(?<=\.)(\d+)(?=\.)")


@dataclass(frozen=True)
class Assignment:
    """Where the tensors of a file go.

    Attributes:
        used: The model's name of every tensor that it takes, by the file's name.
        changed: Names in the file of those whose content transformers changes when it loads them.
        feedback: Names of the tensors of the feedback head.
        unused: Names of those that nothing needs, by the name of the rule that says so.
        tied: Copies in the file of a tensor that the model has once, with the name in the file of the original.
    """

    used: Mapping[str, str]
    changed: frozenset[str] = frozenset()
    feedback: tuple[str, ...] = ()
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)

    def describe_unused(self, files: Iterable[str] = ()) -> str:
        """Return in a few words what is not used, rule by rule, and which files are not read; empty if there is none.

        Args:
            files: Names of files beside the weights.
        """
        parts = [f"not used: {len(names)} {rule} ({some(names)})" for rule, names in self.unused.items()]
        return "; ".join([*parts, f"not read: {some(files)}"] if files else parts)


def assign(
    source: str,
    model: PreTrainedModel,
    headers: Mapping[str, Header],
    *,
    feedback: Iterable[str] = (),
    of_reasoner: tuple[str, ...] = (),
    feeds_back: str | None = None,
    owner: str = "config.json",
) -> Assignment:
    """Find a place for every tensor.

    Args:
        source: What the user named, for messages.
        model: The model without weights.
        headers: The tensors of the file.
        feedback: Names of tensors that the feedback head takes.
        of_reasoner: Beginnings of names that a LatentRM inherits from its reasoner, and does not use.
        feeds_back: Kind of the feedback head, for messages; None where there is none.
        owner: Where the configuration of the model is, for messages.

    Raises:
        UserError: If a tensor is missing, has another shape or a type that is no weight, or if nothing takes it.
    """
    expected = model.state_dict()
    taken = set(feedback)
    renamed = model_names(model, [name for name in headers if name not in taken])
    used: dict[str, str] = {}
    unused: dict[str, list[str]] = {}
    left: list[str] = []
    origins: dict[str, str] = {}
    for name, (target, converted) in renamed.items():
        header = headers[name]
        if target not in expected:
            rule = REASONER_HEAD if of_reasoner and name.startswith(of_reasoner) else _rule(name, header)
            if rule is None:
                left.append(name)
            else:
                unused.setdefault(rule, []).append(name)
            continue
        if not converted and target in origins:
            raise UserError(f"checkpoint {source}: {origins[target]} and {name} are both {target} of the model")
        origins[target] = name
        wanted = expected[target]
        if not converted and header.shape != tuple(wanted.shape):
            raise UserError(
                f"checkpoint {source}: its weights have {name} with shape {list(header.shape)}, but {owner} asks for "
                f"{list(wanted.shape)}{_padding_hint(model, target, header.shape)}"
            )
        if wanted.is_floating_point():
            _check_type(source, name, header)
        used[name] = target
    for name in taken:
        _check_type(source, name, headers[name])
    _check_joined(source, model, headers, used, owner)
    for found, what, cure in _strange_names(left):
        raise UserError(f"checkpoint {source}: its weights are {what} ({some(found)}); {cure}")
    tied = _tied_copies(model, origins)
    if tied:
        unused[TIED] = [*tied]
        used = {name: target for name, target in used.items() if name not in tied}
    _check_missing(source, model, set(origins), left, owner)
    if left:
        raise UserError(f"checkpoint {source}: {_nothing_takes(model, left, feeds_back, owner)}")
    return Assignment(
        used,
        frozenset(name for name, (_, changed) in renamed.items() if changed),
        tuple(sorted(taken)),
        {rule: tuple(sorted(names)) for rule, names in unused.items()},
        tied,
    )


def model_names(model: PreTrainedModel, names: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Return the model's name of every tensor of a file, and whether its content is changed on the way."""
    expected = model.state_dict()
    mapping = get_model_conversion_mapping(model)
    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    found: dict[str, tuple[str, bool]] = {}
    for name in sorted(names):
        target, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, expected)
        found[name] = target, pattern is not None
    return found


def unwrapped_name(name: str) -> str:
    """Return a name without what `torch.compile`, FSDP and checkpointed activations put into it."""
    return _WRAPPER.sub("", name).removeprefix(".")


def _strange_names(names: list[str]) -> Iterator[tuple[list[str], str, str]]:
    """Yield names that show that a file is not the plain weights of a model: which, what they are, and the cure."""
    convert = "`latentswarm convert` writes them under the model's own names"
    if wrapped := [name for name in names if _WRAPPER.search(name)]:
        yield wrapped, "named as by a wrapper of torch (compile, FSDP or checkpointed activations)", convert
    if names and all(name.startswith(_PARALLEL) for name in names):
        yield names, "named as by a wrapper for several devices (DataParallel or DDP)", convert
    if kept := [name for name in names if ".modules_to_save." in name or ".original_module." in name]:
        yield (
            kept,
            "named as by PEFT, with trained copies beside the modules that they replace (modules_to_save)",
            convert,
        )
    if low_rank := [name for name in names if _LOW_RANK.search(name)]:
        yield (
            low_rank,
            "kept apart from low-rank updates that are not merged",
            "merge them: merge_and_unload of PEFT, .eval() of loralib, or `latentswarm convert` for CODI's trainer",
        )
    if scales := [name for name in names if _SCALE.search(name)]:
        yield (
            scales,
            "quantized",
            "dequantize them with the library that did it, and save them as bfloat16",
        )


def _rule(name: str, header: Header) -> str | None:
    """Return the rule by which a tensor that the model does not have is unused, or None."""
    shape = header.shape
    if _MASK.search(name) and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]:
        return MASKS
    if _MASK_VALUE.search(name) and shape in ((), (1,)):
        return MASKS
    if _ROTARY.search(name):
        return ROTARY
    return POSITIONS if _POSITIONS.search(name) and header.dtype in ("I64", "I32") else None


def _check_type(source: str, name: str, header: Header) -> None:
    if header.dtype not in PLAIN_TYPES:
        raise UserError(
            f"checkpoint {source}: its weights have {name} stored as {header.dtype}, which stands for numbers only "
            "with a scale that no plain model has; dequantize them, and save them as bfloat16"
        )


def _check_joined(
    source: str, model: PreTrainedModel, headers: Mapping[str, Header], used: Mapping[str, str], owner: str
) -> None:
    """Count the numbers of tensors that transformers joins, such as experts: by name alone some may be missing."""
    converters = [one for one in get_model_conversion_mapping(model) if isinstance(one, WeightConverter)]
    joining = [
        one for one in converters if all(isinstance(each, Concatenate | MergeModulelist) for each in one.operations)
    ]
    ends = tuple(end for one in joining for end in one.target_patterns)
    parts: dict[str, list[str]] = {}
    for name, target in used.items():
        if target.endswith(ends):
            parts.setdefault(target, []).append(name)
    expected = model.state_dict()
    for target, names in parts.items():
        wanted, found = expected[target].numel(), sum(math.prod(headers[name].shape) for name in names)
        if found != wanted:
            raise UserError(
                f"checkpoint {source}: {len(names)} tensors of its weights ({some(names)}) are joined to {target}, but "
                f"have {found:,} numbers together, where {owner} asks for {wanted:,} ({list(expected[target].shape)})"
            )


def _tied_copies(model: PreTrainedModel, origins: Mapping[str, str]) -> dict[str, str]:
    """Return the names in the file of copies, with that of the original; both by the file's names."""
    ties: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    copies: dict[str, str] = {}
    first: dict[str, str] = {}
    for target in dict.fromkeys([*ties.values(), *ties]):
        root = ties.get(target, target)
        if target in origins:
            if root in first:
                copies[origins[target]] = first[root]
            else:
                first[root] = origins[target]
    return copies


def _check_missing(source: str, model: PreTrainedModel, found: set[str], left: list[str], owner: str) -> None:
    ties: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    # A tied tensor is there if it is there under any of its names.
    present = found | {ties[name] for name in found if name in ties}
    present |= {name for name, origin in ties.items() if origin in present}
    # Not what the library allows to be missing: it fills that with random numbers.
    missing = [name for name in model.state_dict() if name not in present]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        instead = f", and have {some(left)} instead, which nothing takes" if left else ""
        raise UserError(f"checkpoint {source}: its weights lack {missing[0]}{more}, which {owner} asks for{instead}")


def _nothing_takes(model: PreTrainedModel, left: list[str], feeds_back: str | None, owner: str) -> str:
    what = f"nothing in a {model.config.model_type} model is called {some(left)}"
    for kind in FEEDBACKS if feeds_back is not None else ():
        prefixes = FEEDBACKS[kind].prefixes()
        if prefixes and any(name.startswith(prefixes) for name in left):
            if kind == feeds_back:
                return f"{what}; its {kind} feedback has no such layer"
            cure = '"projector": true in config.json of a CODI checkpoint, or ' if kind == "projector" else ""
            return (
                f"{what}: they belong to a {kind} feedback, but it is said to feed back by {feeds_back}; say "
                f'{cure}"feedback": "{kind}" in latent.json'
            )
    if feeds_back is not None and any(_GATE.match(name) for name in left):
        return (
            f"{what}: a head that decides when to stop is called {GATE} here (weight of 1 or 2 rows, bias), and has "
            '"latent_length": "gated" and a "gate" in latent.json; rename its tensors if that is what they are'
        )
    depth, deepest = getattr(model.config, "num_hidden_layers", None), _deepest(model, left)
    if isinstance(depth, int) and deepest >= depth:
        return f"{what}: {owner} says {depth} layers, but the file has {deepest + 1}; they are of different models"
    return f"{what}: {owner} is that of another model, or lacks a setting; a model without them is not the one trained"


def _deepest(model: PreTrainedModel, names: list[str]) -> int:
    """Return the greatest number of a block that only the file has, -1 where it has none."""
    expected, prefix = model.state_dict(), f"{model.base_model_prefix}."
    return max(
        (
            int(found[0])
            for name in names
            for found in _LAYER.finditer(name)
            if not {first := f"{name[: found.start()]}0{name[found.end() :]}", prefix + first}.isdisjoint(expected)
        ),
        default=-1,
    )


def _padding_hint(model: PreTrainedModel, target: str, shape: tuple[int, ...]) -> str:
    rows = getattr(model.config, "vocab_size", None)
    if not isinstance(rows, int) or not shape or not is_padded(shape[0], rows):
        return ""
    if model.state_dict()[target].shape[0] != rows:
        return ""
    return f"; {shape[0]} is that vocabulary padded to a multiple of 64: say vocab_size {shape[0]} there"


def is_padded(rows: int, vocabulary: int) -> bool:
    """Whether a number of rows is a vocabulary's, padded to the next multiple of 64 or 128 as trainers do for speed."""
    return any(rows % multiple == 0 and 0 < rows - vocabulary < multiple for multiple in (64, 128))
