"""The page of samples: what is on it, and what happens where all would be too much."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latent_core.tasks.base import Problem
from orchestrator.analysis.samples import QuestionSamples, Sample, TrialSamples
from orchestrator.reporting.samples_page import SamplesPage


def question(number: int, samples: int = 4, steps: int = 2, text: str = "### 1") -> QuestionSamples:
    generator = np.random.default_rng(number)
    made = tuple(
        Sample(
            index,
            text,
            "1",
            "right" if index % 2 else "wrong",
            latents=generator.normal(size=(steps - index % 2, 8)).astype(np.float32) if index else None,
        )
        for index in range(samples)
    )
    problem = Problem(f"q{number}", f"how many ? {number}", "1")
    return QuestionSamples(number, problem, None, (TrialSamples("gaussian", made, {"majority_vote": "1"}),))


def scripts(path: Path) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', path.read_text(), re.DOTALL)
    return {name: json.loads(content) for name, content in found}


def test_adaptive_lengths_and_failed_rows(tmp_path: Path) -> None:
    """A row that ended earlier, or has no latents, is no point of a step."""
    page = SamplesPage("here", 1)
    page.add_all([question(0)])
    page.write(tmp_path / "page.html")
    first, second = scripts(tmp_path / "page.html")["q0"]["planes"]
    assert [point is not None for point in first["points"][0]] == [False, True, True, True]
    assert [point is not None for point in second["points"][0]] == [False, False, True, False]
    assert max(abs(value) for point in first["points"][0] if point for value in point) == 1000
    # One vector has no spread.
    assert second["share"] is None


def test_no_latents_at_all(tmp_path: Path) -> None:
    made = question(0)
    bare = tuple(Sample(one.index, one.text, one.answer, one.state) for one in made.trials[0].samples)
    page = SamplesPage("here", 1)
    page.add_all([QuestionSamples(0, made.problem, bare[0], (TrialSamples("gaussian", bare),))])
    page.write(tmp_path / "page.html")
    assert "planes" not in scripts(tmp_path / "page.html")["q0"]


@pytest.mark.parametrize("largest", [150_000, 400_000])
def test_a_page_that_would_be_too_large(tmp_path: Path, largest: int) -> None:
    page = SamplesPage("here", 300, largest=largest)
    page.add_all(question(number, text=f"### {number} " + "long " * 500) for number in range(300))
    page.write(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < largest
    content = scripts(tmp_path / "page.html")
    shown = [one["number"] for one in content["meta"]["questions"]]
    assert shown == list(range(0, 300, page.stride))
    assert page.stride in (2, 4, 8, 16, 32)
    assert content["meta"]["note"].startswith(f"{len(shown)} of 300 questions, one of every {page.stride}: ")
    assert {f"q{number}" for number in shown} | {"meta"} == content.keys()


def test_nothing_in_a_text_ends_a_script(tmp_path: Path) -> None:
    page = SamplesPage("</script><script>alert(1)</script>", 1)
    page.add_all([question(0, text="</script><!--")])
    page.write(tmp_path / "page.html")
    assert scripts(tmp_path / "page.html")["q0"]["trials"][0]["texts"] == ["</script><!--"]
    assert scripts(tmp_path / "page.html")["meta"]["title"] == "</script><script>alert(1)</script>"
