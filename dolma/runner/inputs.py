"""What the inputs of a stage hold: remembered where nothing about a file has changed, else read, by workers.

A file is taken to hold what it did when its size and its time of change, in nanoseconds, or its ETag are those of then.
This is remembered beside the stage's outputs in `.inputs.json`, which is none of them, decides nothing that is
published, and may be deleted at any time; one that is damaged is as none. Of a file that was written less than two
seconds before it was read nothing is remembered: clocks of file systems are coarse. A file without time or ETag is
read.

Whatever changes under the same size and time is found where the file is read: readers compare each block
(`dolma/data/identity.py`). The file is then forgotten here, so that the next run reads it anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import xxhash

from dolma.data import streams
from dolma.data.dataset import pieces
from dolma.data.identity import Content
from dolma.data.json_text import decode_json
from dolma.data.manifest import Finished
from dolma.data.shards import Cut, Shard
from dolma.errors import DataError, WriteError
from dolma.runner.executors import Executor, executor_for
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter
from dolma.runner.task import Task, TaskResult

T = TypeVar("T")

NAME = ".inputs.json"
HERE_BYTES = 64 << 20
"""What is read without workers: about as long as it takes to start one."""
SETTLED_NS = 2_000_000_000
"""A file's time of change tells changes apart from then on."""
_SAVE_SECONDS = 30.0
_FILES_TOGETHER = 256


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a file held when it had this size and version (`streams.version`); `cuts` of documents alone."""

    size: int
    version: str
    checksum: str
    blocks: bytes
    cuts: tuple[Cut, ...] = ()

    @property
    def content(self) -> Content:
        return Content(size=self.size, checksum=self.checksum, blocks=self.blocks)


class _Saved(msgspec.Struct):
    """`.inputs.json`: the files by path, from its folder where both are local, and xxh3-128 of that."""

    checksum: str
    files: msgspec.Raw


class Memory(Generic[T]):
    """What files held, by path, in `.inputs.json` of the folder `home`; nowhere where that is "" or remote."""

    def __init__(self, home: str, kind: type[T]) -> None:
        self.home = "" if streams.is_url(home) else streams.local_path(home)
        self._kind = kind

    def key(self, path: str) -> str:
        """What a file is called here."""
        return path if streams.is_url(path) else os.path.relpath(streams.local_path(path), self.home or ".")

    def read(self) -> dict[str, T]:
        """What is remembered, by key; nothing where it is damaged."""
        if not self.home:
            return {}
        try:
            saved = decode_json(streams.read_bytes(streams.join(self.home, NAME)), _Saved)
            if xxhash.xxh3_128_hexdigest(saved.files) != saved.checksum:
                return {}
            return decode_json(bytes(saved.files), dict[str, self._kind])  # type: ignore[name-defined]
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError, DataError):
            return {}

    def write(self, files: Mapping[str, T]) -> None:
        """Remember these files, by key, and no others.

        Raises:
            WriteError: the folder cannot be written to.
        """
        encoded = msgspec.json.encode(files, order="deterministic")
        saved = _Saved(checksum=xxhash.xxh3_128_hexdigest(encoded), files=msgspec.Raw(encoded))
        streams.write_note(streams.join(self.home, NAME), msgspec.json.encode(saved) + b"\n")


class _Look(NamedTuple):
    """A file to be read: its path, and whether to find out how it is cut as documents."""

    path: str
    documents: bool


class Inputs:
    """The contents of a stage's inputs. `home`: the folder of `.inputs.json`, "" where nothing is to be remembered."""

    def __init__(
        self,
        home: str,
        *,
        options: RunOptions | None = None,
        reporter: Reporter | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._memory = Memory(home, Known)
        self._options, self._reporter = options or RunOptions(), reporter or NullReporter()
        self._executor = executor
        self._known = {} if self._options.check_inputs else self._memory.read()
        self._fresh: dict[str, Known] = {}
        self._last_save = time.monotonic()

    def shards(self, shards: Sequence[Shard]) -> list[Shard]:
        """The shards with what they hold now; what reads them later is held to it.

        Raises:
            DataError: a file cannot be read, or is not what its manifest says was written.
        """
        found = self._found([_Look(shard.path, documents=True) for shard in shards])
        return [
            replace(shard, content=known.content, size=known.size, cuts=known.cuts or None)
            for shard, known in zip(shards, found, strict=True)
        ]

    def contents(self, paths: Sequence[str]) -> dict[str, Content]:
        """What these files hold now, by path; otherwise as `shards`."""
        found = self._found([_Look(path, documents=False) for path in paths])
        return {path: known.content for path, known in zip(paths, found, strict=True)}

    def save(self) -> None:
        """Write down what was read, if anything was."""
        if not self._memory.home or not self._fresh:
            return
        try:
            self._memory.write(self._memory.read() | self._fresh)
        except WriteError as error:
            self._reporter.note(f"what the inputs hold is not remembered: {error}")
        self._known |= self._fresh
        self._fresh, self._last_save = {}, time.monotonic()

    def forget(self, path: str) -> None:
        """Have this file read by the next run; fine where nothing is known of it."""
        key = self._memory.key(path) if path else ""
        if self._known.pop(key, None) or self._fresh.pop(key, None):
            files = self._memory.read()
            if files.pop(key, None):
                streams.remove(streams.join(self._memory.home, NAME))
                self._fresh = files | self._fresh
                self.save()

    def _found(self, looks: Sequence[_Look]) -> list[Known]:
        found: dict[str, Known] = {}
        missing: list[tuple[_Look, tuple[int, str] | None]] = []
        for look in looks:
            version, known = streams.version(look.path), self._known.get(self._memory.key(look.path))
            if known is not None and version == (known.size, known.version) and (known.cuts or not look.documents):
                found[look.path] = known
            else:
                missing.append((look, version))
        if missing:
            found |= self._read(missing)
        finished = Finished()
        for look in looks:
            finished.check(look.path, found[look.path].content)
        return [found[look.path] for look in looks]

    def _read(self, missing: Sequence[tuple[_Look, tuple[int, str] | None]]) -> dict[str, Known]:
        began, found = time.time_ns(), {}
        groups = list(_together(missing))
        tasks = [
            Task(key=f"{i:06d}", size=size, spec=tuple(look for look, _ in group), file=group[0][0].path)
            for i, (group, size) in enumerate(groups)
        ]

        def take(index: int, result: TaskResult) -> None:
            for (look, version), read in zip(groups[index][0], result.payload["files"], strict=True):
                known = msgspec.convert({**read, "version": version[1] if version else ""}, Known)
                found[look.path] = known
                if version is not None and version == streams.version(look.path) and is_settled(look.path, began):
                    self._fresh[self._memory.key(look.path)] = known
            if time.monotonic() - self._last_save > _SAVE_SECONDS:
                self.save()

        if sum(task.size for task in tasks) <= HERE_BYTES and not any(streams.is_url(look.path) for look, _ in missing):
            for i, task in enumerate(tasks):
                take(i, ReadFiles()(task.spec))
            return found

        def take_and_tell(index: int, result: TaskResult) -> None:
            take(index, result)
            self._reporter.advance(tasks=1, size=tasks[index].size)

        self._reporter.start("inputs", len(tasks), sum(task.size for task in tasks))
        executor = self._executor or executor_for(self._options, note=self._reporter.note)
        try:
            executor.run(ReadFiles(), tasks, on_result=take_and_tell, on_progress=self._reporter.advance)
        finally:
            self._reporter.finish()
            if executor is not self._executor:
                executor.close()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFiles:
    """Reads files whole, for what they hold. Called with what to look at."""

    def __call__(self, looks: Iterable[_Look]) -> TaskResult:
        return TaskResult(payload={"files": [_read(look) for look in looks]})


def _read(look: _Look) -> Mapping[str, Any]:
    content = streams.content(look.path)
    cuts: list[Cut] = []
    if look.documents:
        shard = Shard(path=look.path, name="", root="", inner="", size=content.size, content=content)
        cuts = [piece.cut for piece in pieces(shard)]
    return msgspec.to_builtins(
        {"size": content.size, "checksum": content.checksum, "blocks": content.blocks, "cuts": cuts}
    )


def _together(
    missing: Sequence[tuple[_Look, tuple[int, str] | None]],
) -> Iterable[tuple[list[tuple[_Look, tuple[int, str] | None]], int]]:
    """Files in groups that are worth a task, and how many bytes each has."""
    group, size = [], 0
    for one in missing:
        group.append(one)
        size += one[1][0] if one[1] is not None else 1
        if size >= HERE_BYTES or len(group) == _FILES_TOGETHER:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size


def is_settled(path: str, began: int) -> bool:
    """Whether a later change of the file would show in its version."""
    return streams.is_url(path) or os.stat(streams.local_path(path)).st_mtime_ns + SETTLED_NS < began
