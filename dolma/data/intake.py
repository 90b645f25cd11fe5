"""How records are read, and what came of it: the bad-record policy, the repair rule, and their counts.

One rule for damaged text, the same in every command: bytes that are not UTF-8 and lone surrogates each become U+FFFD
and are counted (`Intake.repaired`). A record that is no JSON object, or has no text, is a `RecordError` with file,
line and byte, or is left out and counted, as `Reading.on_error` says. Blank lines are no records.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Literal

import msgspec

from dolma.data import streams
from dolma.data.shards import Piece
from dolma.data.takedown import Takedown
from dolma.errors import RecordError

OnError = Literal["fail", "skip", "quarantine"]
BATCH_BYTES = 2 << 20  # small enough for the processor's cache: reading is 1.4 times faster than with 16 MiB
MAX_LINE_BYTES = 256 << 20
KEPT_BYTES = 4096  # of a record longer than that, in quarantine
LISTED_FAILURES = 100  # per task; all are counted


class Reading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records are read. Field names may be dotted paths (`metadata.body`)."""

    text: str = "text"
    id: str = "id"
    source: str = "source"
    on_error: OnError = "fail"
    quarantine: str | None = None
    invalid_unicode: Literal["replace", "error"] = "replace"
    max_line_bytes: int = MAX_LINE_BYTES
    batch_bytes: int = BATCH_BYTES
    limit: int | None = None
    """Only the first so many documents of the corpus (`dolma/data/limit.py`)."""
    takedown: Takedown | None = None
    """The documents that are passed over, as if they were not there (`dolma/data/takedown.py`)."""

    def __post_init__(self) -> None:
        if self.on_error == "quarantine" and not self.quarantine:
            raise ValueError("on_error `quarantine` needs a folder: set `quarantine`")
        for name in ("batch_bytes", "max_line_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    def as_made(self, config: Mapping[str, Any]) -> Reading:
        """This reading, with what the settings of a manifest say of how records were read; no quarantine."""
        known = {key: config[key] for key in ("on_error", "max_line_bytes", "invalid_unicode") if key in config}
        if known.get("on_error") == "quarantine":
            known["on_error"] = "skip"
        return msgspec.structs.replace(self, **known, **config.get("fields", {}))

    @property
    def identity(self) -> dict[str, Any]:
        """What of it decides which documents are read, and as what: a part of every manifest's settings."""
        return {
            "fields": {"text": self.text, "id": self.id, "source": self.source},
            "on_error": self.on_error,
            "max_line_bytes": self.max_line_bytes,
            "invalid_unicode": self.invalid_unicode,
            **({} if self.limit is None else {"limit": self.limit}),
            **({} if self.takedown is None else {"takedown": self.takedown.identity}),
        }


class FailedRecord(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A record that was left out: 1-based line (parquet: row), byte in the decompressed file, and why."""

    file: str
    line: int
    offset: int | None
    reason: str


class Intake:
    """What one task read: documents, UTF-8 bytes of text, records left out, characters repaired.

    `taken_down` has the documents, and their bytes, that were passed over of each source.
    """

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0
        self.n_failed = 0
        self.failed: list[FailedRecord] = []
        self.repaired: dict[str, int] = {}
        self.taken_down: dict[str, tuple[int, int]] = {}

    def take_down(self, source: str, n_bytes: int) -> None:
        """Count a document that is passed over."""
        documents, before = self.taken_down.get(source, (0, 0))
        self.taken_down[source] = documents + 1, before + n_bytes

    def repair(self, kind: str, n: int) -> None:
        """Count `n` replaced characters of a kind."""
        if n:
            self.repaired[kind] = self.repaired.get(kind, 0) + n


class Faults:
    """Applies the bad-record policy and the repair rule, for one task.

    A quarantine folder gets `<piece>.jsonl`, the records as they were, a line each, and `<piece>.reasons.jsonl`
    beside it; a task that does not end well leaves neither.
    """

    def __init__(self, piece: Piece, reading: Reading, intake: Intake) -> None:
        self.piece, self.reading, self.intake = piece, reading, intake
        self._stack = ExitStack()
        self._quarantine: tuple[streams.OutputStream, streams.OutputStream] | None = None

    def bad(self, raw: bytes, *, line: int, offset: int | None, reason: str, at: int | None = None) -> None:
        """Leave the record out, as `reading.on_error` says: it begins at `offset` and cannot be read at `at`.

        Raises:
            RecordError: it says "fail".
        """
        path = self.piece.shard.path
        if self.reading.on_error == "fail":
            raise RecordError(
                f"{reason}\n  `--on-error skip` or `--on-error quarantine` goes on without such records",
                file=path,
                line=line,
                offset=offset if at is None else at,
            )
        failure = FailedRecord(file=path, line=line, offset=offset, reason=reason)
        self.intake.n_failed += 1
        if len(self.intake.failed) < LISTED_FAILURES:
            self.intake.failed.append(failure)
        if self.reading.on_error == "quarantine":
            self._keep(raw, failure)

    def too_long(self, head: bytes, n_bytes: int, *, line: int, offset: int | None) -> None:
        """Apply the policy to a record of `n_bytes` bytes of which `head` is the beginning."""
        kept = head[:KEPT_BYTES]
        reason = f"a record of {n_bytes:,} bytes, over the limit of {self.reading.max_line_bytes:,}"
        if self.reading.on_error == "quarantine":
            reason += f"; its first {len(kept):,} are kept"
        elif self.reading.on_error == "fail":
            reason += "\n  `--max-line-bytes` sets another"
        self.bad(kept, line=line, offset=offset, reason=reason)

    def _keep(self, raw: bytes, failure: FailedRecord) -> None:
        if self._quarantine is None:
            base = streams.join(str(self.reading.quarantine), self.piece.key)
            records, reasons = (
                self._stack.enter_context(streams.open_output(base + suffix)) for suffix in (".jsonl", ".reasons.jsonl")
            )
            self._quarantine = records, reasons
        records, reasons = self._quarantine
        records.write(raw + b"\n")
        reasons.write(msgspec.json.encode(failure) + b"\n")

    def __enter__(self) -> Faults:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._stack.__exit__(kind, value, trace)
