"""Sweeps that are divided by checkpoints, tasks and LatentRMs."""

from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.jobs.sweep_group import divide


def config(*space: dict[str, Any], **changes: Any) -> RunConfig:
    content = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems", "limit": 2}}
    return parse_config(RunConfig, {**content, "sweep": {"space": list(space)}, **changes})


NOISE = {"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2]}


def test_a_space_of_samplers_is_one_sweep() -> None:
    whole = config(NOISE, {"sampler.kind": "mc_dropout", "sampler.p": 0.1})
    [sweep] = divide(whole)
    assert (sweep.name, sweep.config) == ("", whole)


def test_checkpoints_and_tasks_make_sweeps() -> None:
    hard = {"task.path": "/data/gsm_hard.json", **NOISE}
    both = {"checkpoint": ["bundled:coconut-tiny", "models/mine/"], "task.name": "gsm8k", **NOISE}
    sweeps = divide(config(hard, both, NOISE))
    assert [sweep.name for sweep in sweeps] == ["gsm_hard.json", "coconut-tiny gsm8k", "mine gsm8k", "as configured"]
    assert [sweep.folder for sweep in sweeps] == [
        "gsm_hard.json",
        "coconut-tiny-gsm8k",
        "mine-gsm8k",
        "as-configured",
    ]
    assert sweeps[0].config.task.path == "/data/gsm_hard.json"
    assert sweeps[0].config.task.name is None
    assert sweeps[2].config.checkpoint == "models/mine/"
    assert all(sweep.config.sweep.space == (NOISE,) for sweep in sweeps)
    assert sweeps[3].config.task == config(NOISE).task


def test_grids_of_the_same_checkpoint_belong_together() -> None:
    dropout = {"sampler.kind": "mc_dropout", "sampler.p": [0.1]}
    first, second = divide(config({"checkpoint": ["a", "b"], **NOISE}, {"checkpoint": "a", **dropout}))
    assert first.config.sweep.space == (NOISE, dropout)
    assert second.config.sweep.space == (NOISE,)


def test_paths_that_end_alike_are_named_by_what_differs() -> None:
    checkpoints = divide(config({"checkpoint": ["a/final", "b/final", "../b/best/final", "c"], **NOISE}))
    assert [one.name for one in checkpoints] == ["a/final", "b/final", "best/final", "c"]
    assert [one.folder for one in checkpoints] == ["a-final", "b-final", "best-final", "c"]
    assert [one.config.checkpoint for one in checkpoints] == ["a/final", "b/final", "../b/best/final", "c"]
    tasks = divide(config({"task.path": ["/data/a/test.json", "/data/b/test.json"], **NOISE}))
    assert [one.name for one in tasks] == ["a/test.json", "b/test.json"]
    assert [one.config.task.path for one in tasks] == ["/data/a/test.json", "/data/b/test.json"]
    # One is the end of the other, and a local directory has the name of a model on the hub.
    nested = divide(config({"checkpoint": ["final", "a/final"], "task.hub": ["me/pens", "pens"], **NOISE}))
    assert [one.name for one in nested] == ["final me/pens", "final pens", "a/final me/pens", "a/final pens"]


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        (
            "task.path",
            ["test+x.json", "test x.json"],
            "test x.json and task.path=test+x.json would share the directory",
        ),
        ("task.path", ["Test.json", "test.json"], "would share the directory test.json"),
        ("checkpoint", ["a/final", "./a/final"], "checkpoint=./a/final and checkpoint=a/final would share the"),
        ("checkpoint", ["..", "a"], "checkpoint=..: its sweep has no name that a directory can have"),
        ("task.path", ["data/curves.csv", "a.csv"], "would have the name of the group's file curves.csv"),
        ("checkpoint", ["a" * 250, "b"], "...: too long for the name of a directory"),
    ],
)
def test_sweeps_that_would_share_a_directory_are_refused(key: str, values: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        divide(config({key: values, **NOISE}))
    assert str(caught.value).startswith("sweep.space: ")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_checkpoint_named_twice_is_one_sweep() -> None:
    first, second = divide(config({"checkpoint": ["a", "a/", "b"], **NOISE}))
    assert [first.config.checkpoint, second.config.checkpoint] == ["a", "b"]
    assert first.config.sweep.space == second.config.sweep.space == (NOISE,)


def test_reward_models_are_named_by_their_key() -> None:
    sweeps = divide(config({"scorer.checkpoint": ["bundled:latent-rm-tiny", "rm"], **NOISE}))
    assert [one.name for one in sweeps] == ["scorer.checkpoint=latent-rm-tiny", "scorer.checkpoint=rm"]


@pytest.mark.parametrize("values", [[], {"uniform": [0, 1]}, [{"randint": [0, 1]}]])
def test_values_are_listed(values: Any) -> None:
    with pytest.raises(UserError, match=r"sweep\.space\[0\]: 'checkpoint' takes one value or a list of values"):
        divide(config({"checkpoint": values, **NOISE}))
