"""Values outside the range that their output declares, and spans outside their text.

Costs 3 to 6 us per column and batch where there are none.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.columns import Columns, Output

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_INTERVAL = re.compile(rf"(>=|>|<=|<) {_NUMBER}|{_NUMBER}(?:-{_NUMBER})?|\[{_NUMBER}, {_NUMBER}\)")
_BETWEEN = re.compile(r", or | or |, (?![^\[]*\))")
_ROUNDING = 1e-9  # of sums and quotients that would end at a bound


def undeclared(
    columns: Columns, *, outputs: Mapping[str, Output], code_points: Callable[[], npt.NDArray[np.int64]]
) -> dict[int, str]:
    """Why documents have a value outside its output's range, or a span outside their text: the first, by document.

    `code_points` gives those of each text, and is called if there are spans. NULL and NaN are in every range.
    """
    found: dict[int, str] = {}
    for name, output in outputs.items():
        if output.kind == "spans":
            for document, why in _odd_spans(columns[name], output, code_points):
                found.setdefault(document, f"span: {name!r} has {why}")
        elif output.kind in ("int", "float"):
            for document in _outside(columns[name], output.range):
                value = columns[name][document]
                found.setdefault(document, f"range: {name!r} is {value}, declared {output.range}")
    return found


def _odd_spans(
    column: pa.ListArray, output: Output, code_points: Callable[[], npt.NDArray[np.int64]]
) -> Iterator[tuple[int, str]]:
    spans = column.flatten()
    if not len(spans):
        return
    documents = np.repeat(np.arange(len(column)), column.value_lengths().fill_null(0).to_numpy())
    starts, ends, scores = spans.flatten()
    first, last = (positions.fill_null(-1).to_numpy() for positions in (starts, ends))
    n_points = code_points()[documents]
    for k in np.flatnonzero((first < 0) | (first > last) | (last > n_points)).tolist():
        yield int(documents[k]), f"[{starts[k]}, {ends[k]}) in a text of {n_points[k]} code points"
    for k in _outside(scores, output.range):
        yield int(documents[k]), f"the score {scores[k]}, declared {output.range}"


def _outside(column: pa.Array, range: str) -> list[int]:
    """Where the values are outside the range."""
    intervals = _intervals(range)
    if not intervals or not len(column):
        return []
    import pyarrow.compute as pc

    ends = pc.min_max(column)  # of what is neither NULL nor NaN
    least, most = ends["min"].as_py(), ends["max"].as_py()
    if least is None or any(low <= least and most <= high for low, high in intervals):
        return []
    values = column.to_numpy(zero_copy_only=False)
    inside = np.isnan(values)
    for low, high in intervals:
        inside |= (values >= low) & (values <= high)
    found: list[int] = np.flatnonzero(~inside).tolist()
    return found


@functools.cache
def _intervals(range: str) -> tuple[tuple[float, float], ...]:
    """The least and the greatest number of each interval; none if the range is no such text.

    >>> [[round(number, 5) for number in pair] for pair in _intervals("0-1, or -1")]
    [[-0.0, 1.0], [-1.0, -1.0]]
    >>> _intervals("seconds")
    ()
    """
    parts = [_INTERVAL.fullmatch(part) for part in _BETWEEN.split(range)]
    return tuple(_bounds(match) for match in parts if match) if all(parts) else ()


def _bounds(match: re.Match[str]) -> tuple[float, float]:
    sign, bound, low, high, from_, below = match.groups()
    if sign:
        number = float(bound)
        strict = {">": math.nextafter(number, math.inf), "<": math.nextafter(number, -math.inf)}
        if sign.startswith(">"):
            return strict.get(sign, number - _ROUNDING), math.inf
        return -math.inf, strict.get(sign, number + _ROUNDING)
    if from_:
        return float(from_) - _ROUNDING, math.nextafter(float(below), -math.inf)
    return float(low) - _ROUNDING, float(high or low) + _ROUNDING
