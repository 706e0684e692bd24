"""Number variants of the real GSM8K train split: right by Python's own arithmetic, and as many as docs say."""

import json
import os
import random
from fractions import Fraction
from pathlib import Path

import pytest

from latent_core.training.arithmetic import calculations_of
from latent_core.training.variants import AnnotatedProblem, NumberVariants

_DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "gsm8k_train.jsonl"


def test_half_of_all_questions_have_variants_and_all_of_them_are_right() -> None:
    file = Path(os.environ.get("LATENTSWARM_GSM8K_TRAIN", _DEFAULT))
    if not file.is_file():
        pytest.skip(f"no data: LATENTSWARM_GSM8K_TRAIN ({file}) is not a file")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()][:600]
    having = 0
    for index, row in enumerate(rows):
        calculations = calculations_of(row["answer"])
        answer = row["answer"].rpartition("####")[2].strip()
        found = NumberVariants.of(AnnotatedProblem(row["question"], calculations, answer)) if calculations else None
        variant = found.draw(random.Random(index)) if found else None
        if variant is None:
            continue
        having += 1
        for one in variant.calculations:
            exact = "".join(f"Fraction('{token}')" if token[0] in ".0123456789" else token for token in one.tokens)
            assert eval(exact, {"Fraction": Fraction}) == int(one.result) > 0
    assert 0.4 < having / len(rows) < 0.6
