"""One series of numbers, described exactly and in bounded memory.

A *series* is a function that yields the same arrays (float64 or int64) each time it is called. What fits into `memory`
is held; more is gone through again: once for the range, once for moments and histogram, and four times for the
quantiles, which are selected digit by digit from the order of their bits rather than by sorting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data.exchange import MEMORY

Number = int | float
Values = npt.NDArray[Any]
Series = Callable[[], Iterator[Values]]

_TOGETHER = 1 << 16  # values that are worked on at a time, however they came: sums do not depend on files or memory
_DIGIT_BITS = 16
_SIGN = np.uint64(1 << 63)
_BARS = " ▁▂▃▄▅▆▇█"


class NumberSummary(msgspec.Struct, frozen=True, kw_only=True, tag="number"):
    """What a series of numbers is like.

    `count` values, of which `nan` are no number and `infinite` are infinite; `missing` rows have none. All else is of
    the finite ones, and None where there are none: `mean` and `std` (population), `min`, `max`; `quantiles` by
    probability, interpolated between neighbours; `counts` of the histogram, whose cells `[edges[i], edges[i + 1])`
    (the last one closed) have equal width, one cell where all values are equal.
    """

    count: int
    missing: int = 0
    nan: int = 0
    infinite: int = 0
    mean: float | None = None
    std: float | None = None
    min: Number | None = None
    max: Number | None = None
    quantiles: dict[str, Number] = {}
    counts: list[int] = []
    edges: list[float] = []


def summarise(
    series: Series, *, bins: int, quantiles: Sequence[float], missing: int = 0, memory: int = MEMORY
) -> NumberSummary:
    """Describe the series; at most `memory` bytes of values are held.

    >>> found = summarise(lambda: iter([np.array([1, 2, 3, 4])]), bins=3, quantiles=[0.5])
    >>> found.mean, found.quantiles, found.counts, found.edges
    (2.5, {'0.5': 2.5}, [1, 1, 2], [1.0, 2.0, 3.0, 4.0])
    """
    series = _held(series, memory)
    extent = _extent(series)
    if extent.n_finite == 0 or extent.min is None or extent.max is None:
        return NumberSummary(count=extent.count, missing=missing, nan=extent.nan, infinite=extent.infinite)
    finite = _finite(series)
    edges = _edges(float(extent.min), float(extent.max), bins)
    mean, std, counts = _moments(finite, edges)
    return NumberSummary(
        count=extent.count,
        missing=missing,
        nan=extent.nan,
        infinite=extent.infinite,
        mean=mean,
        std=std,
        min=extent.min,
        max=extent.max,
        quantiles=_quantiles(finite, extent.n_finite, quantiles),
        counts=counts.tolist(),
        edges=edges.tolist(),
    )


def bar(counts: Sequence[int]) -> str:
    """The histogram as one character per cell; a cell with anything in it is never blank.

    >>> bar([0, 1, 50, 100])
    ' ▁▄█'
    """
    most = max(counts, default=0) or 1
    return "".join(_BARS[math.ceil((len(_BARS) - 1) * count / most)] for count in counts)


@dataclass(slots=True, kw_only=True)
class _Extent:
    count: int = 0
    nan: int = 0
    infinite: int = 0
    min: Number | None = None
    max: Number | None = None

    @property
    def n_finite(self) -> int:
        return self.count - self.nan - self.infinite


def _held(series: Series, memory: int) -> Series:
    """The same series, from memory when it is short."""

    def even() -> Iterator[Values]:
        return _even(series())

    parts: list[Values] = []
    for values in even():
        parts.append(values)
        memory -= values.nbytes
        if memory < 0:
            return even
    return lambda: iter(parts)


def _even(arrays: Iterable[Values]) -> Iterator[Values]:
    """The same values, `_TOGETHER` to an array; the last one has what is left."""
    held: list[Values] = []
    n_held = 0
    for values in arrays:
        held.append(values)
        n_held += len(values)
        if n_held >= _TOGETHER:
            whole = np.concatenate(held)
            n_whole = len(whole) - len(whole) % _TOGETHER
            for start in range(0, n_whole, _TOGETHER):
                yield whole[start : start + _TOGETHER].copy()
            held = [whole[n_whole:].copy()]
            n_held = len(held[0])
    if n_held:
        yield np.concatenate(held)


def _finite(series: Series) -> Series:
    def finite() -> Iterator[Values]:
        for values in series():
            # Adding zero makes -0.0 the same as 0.0, in bits too.
            yield values if values.dtype.kind == "i" else values[np.isfinite(values)] + 0.0

    return finite


def _extent(series: Series) -> _Extent:
    extent = _Extent()
    for values in series():
        n_nan = int(np.count_nonzero(values != values))
        finite = values[np.isfinite(values)]
        extent.count += len(values)
        extent.nan += n_nan
        extent.infinite += len(values) - n_nan - len(finite)
        if len(finite):
            low, high = finite.min().item(), finite.max().item()
            extent.min = low if extent.min is None else min(extent.min, low)
            extent.max = high if extent.max is None else max(extent.max, high)
    return extent


def _edges(low: float, high: float, bins: int) -> npt.NDArray[np.float64]:
    if low == high:
        return np.array([low, high])
    at = np.arange(bins + 1) / bins
    # Not low + at * (high - low): the width of two huge numbers may be infinite.
    edges = np.clip(low * (1 - at) + high * at, low, high)
    edges[0], edges[-1] = low, high
    return np.maximum.accumulate(edges)


def _moments(finite: Series, edges: npt.NDArray[np.float64]) -> tuple[float, float, npt.NDArray[np.int64]]:
    """Mean, standard deviation and histogram. Scaled by a power of two, so that squares of huge numbers stay finite."""
    scale = math.frexp(max(abs(edges[0]), abs(edges[-1])))[1]
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    n, mean, squares = 0, 0.0, 0.0
    for values in finite():
        if len(values) == 0:
            continue
        cells = np.searchsorted(edges, values, side="right") - 1
        counts += np.bincount(np.minimum(cells, len(counts) - 1), minlength=len(counts))
        scaled = np.ldexp(values.astype(np.float64), -scale)
        here = float(scaled.mean())
        shift = here - mean
        squares += float(np.square(scaled - here).sum()) + shift * shift * n * len(scaled) / (n + len(scaled))
        mean += shift * len(scaled) / (n + len(scaled))
        n += len(scaled)
    return math.ldexp(mean, scale), math.ldexp(math.sqrt(squares / n), scale), counts


def _quantiles(finite: Series, n: int, probabilities: Sequence[float]) -> dict[str, Number]:
    places = {q: q * (n - 1) for q in probabilities}
    ranks = sorted({rank for place in places.values() for rank in (math.floor(place), math.ceil(place))})
    values = dict(zip(ranks, order_statistics(finite, ranks), strict=True))
    return {
        f"{q:g}": _between(values[math.floor(place)], values[math.ceil(place)], place % 1)
        for q, place in places.items()
    }


def _between(low: Number, high: Number, share: float) -> Number:
    return low if low == high or share == 0 else low * (1 - share) + high * share


def order_statistics(series: Series, ranks: Sequence[int]) -> list[Number]:
    """The values at these ranks (0: the least) of a series without NaN.

    >>> order_statistics(lambda: iter([np.array([5, -1]), np.array([3])]), [0, 1])
    [-1, 3]
    """
    prefixes, left = [0] * len(ranks), list(ranks)
    kind = "i"
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS):
        tallies = {prefix: np.zeros(1 << _DIGIT_BITS, dtype=np.int64) for prefix in prefixes}
        for values in series():
            kind = values.dtype.kind
            _tally(ordered_bits(values), tallies, shift)
        for i, prefix in enumerate(prefixes):
            before = np.cumsum(tallies[prefix])
            digit = int(np.searchsorted(before, left[i], side="right"))
            left[i] -= int(before[digit - 1]) if digit else 0
            prefixes[i] = prefix << _DIGIT_BITS | digit
    return [value_of_bits(prefix, kind) for prefix in prefixes]


def _tally(keys: npt.NDArray[np.uint64], tallies: dict[int, npt.NDArray[np.int64]], shift: int) -> None:
    above = shift + _DIGIT_BITS
    for prefix, tally in tallies.items():
        chosen = keys if above == 64 else keys[keys >> np.uint64(above) == np.uint64(prefix)]
        digits = (chosen >> np.uint64(shift)) & np.uint64((1 << _DIGIT_BITS) - 1)
        tally += np.bincount(digits.astype(np.int64), minlength=len(tally))


def ordered_bits(values: Values) -> npt.NDArray[np.uint64]:
    """Unsigned integers in the order of the values."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    if values.dtype.kind == "i":
        return bits ^ _SIGN
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def value_of_bits(key: int, kind: str) -> Number:
    """The value that has these bits in `ordered_bits`, of an array of this kind: "i" or "f"."""
    bits = np.uint64(key)
    if kind == "i":
        return int((bits ^ _SIGN).view(np.int64))
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float64))
