from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from base_models import byte_tokenizer, save_problems

from latent_core.errors import UserError
from latent_core.models.formats.coconut import COCONUT
from latent_core.training.chains import ChainBatch, ChainEncoder, ChainProblems
from latent_core.training.families import FAMILIES, AnnotatedFamily
from latent_core.training.tokenizer import END_LATENT, LATENT, START_LATENT
from latent_core.training.variants import AnnotatedProblem


@pytest.fixture(scope="module")
def encoder() -> ChainEncoder:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [START_LATENT, END_LATENT, LATENT]})
    return ChainEncoder(tokenizer, COCONUT)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> list[AnnotatedProblem]:
    family = FAMILIES["gsm8k"]
    assert isinstance(family, AnnotatedFamily)
    return list(family.read(save_problems(tmp_path_factory.mktemp("data") / "train.jsonl")))


def split(problems: list[AnnotatedProblem], encoder: ChainEncoder, **changes: int) -> ChainProblems:
    settings = {"variants": 3, "longest": 200, "seed": 0, **changes}
    return ChainProblems.of(problems, encoder, validation_share=0.2, **settings)  # type: ignore[arg-type]


def test_texts_are_question_steps_and_answer(encoder: ChainEncoder, problems: list[AnnotatedProblem]) -> None:
    encoded = encoder.encode(problems[0])
    decode = encoder.tokenizer.decode
    first = problems[0]
    assert decode(encoded.prompt) == f"{first.question}\n<|start-latent|>"
    assert [decode(step) for step in encoded.steps] == [f"{one.text}\n" for one in first.calculations]
    assert decode(encoded.answer) == f"### {first.answer}<|endoftext|>"
    assert decode(encoded.answer[: encoded.mark]) == "### "


@pytest.mark.parametrize(("hidden", "left"), [(None, 0), (1, 1), (2, 0), (5, 0)])
def test_latents_stand_for_the_first_steps(
    encoder: ChainEncoder, problems: list[AnnotatedProblem], hidden: int | None, left: int
) -> None:
    batch = ChainBatch.of([encoder.encode(one) for one in problems[:5]], hidden)
    for row, problem in enumerate(problems[:5]):
        steps = [f"{one.text}\n" for one in problem.calculations]
        answer = f"### {problem.answer}<|endoftext|>"
        for continuation, written in ((batch.chain, steps), (batch.rest, steps[len(steps) - left :])):
            ids = continuation.ids[row][continuation.mask[row].bool()]
            assert encoder.tokenizer.decode(ids) == "".join(written) + answer
            assert encoder.tokenizer.decode(ids[: continuation.mark[row] + 1]).endswith("### ")
        assert encoder.tokenizer.decode(batch.prompt[row][batch.mask[row].bool()]).startswith(problem.question)
    part = batch.rows(1, 3)
    assert len(part) == 2
    assert part.chain.ids.shape[1] == int(batch.chain.mask[1:3].sum(1).max())


def test_an_epoch_is_every_problem_and_variant_once(encoder: ChainEncoder, problems: list[AnnotatedProblem]) -> None:
    found = split(problems, encoder)
    assert found.varied > 0.9 * (len(problems) - len(found.validation))
    batches = list(islice(found.batches(4, 0, None), len(found.train) // 4))
    rows = [pair for one in batches for pair in zip(one.prompt, one.mask, strict=True)]
    seen = Counter(tuple(row[mask.bool()].tolist()) for row, mask in rows)
    assert max(seen.values()) == 1
    assert len(seen) == len(found.train) // 4 * 4
    assert {one.prompt for one in found.train}.isdisjoint(one.prompt for one in found.validation)


def test_batches_can_begin_anywhere(encoder: ChainEncoder, problems: list[AnnotatedProblem]) -> None:
    found = split(problems, encoder)
    per_epoch = len(found.train) // 8
    whole = list(islice(found.batches(8, 3, None), 2 * per_epoch + 2))
    for first in (1, per_epoch, per_epoch + 3):
        later = list(islice(found.batches(8, 3, None, first), 2))
        assert [one.prompt.tolist() for one in later] == [one.prompt.tolist() for one in whole[first : first + 2]]
    other = next(found.batches(8, 4, None))
    assert other.prompt.tolist() != whole[0].prompt.tolist()


def test_variants_are_those_of_the_seed_and_validation_is_not(
    encoder: ChainEncoder, problems: list[AnnotatedProblem]
) -> None:
    first, again, other = (split(problems, encoder, seed=seed) for seed in (0, 0, 1))
    assert first.train == again.train
    assert first.train != other.train
    assert first.validation == other.validation


def test_long_problems_are_left_out_and_counted(encoder: ChainEncoder, problems: list[AnnotatedProblem]) -> None:
    lengths = sorted(len(encoder.encode(one)) for one in problems)
    middle = lengths[-1] - 1
    found = split(problems, encoder, longest=middle, variants=0)
    assert found.too_long == sum(length > middle for length in lengths) > 0
    assert max(map(len, found.train)) <= middle
    with pytest.raises(UserError, match=r"raise data\.longest"):
        split(problems, encoder, longest=16)


def test_a_batch_larger_than_the_data_is_refused(encoder: ChainEncoder, problems: list[AnnotatedProblem]) -> None:
    with pytest.raises(UserError, match="batch_size: 4000"):
        next(split(problems, encoder).batches(4000, 0, None))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "none of .json"),
        ("a.jsonl", '{"question": "How many?", "answer": "none #### 3"}', "no row has calculations"),
        ("a.jsonl", '{"question": "How many?"}', "lacks `answer`"),
        ("missing.jsonl", None, "cannot be read: No such file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    family = FAMILIES["gsm8k"]
    assert isinstance(family, AnnotatedFamily)
    with pytest.raises(UserError, match=message):
        family.read(tmp_path / name)


def test_steps_may_stand_in_a_column_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "aug.json"
    file.write_text('[{"question": "2 and 3?", "steps": ["<<2+3=5>>", "<<5*2=10>>"], "answer": "10"}]')
    family = FAMILIES["gsm8k"]
    assert isinstance(family, AnnotatedFamily)
    (problem,) = family.read(file)
    assert [one.text for one in problem.calculations] == ["<<2+3=5>>", "<<5*2=10>>"]
    assert problem.answer == "10"
