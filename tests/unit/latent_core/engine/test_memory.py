"""What is free is read where the system says it, and what a batch needs is not less than what it takes."""

from pathlib import Path

import pytest

from latent_core.engine import memory
from latent_core.engine.memory import Footprint
from latent_core.engine.runtime import RolloutRuntime
from latent_core.models import LatentReasoner


def test_a_machine_says_what_it_has(tmp_path: Path) -> None:
    source = tmp_path / "meminfo"
    source.write_text("MemTotal:       32000 kB\nMemFree:         1000 kB\nMemAvailable:   20000 kB\n")
    assert memory._machine_bytes(source) == 20_000 * 1024
    assert memory._machine_bytes(tmp_path / "none") is None


@pytest.mark.parametrize(("limit", "left"), [("1000\n", 400), ("500\n", 0), ("max\n", None)])
def test_a_container_may_have_less(tmp_path: Path, limit: str, left: int | None) -> None:
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("600\n")
    assert memory._container_bytes(tmp_path) == left


def test_cached_files_are_not_held_against_a_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 200\nfile 750\nshmem 50\ninactive_file 300\nactive_file 400\n")
    assert memory._container_bytes(tmp_path) == 700


def test_there_may_be_no_container(tmp_path: Path) -> None:
    assert memory._container_bytes(tmp_path) is None


def test_keys_and_values_are_counted(tiny_reasoner: LatentReasoner) -> None:
    config = tiny_reasoner.model.config
    footprint = Footprint.of(tiny_reasoner.model)
    assert footprint.per_position == 2 * config.num_hidden_layers * config.hidden_size * 4
    assert footprint.logits == config.vocab_size * 4


def test_prompts_are_counted_as_long_as_they_are_padded(tiny_reasoner: LatentReasoner) -> None:
    footprint = RolloutRuntime.of(tiny_reasoner).footprint
    assert footprint.prompt(1) == footprint.prompt(32) < footprint.prompt(33)
    assert footprint.prompt(33, static=True) == footprint.prompt(33) + 64 * footprint.per_position


def test_tokens_that_are_drawn_need_all_logits() -> None:
    footprint = Footprint(per_position=10, transient=100, per_key=1, logits=10_000)
    greedy = footprint.row(30, 5, samples_tokens=False, on_cpu=True)
    assert greedy == 2 * 5 * 10 + 100 + 37
    # On GPUs the suffix has a buffer of 32 positions.
    assert footprint.row(30, 5, samples_tokens=False, on_cpu=False) == (5 + 32) * 10 + 100 + 10_000
    assert footprint.row(30, 5, samples_tokens=True, on_cpu=True) > 50_000
