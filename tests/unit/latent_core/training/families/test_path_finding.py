"""The guide of a batch of graphs against the problems it was made of."""

from itertools import islice

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from latent_core.tasks.path_finding import HOPS, Core, Edge, draw_cores, spell, vocabulary
from latent_core.training.batch import Batch
from latent_core.training.families import FAMILIES
from latent_core.training.families.path_finding import EdgeTokens, PathGuide
from latent_core.training.model import build_model
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer

# a-b-c-d-e, a way from b straight to e, and a dead end at f.
GRAPH = Core(0, 4, ((0, 1), (1, 2), (2, 3), (3, 4), (1, 4), (1, 5), (0, 5)))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(vocabulary(), 64)


@pytest.fixture(scope="module")
def batch(tokenizer: PreTrainedTokenizerFast) -> Batch:
    return next(FAMILIES["path_finding"].batches("train", 40, 1, 0, tokenizer, HOPS, detours=0.5))


def ids(tokenizer: PreTrainedTokenizerFast, *words: str) -> torch.Tensor:
    return torch.tensor([tokenizer.convert_tokens_to_ids(list(words))]).reshape(1, -1)


@pytest.mark.parametrize(
    ("thoughts", "right"),
    [
        ("", ["ab"]),
        ("ab", ["bc"]),
        ("ab bc", ["cd"]),
        ("ab bc cd", ["de"]),
        ("ab be", []),
        ("af", []),
        # Nothing leads from b to e in two hops: any listed edge goes on.
        ("ab ab", ["bc", "be", "bf"]),
        # A thought that is no edge leads nowhere.
        ("ab ###", ["bc", "be", "bf"]),
        # What an edge that is not listed leads to counts all the same.
        ("ab gc", ["cd"]),
    ],
)
def test_right_next_thoughts(tokenizer: PreTrainedTokenizerFast, thoughts: str, right: list[str]) -> None:
    guide = PathGuide.of([GRAPH], EdgeTokens.of(tokenizer))
    taken = ids(tokenizer, *thoughts.split()).long()
    found = guide.next_thoughts(taken)[0].nonzero()[:, 0].tolist()
    assert sorted(tokenizer.convert_ids_to_tokens(found)) == right


@pytest.mark.parametrize(
    ("thoughts", "solved"),
    [
        ("ab bc cd de", True),
        ("ab be cd de", False),
        ("ab bc cd dm", False),
        ("ab bc ce de", False),
        ("bc cd de ab", False),
        ("ab bc cd ###", False),
        ("### bc cd de", False),
    ],
)
def test_solved(tokenizer: PreTrainedTokenizerFast, thoughts: str, solved: bool) -> None:
    guide = PathGuide.of([GRAPH], EdgeTokens.of(tokenizer))
    assert guide.solved(ids(tokenizer, *thoughts.split())).tolist() == [solved]


def test_solved_agrees_with_the_grader(tokenizer: PreTrainedTokenizerFast) -> None:
    cores = list(islice(draw_cores("train", 0), 30))
    guide = PathGuide.of(cores, EdgeTokens.of(tokenizer))
    generator = torch.Generator().manual_seed(0)
    for detours in (0.0, 0.5):
        walks = guide.written(detours, generator)
        words = [tokenizer.convert_ids_to_tokens(walk) for walk in walks.tolist()]
        edges = [{spell(edge): edge for edge in core.edges} for core in cores]
        known: list[tuple[Edge, ...]] = [
            tuple(of.get(word, (0, 0)) for word in walk) for of, walk in zip(edges, words, strict=True)
        ]
        accepted = [core.accepts(walk) for core, walk in zip(cores, known, strict=True)]
        assert guide.solved(walks).tolist() == accepted
        assert all(accepted) == (detours == 0)


def test_a_batch_reads_its_thoughts_out(tokenizer: PreTrainedTokenizerFast, batch: Batch) -> None:
    assert batch.guide is not None
    assert batch.answer.shape == (40, HOPS + 2)
    assert batch.answer[:, 1:-1].tolist() == batch.thoughts.tolist()
    assert set(tokenizer.convert_ids_to_tokens(batch.answer[0, [0, -1]].tolist())) == {"###", "<|endoftext|>"}
    assert tokenizer.unk_token_id not in batch.prompt
    part = batch.rows(10, 20)
    assert part.guide is not None
    assert part.guide.solved(part.thoughts).tolist() == batch.guide.solved(batch.thoughts)[10:20].tolist()


def test_edges_with_a_node_in_common_start_alike(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model(ArchitectureSettings(width=40, layers=1, heads=2), tokenizer)
    FAMILIES["path_finding"].initialise(model, tokenizer, 0.5)
    ab, ac, cb, a = model.transformer.wte.weight[ids(tokenizer, "ab", "ac", "cb", "a")[0]]
    assert torch.equal(ab[:20], ac[:20])
    assert torch.equal(ab[20:], cb[20:])
    assert torch.equal(a[:20], ab[:20])
    assert not torch.equal(ab[20:], ac[20:])
