"""Sweeps that are divided by checkpoints, tasks and LatentRMs."""

from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.commands.study import members_of
from orchestrator.config.run import RunConfig, parse_config


def config(*space: dict[str, Any], **changes: Any) -> RunConfig:
    content = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems", "limit": 2}}
    return parse_config({**content, "sweep": {"space": list(space)}, **changes})


NOISE = {"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2]}


def test_a_space_of_samplers_is_one_sweep() -> None:
    whole = config(NOISE, {"sampler.kind": "mc_dropout", "sampler.p": 0.1})
    [member] = members_of(whole)
    assert (member.name, member.config) == ("", whole)


def test_checkpoints_and_tasks_make_sweeps() -> None:
    hard = {"task.path": "/data/gsm_hard.json", **NOISE}
    both = {"checkpoint": ["bundled:coconut-tiny", "models/mine/"], "task.name": "gsm8k", **NOISE}
    members = members_of(config(hard, both, NOISE))
    assert [member.name for member in members] == ["gsm_hard.json", "coconut-tiny gsm8k", "mine gsm8k", "as configured"]
    assert [member.folder for member in members] == [
        "gsm_hard.json",
        "coconut-tiny-gsm8k",
        "mine-gsm8k",
        "as-configured",
    ]
    assert members[0].config.task.path == "/data/gsm_hard.json"
    assert members[0].config.task.name is None
    assert members[2].config.checkpoint == "models/mine/"
    assert all(member.config.sweep.space == (NOISE,) for member in members)
    assert members[3].config.task == config(NOISE).task


def test_grids_of_the_same_checkpoint_belong_together() -> None:
    dropout = {"sampler.kind": "mc_dropout", "sampler.p": [0.1]}
    first, second = members_of(config({"checkpoint": ["a", "b"], **NOISE}, {"checkpoint": "a", **dropout}))
    assert first.config.sweep.space == (NOISE, dropout)
    assert second.config.sweep.space == (NOISE,)


def test_reward_models_are_named_by_their_key() -> None:
    members = members_of(config({"scorer.checkpoint": ["bundled:latent-rm-tiny", "rm"], **NOISE}))
    assert [one.name for one in members] == ["scorer.checkpoint=latent-rm-tiny", "scorer.checkpoint=rm"]


@pytest.mark.parametrize("values", [[], {"uniform": [0, 1]}, [{"randint": [0, 1]}]])
def test_values_are_listed(values: Any) -> None:
    with pytest.raises(UserError, match=r"sweep\.space\[0\]: 'checkpoint' takes one value or a list of values"):
        members_of(config({"checkpoint": values, **NOISE}))
