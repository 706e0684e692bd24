"""How fast are rollouts that think in mixtures of token embeddings, against the plain loop and against the machine?

    python -m benchmarks.mixtures                                 # GPT-2 small on one CPU thread

As `benchmarks.rollout`, with the weighted mean of the ten likeliest tokens' embeddings fed back: every latent step
needs the logits of every row, which nothing can share. They are in the limit that shares are of. Noise is Gumbel's, on
the ten likeliest.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.plain_rollout import PlainRollout
from benchmarks.random_model import SHAPES
from benchmarks.rollout import Bench, Line, table

_WIDTH = 10
_DESCRIBED = {
    "name": "mixture",
    "prompt": "{question}<|start-latent|>",
    "feedback": "vocabulary_mixture",
    "mixture": {"width": _WIDTH},
    "extractor": "after_last_hash",
}


class PlainMixtures(PlainRollout):
    """The plain loop that feeds back mixtures."""

    def latent(self, hidden: Tensor, logits: Tensor, sigma: float) -> Tensor:
        """Return the mixture of the likeliest tokens' embeddings, [rows, hidden size]; `sigma` scales Gumbel noise."""
        weights, ids = logits.log_softmax(dim=-1).topk(_WIDTH, dim=-1)
        if sigma:
            weights = weights - sigma * torch.empty_like(weights).exponential_().log()
        embeddings: Tensor = self._model.get_input_embeddings()(ids)
        return (weights.softmax(dim=-1)[:, :, None] * embeddings).sum(dim=1)


class MixtureBench(Bench):
    """The same with a reasoner that thinks in mixtures."""

    plain_loop = PlainMixtures

    def describe(self, folder: Path) -> None:
        """Write how it thinks into `latent.json`."""
        (folder / "latent.json").write_text(json.dumps(_DESCRIBED))


def measure(shape: str, ns: list[int], questions: int, rounds: int) -> tuple[list[Line], MixtureBench]:
    """Measure a line for each number of rows per question."""
    with tempfile.TemporaryDirectory() as folder:
        bench = MixtureBench(shape, Path(folder), torch.device("cpu"), torch.float32, all_logits=True)
    return [bench.line("gumbel", n, questions, rounds, with_plain=True) for n in ns], bench


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--n", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--questions", type=int, default=4, help="questions in a batch")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lines, bench = measure(options.shape, options.n, options.questions, options.rounds)
    sys.stdout.write(table(lines, bench.machine) + "\n")


if __name__ == "__main__":
    main()
