"""The journal of an unfinished stage: which run it is, and one record per finished task.

    <set>/.journal/run.json               in every set: format version and the fingerprints of all sets of the run
    <first set>/.journal/<phase>/<key>.json   xxh3-128 of the task's key; the key and its `TaskResult`
    <first set>/.journal/<phase>/released.json   which of the phase's intermediate files are used up

Records name outputs by the number of their set, so that a run may be resumed from another working directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import xxhash

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import FileSet, OutputFile
from dolma.errors import DataError
from dolma.printable import printable
from dolma.runner.standing import HEADER, JOURNAL
from dolma.runner.task import TaskResult

FORMAT_VERSION = 2
RELEASED = "released.json"
REMOTE_READERS = 16  # records read at once where each costs a round trip


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`: two runs are the same when their headers are."""

    format_version: int
    fingerprints: list[str]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One finished task."""

    key: str
    result: TaskResult


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """`released.json`: files below `below` in the work folder are freed; the phases `read_by` are done with them."""

    below: str
    read_by: list[str]

    def covers(self, out: OutputFile, work: str) -> bool:
        """Whether this output of the phase is not needed any more."""
        return out.set == work and out.path.startswith(self.below)


def header_of(sets: Sequence[FileSet]) -> Header:
    """The header of the run that makes these sets."""
    return Header(format_version=FORMAT_VERSION, fingerprints=[file_set.fingerprint for file_set in sets])


def read_header(folder: str) -> Header | None:
    """The header of the unfinished run in this folder, or None when there is none.

    Raises:
        DataError: it is not one of ours.
    """
    path = streams.join(folder, HEADER)
    try:
        return decode_json(streams.read_bytes(path), Header)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        raise DataError(f"not a journal: {printable(error)}\n  move this folder's .journal away", file=path) from error


def write_header(folder: str, header: Header) -> None:
    """Mark the folder as an unfinished run's."""
    streams.write_bytes(streams.join(folder, HEADER), msgspec.json.encode(header))


class Journal:
    """The records of one run."""

    __slots__ = ("_folders", "_home")

    def __init__(self, sets: Sequence[FileSet], *, work: str) -> None:
        self._home = streams.join(sets[0].folder, JOURNAL)
        self._folders = {str(i): file_set.folder for i, file_set in enumerate(sets)}
        self._folders["work"] = work

    def write(self, phase: str, key: str, result: TaskResult) -> TaskResult:
        """Record a finished task; returns its result as a later `read` will."""
        names = {folder: name for name, folder in self._folders.items()}
        for out in result.outputs:
            if out.set not in names:
                raise ValueError(
                    f"{key}: wrote {printable(out.path)} in {printable(out.set)}, which is no file set of this stage"
                )
        numbered = _placed(result, names)
        encoded = msgspec.json.encode(Record(key=key, result=numbered))
        streams.write_bytes(self._path(phase, key), encoded)
        return _placed(msgspec.json.decode(encoded, type=Record).result, self._folders)

    def read(self, phase: str, keys: Iterable[str]) -> dict[str, TaskResult]:
        """The results, by key, of those tasks that are finished and whose outputs are still there, in size."""
        there = {path.rpartition("/")[2] for path in streams.list_files(self._folder(phase))}
        found = [key for key in keys if _name(key) in there]
        read = partial(self._read, phase)
        if streams.is_url(self._home):
            with ThreadPoolExecutor(REMOTE_READERS) as pool:
                results = list(pool.map(read, found))
        else:
            results = list(map(read, found))
        return {key: result for key, result in zip(found, results, strict=True) if result is not None}

    def released(self, phase: str) -> Released | None:
        """Which files of the phase are used up; None where all of them are kept."""
        path = streams.join(self._folder(phase), RELEASED)
        try:
            return decode_json(streams.read_bytes(path), Released)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise DataError(f"not a task's record: {printable(error)}", file=path) from error

    def release(self, phase: str, released: Released, results: Iterable[TaskResult]) -> None:
        """Note that files are used up, then remove them: a kill in between leaves some, and a second call none."""
        if self.released(phase) is None:
            streams.write_bytes(streams.join(self._folder(phase), RELEASED), msgspec.json.encode(released))
        for result in results:
            for out in result.outputs:
                if released.covers(out, self._folders["work"]):
                    streams.remove(streams.join(out.set, out.path))

    def keep(self, phase: str) -> None:
        """Take back that files of the phase are used up."""
        streams.remove(streams.join(self._folder(phase), RELEASED))

    def _read(self, phase: str, key: str) -> TaskResult | None:
        path = self._path(phase, key)
        try:
            record = decode_json(streams.read_bytes(path), Record)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise DataError(f"not a task's record: {printable(error)}", file=path) from error
        result = _placed(record.result, self._folders)
        gone = [out for out in result.outputs if not _is_there(out)]
        released = self.released(phase) if gone else None  # looked at after them: it is written before they go
        return result if all(released and released.covers(out, self._folders["work"]) for out in gone) else None

    def _folder(self, phase: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", phase):
            raise ValueError(f"phase {phase!r}: letters, digits, '-' and '_' only")
        return streams.join(self._home, phase)

    def _path(self, phase: str, key: str) -> str:
        return streams.join(self._folder(phase), _name(key))


def _name(key: str) -> str:
    return f"{xxhash.xxh3_128_hexdigest(key.encode())}.json"


def _placed(result: TaskResult, places: dict[str, str]) -> TaskResult:
    outputs = [msgspec.structs.replace(out, set=places[out.set]) for out in result.outputs]
    return msgspec.structs.replace(result, outputs=outputs)


def _is_there(out: OutputFile) -> bool:
    return streams.size(streams.join(out.set, out.path)) == out.bytes
