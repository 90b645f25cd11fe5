"""What the inputs of a stage hold: remembered where nothing about a file has changed, else read, by workers.

A file is taken to hold what it did when its size and its time of change, in nanoseconds, or its ETag are those of then.
This is remembered in `.inputs.json` beside the stage's outputs; where these are remote and there is a work folder, in
that. The file is no output, decides nothing that is published, and may be deleted at any time; one that is damaged is
as none. What was written less than two seconds before it was read is read again: clocks of file systems are coarse. So
is a file without time or ETag.

Of several shards each reads its share of the files and remembers it in a file of its own,
`.inputs/<shard>/.inputs.json`, which the others wait for, unless what is left is less than a task. Each takes the
others' word for their shares. Files without time or ETag each reads itself.

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
from dolma.runner.shares import Patience, Share
from dolma.runner.task import OnResult, Task, TaskResult

T = TypeVar("T")

NAME = ".inputs.json"
SHARDS = ".inputs"
HERE_BYTES = 64 << 20
"""What is read without workers: about as long as it takes to start one."""
SETTLED_NS = 2_000_000_000
"""A file's time of change tells changes apart from then on."""
_SAVE_SECONDS = 30.0
_FILES_TOGETHER = 256


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a file held when it had this size and version (`streams.version`); `cuts` of documents alone.

    Not `settled`: it was read so soon after it was written that it may have changed under the same version.
    """

    size: int
    version: str
    checksum: str
    blocks: bytes
    cuts: tuple[Cut, ...] = ()
    settled: bool = True

    @property
    def content(self) -> Content:
        return Content(size=self.size, checksum=self.checksum, blocks=self.blocks)


class _Saved(msgspec.Struct):
    """`.inputs.json`: the files by path, from the home where both are local, and xxh3-128 of that."""

    checksum: str
    files: msgspec.Raw


class InputCache(Generic[T]):
    """What files held, by path from `home`: in `.inputs.json`, there or in a folder `below`; nowhere if that is ""."""

    def __init__(self, home: str, kind: type[T], *, below: str = "") -> None:
        self.home = streams.local_path(home)
        self.path = streams.join(self.home, below, NAME) if below else streams.join(self.home, NAME)
        self._kind = kind

    def key(self, path: str) -> str:
        """What a file is called here."""
        if streams.is_url(path):
            return path
        local = streams.local_path(path)
        return os.path.abspath(local) if streams.is_url(self.home) else os.path.relpath(local, self.home or ".")

    def read(self) -> dict[str, T]:
        """What is remembered, by key; nothing where it is damaged."""
        if not self.home:
            return {}
        try:
            saved = decode_json(streams.read_bytes(self.path), _Saved)
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
        streams.write_note(self.path, msgspec.json.encode(saved) + b"\n")


class _Look(NamedTuple):
    """A file to be read: its path, and whether to find out how it is cut as documents."""

    path: str
    documents: bool


Version = tuple[int, str]
"""Size and version of a file (`streams.version`)."""


class Inputs:
    """The contents of a stage's inputs. `home`: where its outputs go, "" where nothing is to be remembered."""

    def __init__(
        self,
        home: str,
        *,
        options: RunOptions | None = None,
        reporter: Reporter | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._options, self._reporter = options or RunOptions(), reporter or NullReporter()
        self._executor = executor
        self._home = _home(home, self._options.work_dir)
        self._share = Share.of_options(self._options if self._home else self._options.whole())
        shard = f"{min(self._share.shards):05d}-of-{self._share.of:05d}"
        self._own = InputCache(self._home, Known, below=streams.join(SHARDS, shard) if self._share.of > 1 else "")
        self._recalled: dict[str, tuple[Version | None, dict[str, Known]]] = {}  # by folder of the memory, below home
        self._read_here: dict[str, Known] = {}
        self._fresh: dict[str, Known] = {}
        self._last_save = time.monotonic()
        self._recall()

    def shards(self, shards: Sequence[Shard]) -> list[Shard]:
        """The shards with what they hold now; what reads them later is held to it.

        Raises:
            DataError: a file cannot be read, or is not what its manifest says was written.
            Unfinished: this is one shard of several that is not to wait, and others have not read their share.
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
        if not self._home or not self._fresh:
            return
        try:
            self._own.write(self._own.read() | self._fresh)
        except WriteError as error:
            if self._share.of > 1:  # others wait for it
                raise
            self._reporter.note(f"what the inputs hold is not remembered: {error}")
        self._fresh, self._last_save = {}, time.monotonic()

    def forget(self, path: str) -> None:
        """Have this file read by the next run; fine where nothing is known of it."""
        if path:
            key = self._own.key(path)
            self._read_here.pop(key, None)
            self._fresh.pop(key, None)
            for memory in map(self._memory, self._recalled):
                files = memory.read()
                if files.pop(key, None):
                    memory.write(files)

    # --- what is remembered -------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        """Take in what has been remembered here since the last look, by whichever shard."""
        if not self._home:
            return
        of_shards = streams.entries_below(streams.join(self._home, SHARDS)).items()
        there = {"": streams.version(self._memory("").path)} | {
            streams.join(SHARDS, path.removesuffix("/" + NAME)): (entry.size, entry.version)
            for path, entry in of_shards
            if path.endswith("/" + NAME)
        }
        for below, version in there.items():
            if below not in self._recalled or self._recalled[below][0] != version:
                self._recalled[below] = version, self._memory(below).read()

    def _memory(self, below: str) -> InputCache[Known]:
        return InputCache(self._home, Known, below=below)

    def _known(self, look: _Look, version: Version | None, *, mine: bool) -> Known | None:
        """What is known of a file of this version. A shard takes the word of the others for what is not `mine`."""
        key = self._own.key(look.path)
        here = self._read_here.get(key)
        if here is not None and (here.size, here.version) == version and (here.cuts or not look.documents):
            return here
        for _, files in self._recalled.values():
            known = files.get(key)
            if known is None or (known.size, known.version) != version or not (known.cuts or not look.documents):
                continue
            if not mine or (known.settled and not self._options.check_inputs):
                return known
        return None

    def _remember(self, key: str, known: Known) -> None:
        for below, (_, files) in self._recalled.items():
            was = files.get(key)
            if was is not None and was.version == known.version and was.content != known.content:
                memory = self._memory(below)
                memory.write({name: known for name, known in memory.read().items() if name != key})
        self._read_here[key] = known
        if known.settled or self._share.of > 1:
            self._fresh[key] = known

    def _is_of_another_version(self, look: _Look) -> bool:
        key = self._own.key(look.path)
        return any(key in files for _, files in self._recalled.values())

    # --- what is found out --------------------------------------------------------------------------------------------

    def _found(self, looks: Sequence[_Look]) -> list[Known]:
        versions = streams.versions(look.path for look in looks)
        found: list[Known | None] = []
        here: list[int] = []
        theirs: list[int] = []
        for i, look in enumerate(looks):
            version = versions[look.path]
            mine = version is None or self._share.owner(i) in self._share.shards
            found.append(self._known(look, version, mine=mine) if version is not None else None)
            if found[i] is None:
                (here if mine or self._is_of_another_version(look) else theirs).append(i)
        self._read(looks, versions, here, found)
        patience = Patience(self._reporter, wait=self._options.wait)
        while theirs:
            self._recall()
            for i in theirs:
                found[i] = self._known(looks[i], versions[looks[i].path], mine=False)
            theirs = [i for i in theirs if found[i] is None]
            # A machine that has a file under another time of change, on a disk of its own, reads it itself.
            here = [i for i in theirs if self._is_of_another_version(looks[i])]
            if len(list(_together([(i, versions[looks[i].path]) for i in theirs]))) <= 1:
                here = theirs  # less than a task is not worth waiting for
            self._read(looks, versions, here, found)
            if theirs := [i for i in theirs if found[i] is None]:
                patience.wait("inputs", self._share.named(theirs, "file"))
        done = [known for known in found if known is not None]
        finished = Finished()
        for look, known in zip(looks, done, strict=True):
            finished.check(look.path, known.content)
        return done

    def _read(
        self,
        looks: Sequence[_Look],
        versions: Mapping[str, Version | None],
        which: Sequence[int],
        found: list[Known | None],
    ) -> None:
        """Read these of the files, by number, and remember what others may take for them."""
        if not which:
            return
        began, groups = time.time_ns(), list(_together([(i, versions[looks[i].path]) for i in which]))
        tasks = [
            Task(key=f"{n:06d}", size=size, spec=tuple(looks[i] for i in group), file=looks[group[0]].path)
            for n, (group, size) in enumerate(groups)
        ]

        def take(index: int, result: TaskResult) -> None:
            for i, read in zip(groups[index][0], result.payload["files"], strict=True):
                path = looks[i].path
                version = versions[path]
                settled = version is not None and version == streams.version(path) and is_settled(path, began)
                known = msgspec.convert({**read, "version": version[1] if version else "", "settled": settled}, Known)
                if version is not None:
                    self._remember(self._own.key(path), known)
                found[i] = known
            if time.monotonic() - self._last_save > _SAVE_SECONDS:
                self.save()

        if sum(task.size for task in tasks) <= HERE_BYTES and not any(streams.is_url(looks[i].path) for i in which):
            for n, task in enumerate(tasks):
                take(n, ReadFiles()(task.spec))
        else:
            self._read_by_workers(tasks, take)
        if self._share.of > 1:
            self.save()

    def _read_by_workers(self, tasks: Sequence[Task], take: OnResult) -> None:
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


def _home(outputs: str, work_dir: str | None) -> str:
    """The folder of `.inputs.json`."""
    if not outputs or not streams.is_url(outputs):
        return streams.local_path(outputs)
    if work_dir is None:
        return outputs
    return streams.join(streams.local_path(work_dir), f"dolma-inputs-{xxhash.xxh3_64_hexdigest(outputs.encode())}")


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


def _together(files: Sequence[tuple[int, Version | None]]) -> Iterable[tuple[list[int], int]]:
    """Files, by number, in groups that are worth a task, and how many bytes each has."""
    group, size = [], 0
    for i, version in files:
        group.append(i)
        size += version[0] if version is not None else 1
        if size >= HERE_BYTES or len(group) == _FILES_TOGETHER:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size


def is_settled(path: str, began: int) -> bool:
    """Whether a later change of the file would show in its version."""
    return streams.is_url(path) or os.stat(streams.local_path(path)).st_mtime_ns + SETTLED_NS < began
