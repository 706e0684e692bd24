"""What every shipped kind does with fixed inputs, and which modules it is made of.

A kind that is added to what is shipped is added here, with what it is to be asked.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from latent_core.answers.extractors import EXTRACTORS
from latent_core.answers.grading import GRADER_FAMILIES, GRADERS, find_grader
from latent_core.code_identity import defining_modules, module_digests
from latent_core.mixtures import Candidates, MixtureSettings
from latent_core.models.backbones import BACKBONES, Backbone
from latent_core.models.feedback import FEEDBACKS, Feedback
from latent_core.models.feedback.base import Moment
from latent_core.models.formats import FAMILIES, FORMATS, LatentFormat
from latent_core.models.formats.base import GENERIC_VERSION
from latent_core.randomness import Streams
from latent_core.registry import Registry
from latent_core.samplers import SAMPLERS, parse_sampler
from latent_core.samplers.base import Phase, Projection, Sampler, SingularFactors, Site
from latent_core.tasks.columns import read_problems
from latent_core.tasks.hub_tasks import HubTask
from latent_core.tasks.loading import TASKS

_READING = ("latent_core.answers", "latent_core.tasks")
_DIGITS = 6
PHASES = [Phase.PROMPT.value, Phase.LATENT.value, Phase.ANSWER.value]
SETTINGS: Mapping[str, Sequence[dict[str, Any]]] = {
    "answer_sampling": [{}, {"temperature": 0.7, "top_p": 0.6}],
    "dirichlet": [{}, {"alpha": 20.0}],
    "gaussian": [{"sigma": 0.4}, {"sigma": 0.4, "relative": True}, {"sigma": 0.0}],
    "gumbel": [{}, {"scale": 0.5, "temperature": 0.5}, {"one_sided": True, "answer_temperature": 0.6}],
    "mc_dropout": [
        {"p": 0.2},
        {"p": 0.2, "sites": [site.value for site in Site], "scope": PHASES},
        {"p": 0.2, "sites": [site.value for site in Site], "mask": "trajectory"},
    ],
    "multiplex": [{}, {"draws": 2, "weights": "equal"}],
    "none": [{}],
    "policy": [{}, {"temperature": 0.5, "stop": "argmax"}],
    "singular_value": [
        {"alpha": 0.3},
        {"alpha": 0.3, "projection": "feed_forward_output", "scope": PHASES},
    ],
}
"""Settings in which samplers are looked at."""

ADDED: Mapping[str, Sequence[dict[str, Any]]] = {
    "mc_dropout": [
        {"p": 0.2, "sites": [site.value for site in Site], "scope": ["boundary", "latent"]},
        {"p": 0.2, "scope": ["boundary"], "mask": "trajectory"},
    ],
    "singular_value": [{"alpha": 0.3, "scope": ["boundary", "latent"]}],
}
"""Settings that samplers have learnt later: recorded apart, since what was recorded before is still so."""
MIXTURES = (
    MixtureSettings(width=4),
    MixtureSettings(temperature=0.6, top_k=6, top_p=0.9, min_p=0.01, width=4),
    MixtureSettings(top_p=0.9, at_least=3, width=3, noise_before_width=True, noise_range=(-1.5, 3.0)),
)
"""How next-token distributions are merged."""

TEXTS = (
    *("### 12", "12", "The answer is 3 and then 4.", "#", "", " ", "none", "Answer: 7 ###", "Answer: ab bd dh hm"),
    *("# 1 # 2", "1,234", "$1,234.50", "25%", "-5", "\u22125", "\u20135", "1/2", "2/6", "3 1/2", "1e3", "1e999", ".5"),
    *("x2", "5\u00b2", "5 or 6", "1.2.3", "--5", "3 + 4 = 7", "2,5", "7{,}250", "\\frac 35", "\\boxed{3}", "(3,5)"),
    *("\\sqrt{35}", "35\\pi", "Yes.", "YES", "  Jack is a  bompus. ", "answer: B", "12 apples", "3i", "0.333", "0.33"),
    *("ab bd dh hm", "AB BD DH HM", "ab bd", "###ab bd dh hm", "1 000", "negative 5", "The answer is: 9", "B", "(C)"),
)
"""What extractors and graders read."""

REFERENCES: Mapping[str, Sequence[tuple[str, str]]] = {
    "numeric": [("?", "12"), ("?", "0.3333"), ("?", "-5"), ("?", "1234"), ("?", "0.0005"), ("?", "1e3")],
    "text": [("?", "yes"), ("?", "Jack is a bompus."), ("?", "B")],
    "math": [("?", "3/5"), ("?", r"\sqrt{35}"), ("?", "(3,5)"), ("?", "1234.5"), ("?", "x+1")],
    "yes_no": [("?", "True"), ("?", "no")],
    "choice": [("Which? (A) 12 (B) yes (C) Jack is a bompus.", "B"), ("Which?", "C")],
    "path_finding": [("ab bd dh hm ac cm from a to m ?", "ab bd dh hm"), ("ab ba ac cm from a to m ?", "ab ba ac cm")],
}
"""Questions and reference answers that graders judge by."""

CONFIGS: Sequence[dict[str, Any]] = ({}, {"projector": True}, {"projector": False}, {"latent_end_id": 7})
FAMILY_NAMES = ("colar_policy", "latent_grpo", "latent_sft", "multiplex", "soft_thinking")
FAMILY_CONFIGS: Sequence[dict[str, Any]] = (
    {"model_type": "llama", "hidden_size": 2048},
    {"model_type": "qwen2", "hidden_size": 3584},
)
QUESTION = "Ann has 3 pens. How many?"
GENERIC = {"prompt": "Q: {question} A:"}
ROWS = (
    {"question": "How many?", "answer": "2 + 1 #### 3", "input": "So many.", "target": -7.0, "final_ans": "5"},
    {"question": "And now?", "answer": "#### 1,000", "input": "One.", "target": 1e6, "final_ans": "6"},
)
OWN_ROWS: Mapping[str, dict[str, Any]] = {
    "svamp": {"Body": "Ann has 3 pens.", "Question": "How many?", "Answer": 3.0},
    "asdiv_a": {"question": "How many?", "result": "1/2", "result_float": 0.5},
    "mawps": {"question": "How many?", "result": "1/2", "result_float": 0.5},
    "gsm_plus": {"question": "How many?", "answer": None},
    "math500": {"problem": "How much?", "answer": r"\frac 34"},
    "aime24": {"problem": "How many?", "answer": "073"},
    "aime25": {"problem": "How many?", "answer": "70"},
    "amc": {"problem": "How many?", "answer": 142.0},
    "prontoqa": {"context": "Max.", "question": "Is it true?", "options": ["A) True", "B) False"], "answer": "B"},
    "strategyqa": {"question": "Do fish breathe?", "answer": False},
    "commonsense_qa": {
        "question": "Where is a pen?",
        "choices": {"label": ["A", "B"], "text": ["desk", "river"]},
        "answerKey": "A",
    },
}
"""Rows of tasks whose columns are none of `ROWS`."""
HUB_TASKS = ("gsm8k", "gsm_hard", "multiarith", "amc23", *OWN_ROWS)


def behaviours() -> dict[str, tuple[int, Any]]:
    """Version and behaviour of every shipped kind, by registry and name."""
    found: dict[str, tuple[int, Any]] = {}
    for kind, settings in SETTINGS.items():
        found[f"sampler {kind}"] = (SAMPLERS[kind].version, [sampler({"kind": kind, **one}) for one in settings])
    for kind, settings in ADDED.items():
        added = [sampler({"kind": kind, **one}, (*PHASES, "boundary")) for one in settings]
        found[f"{ADDED_TO}sampler {kind}"] = (SAMPLERS[kind].version, added)
    for name, make in _TENSORS.items():
        found[f"feedback {name}"] = FEEDBACKS[name].version, feedback(name, make)
    for name in ("COCONUTGPT2", "COCONUTLlama", "CODIGPT2", "CODILlama", "ColarLlama"):
        found[f"checkpoint architecture {name}"] = FORMATS.version(name), [fmt(FORMATS[name](one)) for one in CONFIGS]
    for name in FAMILY_NAMES:
        found[f"family {name}"] = FAMILIES.version(name), [fmt(FAMILIES[name](one)) for one in FAMILY_CONFIGS]
    found["latent.json"] = GENERIC_VERSION, fmt(LatentFormat.model_validate(GENERIC))
    for name in ("gpt2", "llama"):
        found[f"backbone {name}"] = BACKBONES.version(name), backbone(BACKBONES[name])
    for name in _EXTRACTORS:
        found[f"extractor {name}"] = EXTRACTORS[name].version, [EXTRACTORS[name](text) for text in TEXTS]
    for name in REFERENCES:
        found[f"grader {name}"] = find_grader(name).version, grader(name)
    # What a task asks is in its fingerprint, which is in the key: it needs no version. 1 stands for that.
    for name in ("path_finding", "word_problems"):
        found[f"task {name}"] = 1, {split: TASKS[name](split, count=8).fingerprint for split in ("train", "test")}
    for name in HUB_TASKS:
        found[f"task {name}"] = 1, hub_task(name)
    return found


ADDED_TO = "added to "
_EXTRACTORS = ("after_last_hash", "last_number", "after_answer_marker", "after_the_answer_is", "boxed", "text")


def sampler(config: Mapping[str, Any], phases: Sequence[str] = PHASES) -> dict[str, Any]:
    """What a sampler says of itself, and what it does at every place the engine asks it."""
    one = parse_sampler(config)
    opened = Streams.for_questions(5, ["question-1", "question-2"])
    streams = Streams(opened.key, torch.tensor([0, 3]), torch.tensor([0, 1]))
    done: dict[str, Any] = {
        "setting": one.to_config(),
        "flags": [one.deterministic, one.is_greedy, one.perturbs_prompt, one.perturbs_forward],
        "sites": sorted(one.module_sites),
        "projections": {phase: sorted(one.projections(Phase(phase))) for phase in phases},
        "latent": [numbers(one.perturb_latent(fixed(2, 6), streams, step)) for step in (1, 2)],
        **_thoughts(one, streams),
        "tokens": [one.choose_token(3 * fixed(2, 9), streams, step).tolist() for step in (7, 8, 9, 10)],
    }
    passes = ((Phase.PROMPT, 0), (Phase.BOUNDARY, 0), (Phase.LATENT, 2), (Phase.ANSWER, 8))
    inside = {phase.value: list(_inside(one, phase, step, streams)) for phase, step in passes if phase in phases}
    return {**done, "inside": inside}


def _thoughts(one: Sampler, streams: Streams) -> dict[str, Any]:
    """What it draws from heads that are made to be drawn from; nothing to be said of one that draws from none."""
    if not one.feedbacks:
        return {}
    candidates = [Candidates.of(4 * fixed(2, 12), settings) for settings in MIXTURES]
    merged = [one.merge(each, streams, step) for each in candidates for step in (1, 2)]
    return {
        "mixtures": [[each.ids.tolist(), numbers(each.weights)] for each in merged],
        "drawn": numbers(one.draw_latent(fixed(2, 6), fixed(2, 6).abs(), streams, 2)),
        "stop": [one.draws_stop, *(one.draw_stop(fixed(2).abs(), streams, step).tolist() for step in range(1, 9))],
    }


def _inside(one: Sampler, phase: Phase, step: int, streams: Streams) -> Iterator[Any]:
    """What it does inside a forward pass of three positions in the prompt, and of one behind it."""
    acting = one.perturbation(phase, streams, step)
    if acting is None:
        return
    positions = 3 if phase is Phase.PROMPT else 1
    last = torch.arange(3).expand(2, 3)
    for site in sorted(acting.sites - {Site.ATTENTION_WEIGHTS}):
        yield site.value, numbers(acting.on_output(site, 1, fixed(2, positions, 4)))
    if Site.ATTENTION_WEIGHTS in acting.sites:
        weights = acting.on_attention_weights(1, fixed(2, 2, positions, 3), last[:, -positions:], last)
        yield Site.ATTENTION_WEIGHTS.value, numbers(weights)
    for projection in sorted(acting.projections):
        factors = SingularFactors(fixed(4, 3), fixed(3).abs(), fixed(3, 5))
        changed = acting.on_projection(
            Projection(projection), 1, fixed(2, positions, 4), fixed(2, positions, 5), factors
        )
        yield projection.value, numbers(changed)


def feedback(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Any]:
    """Which tensors a feedback head asks for, and what it makes of a hidden state."""
    cls, tensors = FEEDBACKS[name], make()
    wanted = cls.wanted(4, {key: tuple(value.shape) for key, value in tensors.items()})
    said = {"prefixes": cls.prefixes(), "wanted": {key: list(shape) for key, shape in sorted(wanted.items())}}
    if cls.reads_logits:
        return {**said, "next": [_thought(cls.from_tensors(tensors, 0.5).configured(one)) for one in MIXTURES]}
    return {**said, "next": numbers(cls.from_tensors(tensors, 0.5)(fixed(2, 4)))}


def _thought(head: Feedback) -> list[Any]:
    """What a head makes of logits."""
    streams = Streams.for_questions(5, ["question-1", "question-2"])
    calm = torch.zeros(2, dtype=torch.int64)
    logits, table = 4 * fixed(2, 12), fixed(12, 4)
    asked = Moment(
        fixed(2, 4), lambda: logits, lambda ids: table[ids], parse_sampler({"kind": "none"}), streams, 1, 3, calm
    )
    thought = head.think(asked)
    assert thought.stops is not None
    assert thought.token_ids is not None
    return [numbers(thought.latents), thought.stops.tolist(), thought.token_ids.tolist()]


_TENSORS: Mapping[str, Callable[[], dict[str, Tensor]]] = {
    "identity": dict,
    "projector": lambda: _named("projector", {"1": (5, 4), "3": (4, 5), "4": (4,)}),
    "latent_head": lambda: _named("lt_head", {"fc.0": (5, 4), "fc.2": (5, 5), "fc.3": (5,), "mean": (4, 5)}),
    "latent_policy": lambda: _named(
        "latent_policy", {"fc.0": (5, 4), "fc.2": (5, 5), "fc.3": (5,), "mean": (4, 5), "log_std": (4, 5)}
    ),
    "vocabulary_mixture": dict,
    "linear_filter": lambda: {
        **_named("linear_filter", {"linear": (4, 4)}),
        "linear_filter.norm.weight": fixed(4),
        "linear_filter.shift": fixed(4),
    },
}


def _named(prefix: str, weights: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {
        f"{prefix}.{name}.{part}": fixed(*shape) if part == "weight" else fixed(shape[0])
        for name, shape in weights.items()
        for part in ("weight", "bias")
    }


def backbone(one: Backbone) -> dict[str, Any]:
    """Where sites and projections are."""
    parts = {projection.value: [part.path, part.index, part.of] for projection, part in one.projections.items()}
    return {"layers": one.layers, "sites": {site.value: path for site, path in one.sites.items()}, "parts": parts}


def fmt(one: LatentFormat) -> dict[str, Any]:
    """What a format says, and the prompt that it makes."""
    said = one.model_dump(mode="json", exclude=set(one.silent) - {"opening_token"})
    return {**said, "filled": one.fill_prompt(QUESTION), "special": one.special_tokens}


def grader(name: str) -> dict[str, Any]:
    """The spelling of every text, and which of them are right for which reference."""
    own = find_grader(name)
    spelled: dict[str, str] = {}
    right = []
    for question, reference in REFERENCES[name]:
        read = {text: answer for text in TEXTS if (answer := own.read(question, text)) is not None}
        right.append([text for text, answer in read.items() if own.is_correct(question, reference, answer)])
        spelled |= read
    return {"spelled": spelled, "right": right}


def hub_task(name: str) -> dict[str, Any]:
    """Where a task is on the hub, and what is read from rows of its columns."""
    task = TASKS[name]
    assert isinstance(task, HubTask)
    # A question without an answer alone would be a data set that nothing is right in.
    rows = [OWN_ROWS[name], *(ROWS if name == "gsm_plus" else ())] if name in OWN_ROWS else ROWS
    read = read_problems(name, rows, task.columns, task.grader, task.unanswerable)
    place = [task.hub, task.config, dict(task.splits), task.grader]
    return {"place": place, "read": [[one.question_id, one.question, one.answer, one.grader] for one in read]}


def fixed(*shape: int) -> Tensor:
    """Numbers without any pattern, the same everywhere."""
    count = math.prod(shape)
    return torch.tensor([math.sin(1.7 * index + 0.3 * len(shape)) for index in range(count)]).reshape(shape)


def numbers(tensor: Tensor) -> list[float]:
    """The elements of a tensor, rounded."""
    return [float(f"{value:.{_DIGITS}g}") for value in tensor.flatten().tolist()]


def shipped_sources() -> dict[str, str]:
    """The hash of every module that the code of a shipped kind consists of."""
    sources: dict[str, str] = {}
    for what, modules, apart in _shipped_modules():
        sources |= module_digests(what, modules, apart)
    return dict(sorted(sources.items()))


def _shipped_modules() -> Iterator[tuple[str, set[str], tuple[str, ...]]]:
    of: Sequence[tuple[Registry[Any], Sequence[str], tuple[str, ...]]] = (
        (SAMPLERS, list(SETTINGS), ()),
        (FEEDBACKS, list(_TENSORS), _READING),
        (FORMATS, ["COCONUTGPT2", "CODIGPT2", "ColarLlama"], _READING),
        (FAMILIES, FAMILY_NAMES, _READING),
        (BACKBONES, ["gpt2", "llama"], ()),
        (GRADERS, list(REFERENCES), ()),
        (GRADER_FAMILIES, ["reasoning_gym"], ()),
    )
    for registry, names, apart in of:
        yield from ((name, registry.modules(name), apart) for name in names)
    for name in _EXTRACTORS:
        yield name, defining_modules(EXTRACTORS[name].find), ()
    yield "latent.json", {LatentFormat.__module__}, _READING
