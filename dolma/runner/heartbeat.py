"""What each shard of a run is at, for `dolma run --status`: a small file per shard in the journal, removed with it.

    <first set>/.journal/shards/<shard>-of-<n>.json

Nothing decides by it: which tasks are done is what the journal's records say.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Literal

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import NAMES, read_manifest
from dolma.errors import DataError, WriteError
from dolma.printable import printable
from dolma.runner.standing import HEADER, JOURNAL

SHARDS = f"{JOURNAL}/shards"
BEAT_SECONDS = 10.0
"""The least time between two writes while a phase is going on."""
SILENT_SECONDS = 120.0


class Heartbeat(msgspec.Struct, kw_only=True):
    """What one shard is at.

    `done` of the phase's `tasks` that belong to it are finished; `documents` and `bytes` of text were worked on in the
    `seconds` since the phase began here, and `failed` records were left out. `at` is in seconds since 1970. Whoever
    reads it says "gone" where its process is not there any more, "silent" where it has said nothing for two minutes.
    """

    stage: str
    shard: int
    of: int
    state: Literal["working", "waiting", "ended", "failed", "gone", "silent"] = "working"
    phase: str = ""
    tasks: int = 0
    done: int = 0
    documents: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failed: int = 0
    about: str = ""
    host: str = ""
    process: int = 0
    at: float = 0.0


class Pulse:
    """Keeps the heartbeat of this shard."""

    __slots__ = ("_began", "_next", "_path", "beat")

    def __init__(self, folder: str, *, stage: str, shard: int, of: int) -> None:
        self._path = streams.join(folder, SHARDS, f"{shard:05d}-of-{of:05d}.json")
        self._began = self._next = time.monotonic()
        self.beat = Heartbeat(stage=stage, shard=shard, of=of, host=socket.gethostname(), process=os.getpid())

    def phase(self, name: str, *, tasks: int, done: int) -> None:
        """A phase begins; `done` of the tasks of this shard were finished before."""
        self._began = time.monotonic()
        beat = self.beat
        beat.phase, beat.tasks, beat.done, beat.documents, beat.bytes, beat.failed = name, tasks, done, 0, 0, 0
        self.say("working")

    def advance(self, documents: int = 0, n_bytes: int = 0, *, tasks: int = 0, failed: int = 0) -> None:
        """Documents, bytes of text and tasks done since the last call, and records left out."""
        beat = self.beat
        beat.documents += documents
        beat.bytes += n_bytes
        beat.done += tasks
        beat.failed += failed
        if time.monotonic() >= self._next:
            self.say("working")

    def wait(self, whom: str) -> None:
        """This shard waits for these ones."""
        if (self.beat.state, self.beat.about) != ("waiting", whom) or time.monotonic() >= self._next:
            self.say("waiting", whom)

    def say(self, state: Literal["working", "waiting", "ended", "failed"], about: str = "") -> None:
        """Write the heartbeat now. `about` is what it waits for, or the error that has ended it.

        Where that cannot be, there is none: the first shard may be removing the journal, and no output depends on it.
        """
        beat, now = self.beat, time.monotonic()
        if beat.state == "working":
            beat.seconds = now - self._began
        beat.state, beat.about, beat.at, self._next = state, about, time.time(), now + BEAT_SECONDS
        with contextlib.suppress(OSError, WriteError):
            streams.write_bytes(self._path, msgspec.json.encode(beat))

    def stop(self) -> None:
        """Remove the heartbeat."""
        streams.remove(self._path)


class RunStatus(msgspec.Struct, kw_only=True):
    """One file set, or the sets of one unfinished run: `records` has the finished tasks of each phase.

    `steps` are those that unfinished training has done, and those that it is to do.
    """

    folder: str
    stage: str
    name: str
    complete: bool
    records: dict[str, int] = {}
    shards: list[Heartbeat] = []
    steps: tuple[int, int] | None = None


class _Trained(msgspec.Struct):
    """What `state.json` of a checkpoint says of its training."""

    step: int
    steps: int


def statuses(folder: str) -> Iterator[RunStatus]:
    """How the runs and finished file sets below a folder stand, by folder.

    Raises:
        DataError: a file of theirs is damaged.
    """
    files = streams.list_files(folder)
    marks = (*NAMES, HEADER)  # a set with both is being made
    homes = {path.removesuffix(f"/{mark}"): mark for mark in marks for path in files if path.endswith(f"/{mark}")}
    saved: list[str] = []
    for home, mark in sorted(homes.items()):
        if mark in NAMES:
            with contextlib.suppress(DataError):  # another program's
                if (manifest := read_manifest(home)) is not None:
                    yield RunStatus(folder=home, stage=manifest.stage, name=manifest.name, complete=True)
                    if manifest.stage == "checkpoint":
                        saved.append(home)
            continue
        below = [path.removeprefix(f"{home}/") for path in files if path.startswith(f"{home}/{JOURNAL}/")]
        beats = [_read(streams.join(home, path)) for path in below if path.startswith(f"{SHARDS}/") and _ours(path)]
        shards = [_as_it_seems(beat) for beat in beats if beat is not None]
        if shards:  # else its records lie in another set of the same run
            records: dict[str, int] = {}
            for path in below:
                phase = path.removeprefix(f"{JOURNAL}/").rpartition("/")[0]
                if phase and phase != "shards" and _ours(path) and not path.endswith("/released.json"):
                    records[phase] = records.get(phase, 0) + 1
            stage = shards[0].stage
            yield RunStatus(folder=home, stage=stage, name=stage, complete=False, records=records, shards=shards)
    unfinished: dict[str, tuple[int, int]] = {}
    for home in saved:
        run = home.rpartition("/")[0]
        is_unfinished = f"{run}/config.json" in files and run not in homes
        if is_unfinished and (found := _trained(streams.join(home, "state.json"))) is not None:
            steps = found.step, found.steps
            unfinished[run] = max(steps, unfinished.get(run, steps))
    for run, steps in unfinished.items():
        yield RunStatus(folder=run, stage="train", name="train", complete=False, steps=steps)


def _trained(path: str) -> _Trained | None:
    try:
        return decode_json(streams.read_bytes(path), _Trained)
    except FileNotFoundError:  # newer checkpoints have just taken its place
        return None
    except msgspec.DecodeError as error:
        raise DataError(
            f"is not the state of a checkpoint: {printable(error)}\n  copy or download the checkpoint again", file=path
        ) from error


def _as_it_seems(beat: Heartbeat) -> Heartbeat:
    """The heartbeat, with what has become of a shard that was killed and could not say so."""
    age = time.time() - beat.at
    if beat.state in ("working", "waiting") and age > 2 * BEAT_SECONDS:  # a process elsewhere may be called so too
        if beat.host == socket.gethostname() and not _lives(beat.process):
            return msgspec.structs.replace(beat, state="gone")
        if age > SILENT_SECONDS:
            return msgspec.structs.replace(beat, state="silent")
    return beat


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _ours(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".json") and not name.startswith(".")


def _read(path: str) -> Heartbeat | None:
    try:
        return decode_json(streams.read_bytes(path), Heartbeat)
    except FileNotFoundError:  # the run has just ended
        return None
    except msgspec.DecodeError as error:
        raise DataError(f"not a heartbeat: {printable(error)}\n  remove this file", file=path) from error
