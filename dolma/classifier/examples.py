"""Which documents a classifier is trained on and which it is judged by, as lines that fastText reads.

A line is the text with each newline a space, trimmed; in lower case if asked for. Words that would be commands to
fastText are left out: `</s>`, which ends a line, and those that begin with `__label__`. The tagger `fasttext` shows a
model its documents in the same way.

All choices follow from the seed and the text, never from names, ids or the order of files: a document stays on its
side of the split when others are added, and texts that differ in nothing but case and white space are on one side.
Memory is some 100 bytes per document, however long.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import xxhash

from dolma.classifier.labelled import NO_CLASS, Classes, Labelled
from dolma.data import streams
from dolma.errors import ConfigError, DataError
from dolma.runner.seeds import draws

Flags = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
_SPACE = b" \t\n\v\f\r\0"  # what fastText takes for space
_COMMAND = re.compile(b"(?<![^%b])(?:</s>(?![^%b])|__label__[^%b]*)" % (_SPACE, _SPACE, _SPACE))


def line_of(text: bytes, *, lower: bool = False) -> bytes:
    r"""The text (UTF-8) as a line, without its newline; empty if nothing is left of it.

    >>> line_of(b"One\nTwo </s> __label__x three\n", lower=True)
    b'one two   three'
    """
    if b"__label__" in text or b"</s>" in text:
        text = _COMMAND.sub(b"", text)
    line = text.replace(b"\n", b" ").strip(_SPACE)
    return line.decode().lower().encode() if lower else line


def side_key(line: bytes) -> int:
    """A number in `[0, 2**64)` that lines share which differ in nothing but case and white space.

    >>> side_key(b"One  two") == side_key(b"one TWO"), side_key(b"one two") == side_key(b"onetwo")
    (True, False)
    """
    return xxhash.xxh3_64_intdigest(" ".join(line.decode().lower().split()).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How documents are chosen.

    `per_class` documents of each class, or as many as the smallest has (`balanced`), or all. Of those, about the share
    `held_out` is not trained on.
    """

    per_class: int | None = None
    balanced: bool = True
    held_out: float = 0.1
    lower: bool = False
    seed: int = 0

    def held_out_of(self, keys: Int64) -> Flags:
        """Whether lines with these `side_key`s (their bits as int64) are on the side that is not trained on."""
        return draws(self.seed, "classifier held out", "", keys) < np.uint64(int(self.held_out * 2.0**64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Lines of chosen documents, in a file: line `i` is its bytes `starts[i]` to `ends[i]`.

    `classes` has the index of each one's label; `held_out` says which are not trained on; `order` is a permutation of
    all lines. `found`, `blank` and `unlabelled` count the documents read: per label, without text, and of no class.
    """

    path: Path
    labels: tuple[str, ...]
    starts: Int64
    ends: Int64
    classes: Classes
    held_out: Flags
    order: Int64
    found: tuple[int, ...]
    blank: int
    unlabelled: int

    def lines(self, rows: Int64) -> Iterator[tuple[int, bytes]]:
        """These lines, each with the index of its label."""
        with open(self.path, "rb") as file:
            for row in rows.tolist():
                file.seek(int(self.starts[row]))
                yield int(self.classes[row]), file.read(int(self.ends[row] - self.starts[row]))

    @property
    def trained(self) -> Int64:
        """Lines to train on, shuffled."""
        return self.order[~self.held_out[self.order]]

    @property
    def judged(self) -> Int64:
        """Lines to judge by."""
        return np.flatnonzero(self.held_out)

    def counts(self, rows: Int64) -> list[int]:
        """How many of these lines are of each class."""
        return np.bincount(self.classes[rows], minlength=len(self.labels)).tolist()


@contextmanager
def chosen_examples(labelled: Labelled, choice: Choice) -> Iterator[Examples]:
    """The lines of the documents that are chosen, for as long as the block lasts; documents are read twice.

    Raises:
        ConfigError: a class has no documents, or fewer than `per_class`.
        DataError: the documents were others when they were read again.
    """
    survey = _survey(labelled, lower=choice.lower)
    found = np.bincount(survey.classes, minlength=len(labelled.labels)).tolist()
    chosen = _chosen(survey, _wanted(found, labelled.labels, choice), seed=choice.seed)
    classes, digests = survey.classes[chosen], survey.digests[chosen]
    with TemporaryDirectory(prefix="dolma-classifier-") as folder:
        spool = Path(folder) / "lines"
        lengths, keys = _spooled(labelled, spool, chosen, digests, lower=choice.lower)
        ends = np.cumsum(lengths, dtype=np.int64)
        yield Examples(
            path=spool,
            labels=labelled.labels,
            starts=ends - lengths,
            ends=ends,
            classes=classes,
            held_out=choice.held_out_of(keys),
            order=np.lexsort((classes, draws(choice.seed, "classifier order", "", digests))),
            found=tuple(found),
            blank=survey.blank,
            unlabelled=survey.unlabelled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """All documents with a class and a line: its digest (its bits as int64) and its class; and how many others."""

    digests: Int64
    classes: Classes
    blank: int
    unlabelled: int


def _lines(labelled: Labelled, *, lower: bool) -> Iterator[tuple[int, bytes]]:
    """The class and the line of each document; the line of one without a class is not made."""
    for batch, classes in labelled:
        for i, index in enumerate(classes.tolist()):
            yield index, line_of(batch.encoded(i), lower=lower) if index != NO_CLASS else b""


def _survey(labelled: Labelled, *, lower: bool) -> _Survey:
    digests, classes = array("Q"), array("q")
    blank = unlabelled = 0
    for index, line in _lines(labelled, lower=lower):
        if line:
            digests.append(xxhash.xxh3_64_intdigest(line))
            classes.append(index)
        elif index == NO_CLASS:
            unlabelled += 1
        else:
            blank += 1
    return _Survey(digests=_int64(digests), classes=_int64(classes), blank=blank, unlabelled=unlabelled)


def _wanted(found: Sequence[int], labels: Sequence[str], choice: Choice) -> list[int]:
    for label, n in zip(labels, found, strict=True):
        if n == 0 or n < (choice.per_class or 0):
            wanted = f"{choice.per_class:,} were asked for" if choice.per_class else "at least two are needed"
            less = " or a smaller --per-class" if n and choice.per_class else ""
            raise ConfigError(f"the class {label!r} has {n:,} documents with text, {wanted}\n  give more of it{less}")
    if choice.per_class:
        return [choice.per_class] * len(found)
    return [min(found)] * len(found) if choice.balanced else list(found)


def _chosen(survey: _Survey, wanted: Sequence[int], *, seed: int) -> Flags:
    chosen = np.zeros(len(survey.digests), dtype=bool)
    numbers = draws(seed, "classifier choice", "", survey.digests)
    for index, n in enumerate(wanted):
        own = np.flatnonzero(survey.classes == index)
        chosen[own[np.argsort(numbers[own], kind="stable")[:n]]] = True
    return chosen


def _spooled(labelled: Labelled, spool: Path, chosen: Flags, digests: Int64, *, lower: bool) -> tuple[Int64, Int64]:
    """Write the chosen lines to `spool`; their lengths in bytes, and their `side_key`s."""
    lengths, keys, seen = array("q"), array("Q"), array("Q")
    flags = iter(chosen.tolist())
    with streams.open_output(str(spool)) as out:
        for _, line in _lines(labelled, lower=lower):
            if line and next(flags, True):
                out.write(line)
                lengths.append(len(line))
                keys.append(side_key(line))
                seen.append(xxhash.xxh3_64_intdigest(line))
    if not np.array_equal(_int64(seen), digests):
        raise DataError("the documents changed while they were read\n  run the command again when nothing writes them")
    return _int64(lengths), _int64(keys)


def _int64(numbers: array[int]) -> Int64:
    return np.frombuffer(numbers, dtype=np.int64)
