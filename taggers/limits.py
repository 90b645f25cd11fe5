"""One document at a time where one of many fails: what a tagger may take, and what becomes of a document beyond that.

A tagger is called with a whole batch. Only if that raises an error, or takes longer than one document may, is it called
again with each document alone; those that fail so have no values, and say why in the output `error`. All others have
the values that they would have had without them. Nothing is lost, and nothing is decided here: rules do that.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import TagConfig
from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, check_columns
from dolma.data.intake import FailedRecord
from dolma.data.ranges import undeclared
from dolma.errors import DolmaError, RecordError
from dolma.printable import text_of
from dolma.taggers.compiling import characters_of
from dolma.taggers.tagger import (
    ERROR,
    SIZE_LIMIT,
    TIME_LIMIT,
    Tagger,
    in_same_folder,
    one_by_one,
    outputs_of,
    raised_at,
)

_LONGEST = 200  # characters of an error
_MANY = 10  # documents: when all of so many fail, the tagger is at fault


class _OverTime(BaseException):
    """The tagger has taken longer than it may. No `Exception`, so that no tagger catches it by mistake."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises `_OverTime` in the block once that many seconds have passed, by a timer signal.

    Python runs signal handlers in the main thread, between two of its own steps. So there is no limit in another
    thread; and native code is stopped when it comes back, save what looks for signals itself, as `re` does. A timer
    that the program had set goes on afterwards.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        if armed:
            raise _OverTime

    before = signal.signal(signal.SIGALRM, ring)
    began = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, left - (time.monotonic() - began)), interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one document may be and take; `stop`: the first error of a tagger ends the run."""

    max_bytes: int | None = None
    max_seconds: float | None = None
    stop: bool = False

    @classmethod
    def of(cls, config: TagConfig) -> Limits:
        """Those of a recipe, where 0 seconds are no limit."""
        return cls(
            max_bytes=config.max_document_bytes,
            max_seconds=config.max_seconds_per_document or None,
            stop=config.on_tagger_error == "fail",
        )

    def within(self, batch: TextBatch) -> npt.NDArray[np.bool_] | None:
        """Which documents are not too long; None if all are."""
        if self.max_bytes is None:
            return None
        within = batch.n_bytes <= self.max_bytes
        return None if within.all() else within


def measure(tagger: Tagger, batch: TextBatch, limits: Limits, *, within: TextBatch | None = None) -> Columns:
    """The tagger's columns, and `error`, a text that is null where they have values.

    `within` is the part of the batch that is not beyond the size limit, if that is not all of it.

    Raises:
        RecordError: an error of the tagger ends the run, or it fails on every one of many documents, or it returns
            something else than it declares.
    """
    if within is None:
        return _isolated(tagger, batch, limits)
    return _spread(_isolated(tagger, within, limits), batch, limits)


def first_of(errors: pa.Array, batch: TextBatch) -> dict[str, FailedRecord]:
    """The first document of each kind that `counts_of` counts, and its error."""
    found: dict[str, FailedRecord] = {}
    for i, error in enumerate(errors.to_pylist() if errors.null_count < len(errors) else ()):
        if error is not None:
            reason = f"document {batch.ids[i]!r}: {error}"
            record = FailedRecord(file=batch.path, line=int(batch.lines[i]), offset=None, reason=reason)
            found.setdefault(error.partition(":")[0], record)
    return found


def counts_of(errors: pa.Array) -> dict[str, int]:
    """How many errors there are of each kind: a limit, or the name of an exception.

    >>> counts_of(pa.array([None, "ValueError: x", "ValueError: y", "size limit: 9 bytes, at most 5"]))
    {'ValueError': 2, 'size limit': 1}
    """
    counts: dict[str, int] = {}
    if errors.null_count < len(errors):
        for error in errors.drop_null().to_pylist():
            kind = error.partition(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def select(batch: TextBatch, rows: npt.NDArray[np.bool_]) -> TextBatch:
    """The documents of these rows, as a batch of their own."""
    chosen = np.flatnonzero(rows).tolist()
    parts = [batch.utf8[batch.offsets[i] : batch.offsets[i + 1]] for i in chosen]
    offsets = np.zeros(len(chosen) + 1, dtype=np.int64)
    np.cumsum(batch.n_bytes[rows], out=offsets[1:])
    return TextBatch(
        utf8=np.concatenate([*parts, np.empty(0, np.uint8)]),
        offsets=offsets,
        ids=[batch.ids[i] for i in chosen],
        sources=[batch.sources[i] for i in chosen],
        lines=batch.lines[rows],
        path=batch.path,
        metadata=None if batch.metadata is None else [batch.metadata[i] for i in chosen],
    )


def _isolated(tagger: Tagger, batch: TextBatch, limits: Limits) -> Columns:
    columns = _searched(tagger, batch, limits)
    errors = columns[ERROR]
    if len(batch) >= _MANY and errors.null_count == 0 and TIME_LIMIT not in counts_of(errors):
        raise _stopped(tagger, batch, errors[0].as_py(), "it fails on every document of a batch: is it right?")
    return columns


def _searched(tagger: Tagger, batch: TextBatch, limits: Limits) -> Columns:
    """The columns of all documents; where some fail, of both halves, until they stand alone."""
    if len(batch) > 1 and one_by_one(tagger):
        n_parts = len(batch)
    else:
        found = _answer(tagger, batch, limits)
        if isinstance(found, dict):
            return _as_declared(tagger, batch, found, limits)
        if len(batch) == 1:
            return _without_values(tagger, batch, found, limits)
        # Each half could wait for the same slow document again: then one by one.
        n_parts = len(batch) if found.startswith(TIME_LIMIT) else 2
    bounds = np.linspace(0, len(batch), n_parts + 1).astype(int).tolist()
    parts = [_searched(tagger, _slice(batch, *pair), limits) for pair in itertools.pairwise(bounds)]
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in outputs_of(tagger)}


def _answer(tagger: Tagger, batch: TextBatch, limits: Limits) -> Columns | str:
    """The columns of the batch, checked, or what went wrong."""
    try:
        with time_limit(limits.max_seconds), in_same_folder():
            columns = tagger(batch)
    except _OverTime:
        return f"{TIME_LIMIT}: more than {limits.max_seconds:g} s"
    except RecordError as error:
        return f"{type(error).__name__}: {error.message}"
    except DolmaError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of SystemExit the command would end with status 0 and without outputs
        if _raised_by_signal(error):
            raise
        if limits.stop and len(batch) == 1:
            raise _stopped(tagger, batch, _said(error), _HINT) from error
        return _said(error)
    try:
        return check_columns(columns, outputs=tagger.outputs, n_docs=len(batch), tagger=tagger.name)
    except ValueError as error:
        raise RecordError(
            f"the tagger {tagger.name!r} failed: {_said(error)}\n  see docs/tag.md, 'Your own tagger'",
            file=batch.path,
            line=int(batch.lines[0]),
        ) from error


def _raised_by_signal(error: BaseException) -> bool:
    """Whether a handler of a signal has raised it: it is meant for the program, and not the tagger's."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))


def _as_declared(tagger: Tagger, batch: TextBatch, columns: Columns, limits: Limits) -> Columns:
    """The columns and `error`; no values for documents that have one outside its range, or a span outside its text."""
    odd = undeclared(columns, outputs=tagger.outputs, code_points=lambda: characters_of(batch))
    if not odd:
        return columns | {ERROR: pa.nulls(len(batch), pa.string())}
    if limits.stop:
        first = min(odd)
        raise _stopped(tagger, _slice(batch, first, first + 1), odd[first], _HINT)
    rows = pa.array([None if i in odd else i for i in range(len(batch))], pa.int64())
    errors = [odd[i][:_LONGEST] if i in odd else None for i in range(len(batch))]
    return {name: column.take(rows) for name, column in columns.items()} | {ERROR: pa.array(errors, pa.string())}


_HINT = "without `--on-tagger-error fail` such documents have no values, and an `error` that says why"


def _without_values(tagger: Tagger, batch: TextBatch, error: str, limits: Limits) -> Columns:
    if limits.stop:
        raise _stopped(tagger, batch, error, _HINT)
    nothing = {name: pa.nulls(1, output.arrow_type) for name, output in tagger.outputs.items()}
    return nothing | {ERROR: pa.array([error[:_LONGEST]], pa.string())}


def _stopped(tagger: Tagger, batch: TextBatch, error: str, hint: str) -> RecordError:
    return RecordError(
        f"the tagger {tagger.name!r} failed on document {batch.ids[0]!r}: {error}\n  {hint}",
        file=batch.path,
        line=int(batch.lines[0]),
    )


def _said(error: BaseException) -> str:
    place = raised_at(error)
    said = f"{type(error).__name__}: {text_of(error)}".encode(errors="backslashreplace").decode()  # a column is UTF-8
    return " ".join(said.split()) + (f" ({place})" if place else "")


def _slice(batch: TextBatch, start: int, end: int) -> TextBatch:
    """Documents `[start, end)` as a batch of their own."""
    first, last = int(batch.offsets[start]), int(batch.offsets[end])
    return TextBatch(
        utf8=batch.utf8[first:last],
        offsets=batch.offsets[start : end + 1] - first,
        ids=batch.ids[start:end],
        sources=batch.sources[start:end],
        lines=batch.lines[start:end],
        path=batch.path,
        metadata=None if batch.metadata is None else batch.metadata[start:end],
    )


def _spread(columns: Mapping[str, pa.Array], batch: TextBatch, limits: Limits) -> Columns:
    """The columns of the documents within the size limit, with rows for those beyond it."""
    n_bytes = batch.n_bytes.tolist()
    rows, errors, n = [], [], 0
    for size in n_bytes:
        beyond = size > (limits.max_bytes or 0)
        rows.append(None if beyond else n)
        errors.append(f"{SIZE_LIMIT}: {size} bytes, at most {limits.max_bytes}" if beyond else None)
        n += not beyond
    taken = pa.array(rows, pa.int64())
    spread = {name: column.take(taken) for name, column in columns.items()}
    found = spread[ERROR].to_pylist()
    return spread | {ERROR: pa.array([own or other for own, other in zip(errors, found, strict=True)], pa.string())}
