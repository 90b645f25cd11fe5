"""The journal of an unfinished stage: which run it is, and one record per finished task.

    <set>/.journal/run.json               in every set: format version, the fingerprints of all sets of the run, and
                                          what decides this one's, for messages
    <first set>/.journal/<phase>/<key>.json   xxh3-128 of the task's key; the key and its `TaskResult`
    <first set>/.journal/<phase>/released.json   which of the phase's intermediate files are used up, and by whom

Records name outputs by the number of their set, so that a run may be resumed from another working directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
import xxhash

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import FileSet, OutputFile
from dolma.errors import DataError
from dolma.printable import printable
from dolma.runner.standing import HEADER, JOURNAL
from dolma.runner.task import TaskResult

FORMAT_VERSION = 3
RELEASED = "released.json"
REMOTE_READERS = 16  # records read at once where each costs a round trip


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`: two runs are the same when their headers are."""

    format_version: int
    fingerprints: list[str]


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """All of `run.json`."""

    format_version: int
    fingerprints: list[str]
    config: dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One finished task."""

    key: str
    result: TaskResult


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `released.json`: the files below `below` in the work folder are used up.

    They stay so while these records of these phases, which have read them, have all their outputs.
    """

    below: str
    read_by: dict[str, list[str]]


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


def write_header(file_set: FileSet, header: Header) -> None:
    """Mark the set's folder as an unfinished run's."""
    begun = _Begun(format_version=header.format_version, fingerprints=header.fingerprints, config=file_set.config)
    streams.write_bytes(streams.join(file_set.folder, HEADER), msgspec.json.encode(begun))


def settings_begun(folder: str) -> dict[str, Any] | None:
    """The settings of the unfinished run in this folder; None where there is none, or where it does not say."""
    try:
        return decode_json(streams.read_bytes(streams.join(folder, HEADER)), _Begun).config
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


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
        streams.write_bytes(self._path(phase, key), encoded, flushed=False)
        return _placed(msgspec.json.decode(encoded, type=Record).result, self._folders)

    def read(self, phase: str, keys: Iterable[str]) -> dict[str, TaskResult | None]:
        """The results, by key, of those tasks that are finished; None where outputs are lost that are not used up."""
        there = {path.rpartition("/")[2] for path in streams.list_files(self._folder(phase))}
        found = [key for key in keys if record_name(key) in there]
        return dict(zip(found, self._read(phase, list(map(record_name, found))), strict=True))

    def release(self, phase: str, released: Released, outputs: Iterable[OutputFile]) -> None:
        """Note that these outputs of a phase are used up, then remove them.

        A kill in between leaves some, and a second call none.
        """
        before = self._released(phase)
        if released not in before:
            others = [one for one in before if one.below != released.below]
            streams.write_bytes(self._noted(phase), msgspec.json.encode([*others, released]))
        there = set(streams.list_files(streams.join(self._folders["work"], released.below)))
        for out in outputs:
            if (path := streams.join(out.set, out.path)) in there:
                streams.remove(path)

    def _released(self, phase: str) -> list[Released]:
        path = self._noted(phase)
        try:
            return decode_json(streams.read_bytes(path), list[Released])
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise DataError(
                f"not a task's record: {printable(error)}\n  run the command again with `--overwrite`", file=path
            ) from error

    def _read(self, phase: str, names: Sequence[str]) -> list[TaskResult | None]:
        """What these records say, as `read` does; None, too, where there is no record."""
        read = partial(self._record, self._folder(phase))
        if streams.is_url(self._home):
            with ThreadPoolExecutor(REMOTE_READERS) as pool:
                found = list(pool.map(read, names))
        else:
            found = list(map(read, names))
        if any(lost for _, lost in found):  # asked only now: what is used up is noted before it is removed
            used_up = tuple(f"{one.below}/" for one in self._released(phase) if self._is_held(one))
            work = self._folders["work"]
            found = [
                (result, [out for out in lost if not (out.set == work and out.path.startswith(used_up))])
                for result, lost in found
            ]
        return [None if lost else result for result, lost in found]

    def _is_held(self, released: Released) -> bool:
        """Whether all that was made of used-up files is there, or is used up itself."""
        return all(None not in self._read(phase, names) for phase, names in released.read_by.items())

    def _record(self, folder: str, name: str) -> tuple[TaskResult | None, list[OutputFile]]:
        """What a record says, and the outputs that are not there."""
        path = streams.join(folder, name)
        try:
            data = streams.read_bytes(path)
            if not data:  # lost with the power: a record is not flushed, as its outputs are before it
                return None, []
            record = decode_json(data, Record)
        except FileNotFoundError:
            return None, []
        except msgspec.DecodeError as error:
            raise DataError(
                f"not a task's record: {printable(error)}\n  run the command again with `--overwrite`", file=path
            ) from error
        result = _placed(record.result, self._folders)
        return result, [out for out in result.outputs if not _is_there(out)]

    def _noted(self, phase: str) -> str:
        return streams.join(self._folder(phase), RELEASED)

    def _folder(self, phase: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", phase):
            raise ValueError(f"phase {phase!r}: letters, digits, '-' and '_' only")
        return streams.join(self._home, phase)

    def _path(self, phase: str, key: str) -> str:
        return streams.join(self._folder(phase), record_name(key))


def record_name(key: str) -> str:
    """The name of a task's record."""
    return f"{xxhash.xxh3_128_hexdigest(key.encode())}.json"


def _placed(result: TaskResult, places: dict[str, str]) -> TaskResult:
    outputs = [msgspec.structs.replace(out, set=places[out.set]) for out in result.outputs]
    return msgspec.structs.replace(result, outputs=outputs)


def _is_there(out: OutputFile) -> bool:
    return streams.size(streams.join(out.set, out.path)) == out.bytes
