"""Registries: entries are found by themselves, and a wrong name is answered with the nearest right one."""

import pytest

from latent_core.errors import UserError
from latent_core.registry import Registry, nearest_hint
from latent_core.samplers import SAMPLERS


def test_entries_are_found_without_importing_them() -> None:
    assert list(SAMPLERS) == sorted(SAMPLERS)
    assert {"none", "gaussian", "mc_dropout", "answer_sampling"} <= set(SAMPLERS)
    assert "gaussian" in SAMPLERS
    assert "gauss" not in SAMPLERS


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown sampler 'gausian': did you mean 'gaussian'\?"):
        SAMPLERS["gausian"]


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(UserError, match="known: answer_sampling, dirichlet, gaussian"):
        SAMPLERS["zzz"]


def test_a_name_is_taken_once() -> None:
    registry: Registry[object] = Registry("thing", "latent_core.samplers")
    entry = object()
    assert registry.register("x", entry) is entry
    assert registry.register("x", entry) is entry
    with pytest.raises(ValueError, match="two entries register the thing 'x'"):
        registry.register("x", object())


def test_an_entry_has_the_version_it_says_or_is_registered_with() -> None:
    class Versioned:
        version = 4

    registry: Registry[object] = Registry("thing", "latent_core.samplers")
    registry.register("plain", object())
    registry.register("own", Versioned())
    registry.register("given", Versioned(), version=5)
    assert [registry.version(name) for name in ("plain", "own", "given")] == [1, 4, 5]


def test_no_hint_where_nothing_is_known() -> None:
    assert nearest_hint("x", []) == "no keys are known here"
