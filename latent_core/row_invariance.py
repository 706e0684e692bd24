"""Row invariance: from how many rows on a matrix product gives each row the same bits, whatever is beside it.

Libraries of matrix products choose kernels by the shape of the whole product, and kernels add up in orders of their
own. Which shapes they treat alike differs from processor to processor and from release to release, so it is measured
here, on the processor that computes, for the shapes and precisions that a model has. What is measured is a product in
one thread; with several, matrices are cut at places that depend on their size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_core.rounding_noise import RoundingNoise

MIN_ROWS = 4
"""Rows that the engine computes at least. From few rows on, products of most processors no longer depend on their
number; those that need more take more by a rule of their own."""

Product = Callable[..., Tensor]
"""Takes one or more tensors [rows, ...] and returns a tensor [rows, ...], whose rows come from the rows given."""

_DENSE = (*range(1, 10), 11, 12, 13, 15, 16, 17, 23, 31, 33, 48, 64, 65, 128)
_SPARSE = (1, 2, 3, 4, 5, 7, 8, 16, 33)
"""Numbers of rows that are tried; the few ones where products are so slow that they are computed by plain loops."""
_MANY = (512, 1024)
"""Large numbers of rows that are tried: some libraries take other kernels from a few hundred rows on."""
_MOST_ROWS = 64
"""Largest number of rows that a batch is filled up to."""
_CHUNKS = (64, 16)
"""Sizes of chunks that are tried. Larger ones read the weights less often."""
_LARGER_CHUNKS = (512, 256, 128)
"""Sizes that are tried beside them for batches that are large enough. On processors with AMX a product of 256 rows is
up to a third faster than four of 64."""
_ENOUGH_NUMBERS = 256
"""Outputs that have to be compared before equal bits mean something."""


@dataclass(frozen=True)
class RowRule:
    """How a product has to be computed for a row's bits not to depend on its neighbours.

    Attributes:
        at_least: Rows that it has to have; fewer are filled up.
        chunk: Rows that it has to have exactly, the last ones filled up; None where any number will do.
        larger: Other numbers of rows that give each row the same bits as chunks do, the largest first.
        holds: Whether the bits are independent then. Where no way was found, the product is left as it is.
    """

    at_least: int = MIN_ROWS
    chunk: int | None = None
    larger: tuple[int, ...] = ()
    holds: bool = True

    @property
    def is_free(self) -> bool:
        """Whether batches of `MIN_ROWS` rows satisfy it, so that nothing has to be done."""
        return not self.holds or (self.chunk is None and self.at_least <= MIN_ROWS)

    def __str__(self) -> str:
        """Return the rule in words."""
        if not self.holds:
            return "does not hold"
        return f"at least {self.at_least} rows" if self.chunk is None else f"chunks of {self.chunk} rows"

    def apply(self, product: Product, *rows: Tensor) -> Tensor:
        """Compute a product by the rule.

        Args:
            product: What to compute.
            *rows: What it takes, [rows, ...] each.

        Returns:
            What the product returns for these rows.
        """
        count = len(rows[0])
        if not self.holds or count == 0:
            return product(*rows)
        if self.chunk is None:
            if count >= self.at_least:
                return product(*rows)
            return product(*(_filled(one, self.at_least) for one in rows))[:count]
        sizes = self._sizes(count)
        # Slices of their own memory, as they were measured.
        parts = zip(*(_filled(one, sum(sizes)).split(sizes) for one in rows), strict=True)
        done = [product(*part) for part in parts]
        return (done[0] if len(done) == 1 else torch.cat(done))[:count]

    def _sizes(self, count: int) -> list[int]:
        """Return the sizes of the chunks that so many rows are computed in."""
        assert self.chunk is not None
        sizes: list[int] = []
        for size in self.larger:
            sizes += [size] * ((count - sum(sizes)) // size)
        return sizes + [self.chunk] * -(-(count - sum(sizes)) // self.chunk)


def _filled(rows: Tensor, count: int) -> Tensor:
    missing = count - len(rows)
    return rows if missing == 0 else torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


DOES_NOT_HOLD = RowRule(holds=False)


def measured_rule(product: Product, example: Callable[[int], tuple[Tensor, ...]], *, sparse: bool = False) -> RowRule:
    """Measure on this processor from how many rows on a product computes each row alike.

    Args:
        product: The product.
        example: Returns so many rows of what it takes; what is in them has to differ from row to row, and best adds up
            to `RoundingNoise`: in reduced precision other orders of additions hardly ever show in other numbers.
        sparse: Whether to try few numbers of rows only.

    Returns:
        The least number of rows, all larger ones that were tried being alike; else chunks; else that nothing helps.
    """
    counts = _SPARSE if sparse else _DENSE
    with torch.inference_mode(), one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        at_least = _least_rows(product, example, counts)
        if at_least is not None and (sparse or _many_are_alike(product, example)):
            return RowRule(max(at_least, MIN_ROWS))
        chunk = next((size for size in _CHUNKS if _chunk_is_alike(product, example, size)), None)
        if chunk is None:
            return DOES_NOT_HOLD
        larger = (
            () if sparse else tuple(size for size in _LARGER_CHUNKS if _sizes_are_alike(product, example, chunk, size))
        )
        return RowRule(chunk, chunk, larger)


def _least_rows(product: Product, example: Callable[[int], tuple[Tensor, ...]], counts: tuple[int, ...]) -> int | None:
    most = counts[-1] + 7
    rows = example(most)
    whole = product(*rows)
    least = None
    for count in reversed(counts):
        # Few numbers may be equal by chance: several draws make them many.
        draws = max(1, -(-_ENOUGH_NUMBERS // (count * whole[0].numel())))
        for _ in range(min(draws, 32)):
            # Any rows in any order: a row stands at other places, beside others.
            chosen = torch.randperm(most)[:count]
            if not torch.equal(product(*(one[chosen] for one in rows)), whole[chosen]):
                return least if least is not None and least <= _MOST_ROWS else None
        least = count
    return least


def _many_are_alike(product: Product, example: Callable[[int], tuple[Tensor, ...]]) -> bool:
    """Whether rows are in large batches what they are in one of `_MOST_ROWS`."""
    some, half = example(_MOST_ROWS), _MOST_ROWS // 2
    alone = product(*some)
    for count in _MANY:
        others = example(count - _MOST_ROWS)
        # At both ends: what is left over at the end of a batch is computed apart.
        batch = (torch.cat([one[:half], other, one[half:]]) for one, other in zip(some, others, strict=True))
        found = product(*batch)
        if not torch.equal(torch.cat([found[:half], found[-half:]]), alone):
            return False
    return True


def _chunk_is_alike(product: Product, example: Callable[[int], tuple[Tensor, ...]], size: int) -> bool:
    rows = example(2 * size)
    first = [torch.arange(size), torch.arange(size, 2 * size)]
    whole = torch.cat([product(*(one[some] for one in rows)) for some in first])
    for kept in (size, size, size, size // 2 + 1, 5, 1, 1, 1):
        chosen = torch.randperm(2 * size)[:kept]
        found = product(*(_filled(one[chosen], size) for one in rows))[:kept]
        if not torch.equal(found, whole[chosen]):
            return False
    return True


def _sizes_are_alike(product: Product, example: Callable[[int], tuple[Tensor, ...]], chunk: int, size: int) -> bool:
    """Whether rows of a large chunk are what they are in small ones."""
    rows = example(size)
    small = zip(*(one.split(chunk) for one in rows), strict=True)
    return torch.equal(product(*rows), torch.cat([product(*part) for part in small]))


_rules: dict[tuple[object, ...], RowRule] = {}


def known_rule(
    key: tuple[object, ...], product: Product, example: Callable[[int], tuple[Tensor, ...]], *, sparse: bool = False
) -> RowRule:
    """Return the rule of a product, measured once per process.

    Args:
        key: What the product's kernels depend on: its kind, precision, and sizes other than the number of rows.
        product: See `measured_rule`.
        example: See `measured_rule`.
        sparse: See `measured_rule`.
    """
    if key not in _rules:
        _rules[key] = measured_rule(product, example, sparse=sparse)
    return _rules[key]


def is_slow(dtype: torch.dtype) -> bool:
    """Return whether products of a precision are plain loops on this processor."""
    return dtype != torch.float32 and not (
        dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def row_product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices, [..., rows, k] and [..., k, n]; on CPUs no row depends on how many rows there are.

    The rule is measured when a shape is first met.
    """
    if left.device.type != "cpu":
        return left @ right
    key = ("product", left.dtype, *right.shape[-2:], right.stride(-1) == 1, right.dim() == 2)
    rule = _rules.get(key) or _measured_product(key, right)
    if rule.is_free and left.shape[-2] >= MIN_ROWS:
        return left @ right
    return rule.apply(lambda rows: (rows.movedim(0, -2) @ right).movedim(-2, 0), left.movedim(-2, 0)).movedim(0, -2)


def _measured_product(key: tuple[object, ...], right: Tensor) -> RowRule:
    """Measure the products with matrices of the shape and layout of `right`."""
    inner, outer = right.shape[-2:]
    batch = () if right.dim() == 2 else (2, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        noise = RoundingNoise(inner)
        other = noise.right(*batch, outer, dtype=right.dtype).transpose(-1, -2)
    if right.stride(-1) == 1:
        other = other.contiguous()

    def product(rows: Tensor) -> Tensor:
        return (rows.movedim(0, -2) @ other).movedim(-2, 0)

    def example(rows: int) -> tuple[Tensor]:
        return (noise.left(rows, *batch, dtype=right.dtype),)

    return known_rule(key, product, example, sparse=is_slow(right.dtype))


def product_rules() -> dict[str, RowRule]:
    """Return the rules of the products that this process has met in `row_product`, by precision and shape."""
    return {
        f"{str(key[1]).removeprefix('torch.')} {key[2]} x {key[3]}": rule
        for key, rule in _rules.items()
        if key[0] == "product"
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread within."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
