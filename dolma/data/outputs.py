"""What a tagger declares that it returns. Needs no Arrow until an output's Arrow type is asked for."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["int", "float", "bool", "text", "spans", "vector"]


@functools.cache
def _arrow_types() -> dict[Kind, pa.DataType]:
    import pyarrow as pa

    return {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "text": pa.string(),
        "spans": pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())])),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One declared measurement: what it means, its unit, and the values it can take.

    Numbers are held to a `range` such as `"0-1"`, `">= 0"`, `"< 5"`, `"[0, 1)"`, `"1"`, or several of these, as
    `"0-1, or -1"`; another text is for readers. `size`: how many numbers a vector has.
    """

    kind: Kind
    meaning: str
    unit: str = ""
    range: str = ""
    size: int = 0

    @property
    def arrow_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.list_(pa.float32(), self.size) if self.kind == "vector" else _arrow_types()[self.kind]

    @property
    def declared(self) -> dict[str, Any]:
        """What stands in manifests; `size` only of a vector."""
        return {key: value for key, value in asdict(self).items() if key != "size" or self.kind == "vector"}


def DocInt(meaning: str, *, unit: str = "", range: str = ">= 0") -> Output:
    """One integer per document."""
    return Output(kind="int", meaning=meaning, unit=unit, range=range)


def DocFloat(meaning: str, *, unit: str = "", range: str = "") -> Output:
    """One number per document."""
    return Output(kind="float", meaning=meaning, unit=unit, range=range)


def DocBool(meaning: str) -> Output:
    """One truth value per document."""
    return Output(kind="bool", meaning=meaning, range="true, false")


def DocText(meaning: str) -> Output:
    """One string per document."""
    return Output(kind="text", meaning=meaning)


def Spans(meaning: str, *, range: str = "") -> Output:
    """A list of `[start, end)` in code points per document, each with a score; `range` is the score's."""
    return Output(kind="spans", meaning=meaning, unit="code points", range=range)


def DocVector(meaning: str, *, size: int, unit: str = "") -> Output:
    """A list of `size` numbers per document, such as an embedding; float32."""
    return Output(kind="vector", meaning=meaning, unit=unit, size=size)
