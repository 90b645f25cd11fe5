"""From files as they are to be to files as they are: staged beside their places, listed in a journal, renamed.

    <folder of a file>/.takedown/<its name>    the file as it is to be
    <folder of a file>/.takedown/.home         the path of the home of that take-down
    <home>/.takedown/journal.json              `Journal`: there once all files are staged, gone once all are in place

Everything before the journal is undone by removing `.takedown`; everything after it is done again until it is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.takedown import STAGED
from dolma.errors import ConfigError, DataError
from dolma.printable import printable

JOURNAL = f"{STAGED}/journal.json"
_HOME = ".home"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is staged, where it belongs, and xxh3-128 of it."""

    staged: str
    path: str
    checksum: str


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, in this order; paths are absolute. `receipt` says what was done when it is."""

    moves: list[Move]
    removals: list[str]
    receipt: dict[str, Any]


class Staging:
    """Files that are to take the place of others, or to go. A context manager: what is not committed leaves nothing."""

    def __init__(self, home: str) -> None:
        self.home = os.path.abspath(home)
        self._places: list[tuple[str, str]] = []
        self._removals: list[str] = []
        self._folders: set[str] = {os.path.join(self.home, STAGED)}

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *exc: object) -> None:
        for folder in self._folders:
            streams.remove_tree(folder)

    def place(self, path: str) -> str:
        """Where the file is to be written that takes the place of this one."""
        path = os.path.abspath(path)
        folder = os.path.join(os.path.dirname(path), STAGED)
        if folder not in self._folders:
            self._folders.add(folder)
            streams.write_bytes(os.path.join(folder, _HOME), os.fsencode(self.home))
        staged = os.path.join(folder, os.path.basename(path))
        if (staged, path) not in self._places:
            self._places.append((staged, path))
        return staged

    def remove(self, path: str) -> None:
        """Have a file removed."""
        self._removals.append(os.path.abspath(path))

    def commit(self, receipt: dict[str, Any]) -> None:
        """Put all of it in place."""
        moves = [Move(staged=staged, path=path, checksum=streams.checksum(staged)) for staged, path in self._places]
        journal = Journal(moves=moves, removals=self._removals, receipt=receipt)
        streams.write_bytes(os.path.join(self.home, JOURNAL), msgspec.json.encode(journal))
        self._folders = set()  # from here on only forwards
        finish(self.home)


def finish(home: str) -> dict[str, Any] | None:
    """Do what a journal in this folder says; its receipt, None where there is no journal.

    Raises:
        DataError: a staged file is gone, or the journal is none of ours.
    """
    path = os.path.join(os.path.abspath(home), JOURNAL)
    try:
        journal = decode_json(streams.read_bytes(path), Journal)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DataError(
            f"is no journal of a take-down: {printable(error)}\n  put the file back as it was", file=path
        ) from error
    for move in journal.moves:
        if os.path.exists(move.staged):
            os.replace(move.staged, move.path)
        elif not os.path.exists(move.path) or streams.checksum(move.path) != move.checksum:
            raise DataError(
                "is not what the take-down that was interrupted has made of it, and that is gone\n"
                "  put the folder back as it was before, and take down again",
                file=move.path,
            )
    for removed in journal.removals:
        streams.remove(removed)
    folders = {os.path.dirname(move.staged) for move in journal.moves} | {os.path.dirname(path)}
    _flush({os.path.dirname(folder) for folder in folders})
    for folder in folders:
        streams.remove(os.path.join(folder, _HOME))
    streams.remove(path)
    for folder in folders:
        with suppress(OSError):
            os.rmdir(folder)
    return journal.receipt


def begun_elsewhere(folders: Iterable[str], home: str) -> Iterator[str]:
    """The homes, but for this one, of the take-downs that have staged files in these folders."""
    for folder in folders:
        staged = os.path.join(os.path.abspath(folder), STAGED)
        with suppress(FileNotFoundError):
            of = os.fsdecode(streams.read_bytes(os.path.join(staged, _HOME)))
            if of != os.path.abspath(home):
                yield of


def refuse_committed(folders: Iterable[str], home: str) -> None:
    """Return when no take-down of another home is still to be finished in these folders.

    Raises:
        ConfigError: one is.
    """
    for of in sorted({*folders, *begun_elsewhere(folders, home)}):
        if os.path.abspath(of) != os.path.abspath(home) and os.path.exists(os.path.join(of, JOURNAL)):
            raise ConfigError(
                f"a take-down in {printable(of)} was interrupted and is still to be finished"
                "\n  run its command again, with that recipe or that folder first; then this one"
            )


def discard(folders: Iterable[str]) -> None:
    """Remove what a take-down has staged in these folders, and has not committed."""
    for folder in folders:
        streams.remove_tree(os.path.join(folder, STAGED))


def _flush(folders: Iterable[str]) -> None:
    """Have the renames in these folders survive a loss of power."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
