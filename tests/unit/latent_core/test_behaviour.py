"""Shipped kinds do what is recorded of their version, and their source is the one that is recorded."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import recorded
from behaviours import ADDED_TO, behaviours, shipped_sources
from torch import Tensor

from latent_core.answers import parsing as answers
from latent_core.answers.extractors import EXTRACTORS, Extractor, last_number
from latent_core.answers.grading import GRADERS
from latent_core.models.backbones import BACKBONES
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.feedback.latent_head import LatentHead
from latent_core.models.formats import FAMILIES, FORMATS, LatentFormat
from latent_core.registry import Registry
from latent_core.samplers import SAMPLERS
from latent_core.samplers.answer_sampling import AnswerSampling
from latent_core.samplers.gaussian import GaussianNoise
from latent_core.samplers.mc_dropout import MonteCarloDropout
from latent_core.samplers.singular_value import SingularValuePerturbation
from latent_core.shipped import SOURCES
from latent_core.tasks import columns as rows
from latent_core.tasks import path_finding
from latent_core.tasks.loading import TASKS

ELSEWHERE = {"task prosqa", "task reasoning_gym"}
"""Their questions come from the network, and from another package."""


def troubles() -> list[str]:
    record = recorded.recorded_behaviours()
    said = (recorded.trouble(record, kind, *one) for kind, one in behaviours().items())
    return [text for text in said if text is not None]


def test_shipped_kinds_behave_as_it_is_recorded_of_their_version() -> None:
    assert not troubles(), "\n".join(troubles())


def test_the_shipped_source_is_the_recorded_one() -> None:
    """Otherwise nothing that stores hold of a kind would be found."""
    now = shipped_sources()
    changed = sorted(name for name in {*now, *SOURCES} if now.get(name) != SOURCES.get(name))
    assert not changed, f"{', '.join(changed)}: not the source in latent_core/shipped.py; run `make record`"


def test_every_kind_is_recorded() -> None:
    registries: list[tuple[str, Registry[Any]]] = [
        *(("sampler", SAMPLERS), ("feedback", FEEDBACKS), ("checkpoint architecture", FORMATS)),
        ("family", FAMILIES),
        *(("backbone", BACKBONES), ("grader", GRADERS), ("task", TASKS)),
    ]
    kinds = {f"{noun} {name}" for noun, registry in registries for name in shipped(registry, registry)}
    kinds |= {f"extractor {name}" for name in EXTRACTORS} | {"latent.json"}
    found = {kind for kind in behaviours() if not kind.startswith(ADDED_TO)}
    assert kinds - ELSEWHERE == found, "add it to tests/behaviours.py, and run `make record`"


def shipped(registry: Registry[Any], names: Iterable[str]) -> list[str]:
    """Those that no other test has registered."""
    return [name for name in names if all(one.startswith("latent_core.") for one in registry.modules(name))]


def louder(by: float) -> Callable[[pytest.MonkeyPatch], None]:
    def change(patch: pytest.MonkeyPatch) -> None:
        plain = GaussianNoise.perturb_latent

        def perturb(self: GaussianNoise, latent: Tensor, streams: Any, step: int) -> Tensor:
            return latent + by * (plain(self, latent, streams, step) - latent)

        patch.setattr(GaussianNoise, "perturb_latent", perturb)

    return change


def with_values(cls: type[Any], method: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """A method that is called with the settings of the sampler changed."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        plain = getattr(cls, method)
        patch.setattr(cls, method, lambda self, *arguments: plain(change(self), *arguments))

    return patched


def patched(place: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def change(patch: pytest.MonkeyPatch) -> None:
        if isinstance(place, dict):
            patch.setitem(place, name, value)
        else:
            patch.setattr(place, name, value)

    return change


def scaled(**factors: float) -> Callable[[Any], Any]:
    return lambda one: one.model_copy(update={name: getattr(one, name) * by for name, by in factors.items()})


MUTATIONS: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("sampler gaussian", louder(100.0)),
    ("sampler gaussian", louder(1.01)),
    ("sampler gaussian", louder(0.999)),
    ("sampler mc_dropout", with_values(MonteCarloDropout, "perturbation", scaled(p=1.01))),
    ("sampler singular_value", with_values(SingularValuePerturbation, "perturbation", scaled(alpha=1.01))),
    ("sampler answer_sampling", with_values(AnswerSampling, "choose_token", scaled(temperature=1.5))),
    (
        "feedback latent_head",
        patched(LatentHead, "forward", lambda self, hidden: self.layers(hidden) * 0.505),
    ),
    ("checkpoint architecture ColarLlama", patched(LatentFormat, "fill_prompt", lambda self, question: question)),
    (
        "extractor last_number",
        patched(EXTRACTORS, "last_number", Extractor(lambda text: last_number(text) or "0", "{answer}")),
    ),
    ("grader numeric", patched(answers, "TOLERANCE", Fraction(1, 100))),
    ("grader path_finding", patched(path_finding, "HOPS", 3)),
    ("task word_problems", patched(TASKS._entries, "word_problems", TASKS["path_finding"])),
    ("task gsm8k", patched(rows, "_GSM8K_ANSWER_MARK", "=")),
]


@pytest.mark.parametrize(("kind", "mutate"), MUTATIONS, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(MUTATIONS)])
def test_a_changed_behaviour_is_seen(
    kind: str, mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert any(text.startswith(f"{kind}: ") for text in troubles()), troubles()


def test_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    louder(1.01)(monkeypatch)
    [text] = troubles()
    assert text == (
        "sampler gaussian: it behaves differently from what is recorded of version 1, and what stores hold of it would "
        "be taken for its own; set its version to 2 and run `make record`"
    )
    monkeypatch.setattr(GaussianNoise, "version", 2)
    assert troubles() == ["sampler gaussian: version 2 is not recorded yet; run `make record`"]


def test_a_version_does_not_fall() -> None:
    record = {"sampler x": {"version": 3, "behaviour": []}}
    assert recorded.trouble(record, "sampler x", 2, []) == (
        "sampler x: version 2, but 3 has been recorded; versions only rise"
    )
    assert recorded.trouble(record, "sampler x", 3, []) is None
    assert "not recorded yet" in str(recorded.trouble(record, "sampler y", 1, []))


@pytest.fixture
def copied_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RECORD", "SHIPPED"):
        copy = tmp_path / getattr(recorded, name).name
        copy.write_text(getattr(recorded, name).read_text())
        monkeypatch.setattr(recorded, name, copy)
    return tmp_path


def test_recording_again_changes_nothing(copied_record: Path) -> None:
    before = {file.name: file.read_text() for file in copied_record.iterdir()}
    assert recorded.record() == 0
    assert {file.name: file.read_text() for file in copied_record.iterdir()} == before


def test_another_behaviour_is_not_recorded_under_a_recorded_version(
    copied_record: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file.name: file.read_text() for file in copied_record.iterdir()}
    louder(1.01)(monkeypatch)
    assert recorded.record() == 1
    assert "set its version to 2" in capsys.readouterr().err
    assert {file.name: file.read_text() for file in copied_record.iterdir()} == before
    monkeypatch.setattr(GaussianNoise, "version", 2)
    assert recorded.record() == 0
    assert recorded.recorded_behaviours()["sampler gaussian"]["version"] == 2
    assert not troubles()
