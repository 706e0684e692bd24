"""Sweeps that are divided by checkpoints, tasks and LatentRMs."""

from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.commands.sweep_group import divide
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig


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


def test_reward_models_are_named_by_their_key() -> None:
    sweeps = divide(config({"scorer.checkpoint": ["bundled:latent-rm-tiny", "rm"], **NOISE}))
    assert [one.name for one in sweeps] == ["scorer.checkpoint=latent-rm-tiny", "scorer.checkpoint=rm"]


@pytest.mark.parametrize("values", [[], {"uniform": [0, 1]}, [{"randint": [0, 1]}]])
def test_values_are_listed(values: Any) -> None:
    with pytest.raises(UserError, match=r"sweep\.space\[0\]: 'checkpoint' takes one value or a list of values"):
        divide(config({"checkpoint": values, **NOISE}))
