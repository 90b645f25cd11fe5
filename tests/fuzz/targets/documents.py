"""Document files: whatever the bytes, the documents are those that Python's own parser finds, or an error of ours.

Made for documents that are lost without a word: a byte order mark, NaN, odd line ends, broken compression.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from dolma.data.dataset import Shard
from dolma.data.documents import Intake, Reading, read_batches
from dolma.errors import DataError
from tests.fuzz.choices import Choices

CODE = (
    "dolma/data/formats/records.py",
    "dolma/data/formats/parquet.py",
    "dolma/data/streams.py",
    "dolma/data/fields.py",
)
SEED = (
    b'{"id": "a", "text": "one two\\u00e9", "source": "web", "metadata": {"k": [1.5, null, true]}}\n'
    b'{"id": 7, "text": "", "added": "2024"}\r\n\n{"text": "\xc3\xa9 \\ud83d\\ude00"}\n'
)
WORDS = (
    *(b"\xef\xbb\xbf", b"NaN", b"Infinity", b"-Infinity", b"null", b"\n", b"\r", b"\r\n", b"\0", b"\\ud800", b"\xff"),
    *(
        b'{"text": "x", "n": NaN}\n',
        b'{"text": "y"}\n',
        b'"text"',
        b'"id": 1e5',
        b"[",
        b"{",
        b"}",
        b"\\u0000",
        b"1e999",
    ),
    *(b'"metadata": {"text": NaN}', b"\xed\xa0\x80", b"\xe2\x80\xa8", b" ", b"\xff\xfe", b"[" * 300),
)
_PACKED = {
    ".jsonl": bytes,
    ".jsonl.gz": lambda content: gzip.compress(content, 1, mtime=0),
    ".jsonl.zst": lambda content: zstandard.ZstdCompressor(level=1).compress(content),
    ".jsonl.bz2": lambda content: bz2.compress(content, 1),
    ".jsonl.xz": lambda content: lzma.compress(content, preset=0),
}


def check(choices: Choices, folder: Path) -> None:
    """Read a changed file in any packing and compare with what stands in it."""
    suffix = choices.pick([*_PACKED, ".parquet"])
    if suffix == ".parquet":
        content = choices.changed(_parquet())
    else:
        lines = choices.changed(SEED, WORDS)
        packed = _PACKED[suffix](lines)
        damaged = choices.chance(4)
        content = choices.changed(packed) if damaged else packed
    path = folder / f"x{suffix}"
    path.write_bytes(content)
    intake = Intake()
    reading = Reading(on_error="skip", batch_bytes=choices.pick([1 << 20, 64, 1]))
    shard = Shard(path=str(path), name="x", root=str(folder), inner="x", size=len(content))
    try:
        found = [text for batch in read_batches(shard, reading, intake=intake) for text in batch.texts()]
    except DataError:
        assert suffix == ".parquet" or damaged or _refused_whole(lines), f"refused: {lines!r}"
        return
    assert len(found) == intake.documents
    if suffix != ".parquet" and not damaged:
        expected, records, twice = _by_python(lines)
        assert intake.documents + intake.n_failed == records
        assert twice or found == expected


def _by_python(content: bytes) -> tuple[list[str], int, bool]:
    """The texts of all usable records, the number of records, and whether a key stands twice in one of them.

    Python takes the last of two, the reader refuses a record in which either is of the wrong kind.
    """
    texts, records, twice = [], 0, False

    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice |= len(dict(pairs)) < len(pairs)
        return dict(pairs)

    for line in content.split(b"\n"):
        line = line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\v\f")
        if not line:
            continue
        records += 1
        try:
            record = json.loads(line.decode("utf-8", "replace"), object_pairs_hook=once_each)
        except (ValueError, RecursionError):
            continue
        if _usable(record):
            texts.append(record["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return texts, records, twice


def _usable(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return False
    return all(_is_name(record.get(field)) for field in ("id", "source"))


def _is_name(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer() and abs(value) < 2**53
    return isinstance(value, str | int | None) and not isinstance(value, bool)


def _refused_whole(content: bytes) -> bool:
    """Whether the whole file is something else than JSON lines."""
    return not content or content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4]


def _parquet() -> bytes:
    table = pa.table({"id": ["a", "b", None], "text": ["one", "", "é"], "n": [1, None, 3], "s": [{"k": 1.0}, None, {}]})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()
