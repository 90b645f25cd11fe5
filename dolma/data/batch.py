"""`TextBatch`: some documents of one shard, as columns. What every stage works on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

View = TypeVar("View")


class TextBatch:
    """Documents in corpus order, their texts in one UTF-8 buffer.

    Invariants: `utf8` is valid UTF-8 without surrogates; `offsets` is non-decreasing int64 of shape `(n_docs + 1,)`,
    starts at 0 and ends at `len(utf8)`; document `i` is `utf8[offsets[i]:offsets[i + 1]]`; `ids`, `sources` and
    `lines` have `n_docs` items. `lines` holds the 1-based line (JSONL) or row (parquet) of each document in its
    file `path`. `records` and `metadata`, when asked of the reader, hold each document's whole JSON object and the
    JSON text of its `metadata`; else None. `view_seconds` is how long each view took, by the name of its function.

    >>> batch = TextBatch.of(["a b", "é"])
    >>> len(batch), batch.offsets.tolist(), batch.text(1)
    (2, [0, 3, 5], 'é')
    """

    __slots__ = ("_views", "ids", "lines", "metadata", "offsets", "path", "records", "sources", "utf8", "view_seconds")

    def __init__(
        self,
        *,
        utf8: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        ids: Sequence[str],
        sources: Sequence[str],
        lines: npt.NDArray[np.int64],
        path: str = "",
        records: list[bytes] | None = None,
        metadata: Sequence[bytes | None] | None = None,
    ) -> None:
        self.utf8, self.offsets, self.ids, self.sources, self.lines = utf8, offsets, ids, sources, lines
        self.path, self.records, self.metadata = path, records, metadata
        self._views: dict[Callable[..., Any], Any] = {}
        self.view_seconds: dict[str, float] = {}

    @classmethod
    def of(cls, texts: Iterable[str], **fields: Any) -> TextBatch:
        """A batch of these texts, with ids "0", "1", … unless given. Lone surrogates become U+FFFD."""
        encoded = [clean_text(text)[0].encode() for text in texts]
        utf8 = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        n_docs = len(encoded)
        defaults: dict[str, Any] = {
            "ids": [str(i) for i in range(n_docs)],
            "sources": [""] * n_docs,
            "lines": np.arange(1, n_docs + 1, dtype=np.int64),
        }
        return cls(utf8=utf8, offsets=offsets_of(encoded), **(defaults | fields))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def first(self, n: int) -> TextBatch:
        """The first `n` documents, or all where there are fewer; without views."""
        if n >= len(self):
            return self
        return TextBatch(
            utf8=self.utf8[: self.offsets[n]],
            offsets=self.offsets[: n + 1],
            ids=self.ids[:n],
            sources=self.sources[:n],
            lines=self.lines[:n],
            path=self.path,
            records=None if self.records is None else self.records[:n],
            metadata=None if self.metadata is None else self.metadata[:n],
        )

    def drain(self) -> list[bytes]:
        """The records, which the batch then has no more, nor texts: a long one is in memory as few times as can be."""
        assert self.records is not None
        records, self.records = self.records, None
        self.utf8 = self.utf8[:0].copy()
        self._views.clear()
        return records

    def taken(self, rows: npt.NDArray[np.int64]) -> TextBatch:
        """These documents alone, in this order; what the batch was found to hold is not taken along.

        >>> TextBatch.of(["a", "bc", ""]).taken(np.array([2, 1])).texts()
        ['', 'bc']
        """
        chosen = rows.tolist()
        texts = [self.utf8[self.offsets[i] : self.offsets[i + 1]] for i in chosen]
        return TextBatch(
            utf8=np.concatenate([self.utf8[:0], *texts]),
            offsets=np.concatenate([[0], np.cumsum(self.n_bytes[rows])]).astype(np.int64),
            ids=[self.ids[i] for i in chosen],
            sources=[self.sources[i] for i in chosen],
            lines=self.lines[rows],
            path=self.path,
            records=None if self.records is None else [self.records[i] for i in chosen],
            metadata=None if self.metadata is None else [self.metadata[i] for i in chosen],
        )

    @property
    def n_bytes(self) -> npt.NDArray[np.int64]:
        """UTF-8 bytes of each document; int64, shape `(n_docs,)`."""
        return np.diff(self.offsets)

    def text(self, i: int) -> str:
        """The text of document `i`."""
        return self.encoded(i).decode()

    def encoded(self, i: int) -> bytes:
        """The UTF-8 bytes of document `i`."""
        return self.utf8[self.offsets[i] : self.offsets[i + 1]].tobytes()

    def texts(self) -> list[str]:
        """All texts, in order."""
        whole = self.utf8.tobytes()
        bounds = self.offsets.tolist()
        return [whole[start:end].decode() for start, end in itertools.pairwise(bounds)]

    def view(self, compute: Callable[..., View], *needs: Callable[..., Any]) -> View:
        """`compute(utf8, offsets)`, computed at most once per batch however many taggers ask for it.

        `needs` are other views, which it takes behind these two; always the same ones.
        """
        if compute not in self._views:
            given = [self.view(need) for need in needs]
            began = time.perf_counter()
            self._views[compute] = compute(self.utf8, self.offsets, *given)
            name = getattr(compute, "__name__", type(compute).__name__)
            self.view_seconds[name] = self.view_seconds.get(name, 0.0) + time.perf_counter() - began
        return self._views[compute]

    def found(self, compute: Callable[..., View]) -> View | None:
        """What `view(compute)` gave to somebody before, or None if nobody has asked."""
        return self._views.get(compute)


def offsets_of(encoded: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Where each item begins in the joined buffer, and where the last ends; int64, shape `(n + 1,)`."""
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), out=offsets[1:])
    return offsets


def clean_text(text: str) -> tuple[str, int]:
    """The text with each lone surrogate replaced by U+FFFD, and how many there were.

    One code point stays one code point, so offsets into the text keep their meaning.

    >>> clean_text("a\\ud800b")
    ('a\\ufffdb', 1)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        n_surrogates = sum("\ud800" <= character <= "\udfff" for character in text)
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text), n_surrogates
    return text, 0
