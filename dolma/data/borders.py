"""`borders.json`: where buckets of a measurement begin, so that another corpus is divided in the same places.

`dolma stat --borders` writes it, a mix with `strata` reads it. Bucket 1 has the lowest values. The border of bucket
`i + 1` of `n` is the value of rank `floor(i * count / n)` (0: the least) of the documents that it was made of, and is
in that bucket: so each has as many documents, but for equal values, which are never parted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError, DataError
from dolma.printable import printable

BORDERS = "borders.json"
FORMAT_VERSION = 1
_MOST_BYTES = 64 << 20


class Bordered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The borders of some documents, in rising order, one fewer than buckets; `count` had a finite value."""

    count: int
    borders: list[float]


class AttributeBorders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The borders of one attribute: of all documents, under "", or by the values of the attribute `by`."""

    attribute: str
    buckets: int
    by: str | None = None
    of: dict[str, Bordered]

    def buckets_of(self, values: npt.NDArray[np.float64], label: str) -> npt.NDArray[np.int64]:
        """The bucket of each value, 1 to `buckets`, where `by` has this value (else ""); int64, of the same shape.

        >>> of = AttributeBorders(attribute="a.b", buckets=2, of={"": Bordered(count=4, borders=[0.5])})
        >>> of.buckets_of(np.array([0.4, 0.5, 9.0]), "").tolist()
        [1, 2, 2]

        Raises:
            KeyError: there are no borders for this label.
        """
        return np.searchsorted(np.array(self.of[label].borders), values, side="right") + 1


class BordersFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    format_version: int = FORMAT_VERSION
    attributes: list[AttributeBorders]


def ranks_of(count: int, buckets: int) -> list[int]:
    """The ranks of the borders.

    >>> ranks_of(10, 4)
    [2, 5, 7]
    """
    return [i * count // buckets for i in range(1, buckets)]


def borders_json(attributes: Iterable[AttributeBorders]) -> bytes:
    """What the file holds."""
    return msgspec.json.format(msgspec.json.encode(BordersFile(attributes=list(attributes)))) + b"\n"


def read_borders(path: str, attribute: str, *, key: str) -> AttributeBorders:
    """The borders of an attribute in a file; `key` is the path in the recipe where it is named.

    Raises:
        ConfigError: there is no such file, it is none of borders, or has none of the attribute.
    """
    shown = printable(path)
    try:
        found = decode_json(streams.read_bytes(path, limit=_MOST_BYTES), BordersFile)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no such file: {shown}\n  write it: `dolma stat --borders {attribute}=20 --output DIR`", path=key
        ) from error
    except (msgspec.DecodeError, DataError) as error:
        raise ConfigError(
            f"{shown} has no borders: {printable(error)}\n  give the {BORDERS} that `dolma stat --borders` wrote",
            path=key,
        ) from error
    if found.format_version != FORMAT_VERSION:
        raise ConfigError(
            f"{shown} has format {found.format_version}, expected {FORMAT_VERSION}\n  write it again: `dolma stat`",
            path=key,
        )
    of = next((of for of in found.attributes if of.attribute == attribute), None)
    if of is None:
        names = ", ".join(printable(one.attribute) for one in found.attributes)
        raise ConfigError(
            f"{shown} has borders of {names or 'nothing'}, not of {attribute!r}"
            f"\n  write them: `dolma stat --borders {attribute}=20`",
            path=key,
        )
    if not of.of or any(not _are_borders(one.borders, of.buckets) for one in of.of.values()):
        raise ConfigError(
            f"{shown} has no {of.buckets - 1} rising numbers for {attribute!r}\n  write it again: `dolma stat`",
            path=key,
        )
    return of


def _are_borders(borders: Sequence[float], buckets: int) -> bool:
    return len(borders) == buckets - 1 and list(borders) == sorted(borders)


def labels_of(borders: Mapping[str, Bordered]) -> str:
    """The values that have borders, for messages."""
    return ", ".join(map(printable, borders))
