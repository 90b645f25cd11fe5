"""Works and stages for the tests of the runner: small, importable in worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dolma.data import streams
from dolma.data.manifest import FileSet, InputFile, OutputFile
from dolma.errors import DataError
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter, advance
from dolma.runner.report import StageReport
from dolma.runner.stage import StageRun, open_stage
from dolma.runner.task import Task, TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Writes `<folder>/<below><name>.txt` for a spec `name`, in two steps, slowly when asked."""

    folder: str
    below: str = ""
    seconds: float = 0.0

    def __call__(self, name: str) -> TaskResult:
        path = f"{self.below}{name}.txt"
        with streams.open_output(streams.join(self.folder, path)) as out:
            out.write(f"{name}\n".encode())
            time.sleep(self.seconds)
            out.write(name.encode() * 1000)
        written = out.written
        assert written is not None
        advance(documents=2, bytes=written.bytes)
        return TaskResult(
            outputs=[OutputFile(set=self.folder, path=path, bytes=written.bytes, checksum=written.checksum, rows=2)],
            ledger=two_documents(name),
            payload={"pid": os.getpid(), "name": name},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Leaves the number of this process in a folder, which may not be there."""

    folder: str

    def __call__(self) -> None:
        Path(self.folder, str(os.getpid())).touch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Second phase: one file of what the first phase wrote in the work folder."""

    work_folder: str
    folder: str

    def __call__(self, names: list[str]) -> TaskResult:
        parts = [streams.join(self.work_folder, f"{name}.txt") for name in sorted(names)]
        written = streams.concatenate(parts, streams.join(self.folder, "all.txt"))
        out = OutputFile(set=self.folder, path="all.txt", bytes=written.bytes, checksum=written.checksum)
        return TaskResult(outputs=[out])


@dataclass(frozen=True, slots=True, kw_only=True)
class KillOnce:
    """Kills its own process on one spec, the first `times` times; then does as `Write`."""

    write: Write
    name: str
    marks: str
    times: int = 1

    def __call__(self, name: str) -> TaskResult:
        if name == self.name and len(list(Path(self.marks).iterdir())) < self.times:
            Path(self.marks, str(os.getpid())).touch()
            with streams.open_output(streams.join(self.write.folder, f"{name}.txt")) as out:
                out.write(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
        return self.write(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillBeside:
    """Kills its own process on one spec the first time; a task says which others were running when it began."""

    name: str
    running: str
    seconds: float = 60.0

    def __call__(self, name: str) -> TaskResult:
        mine = Path(self.running, name)
        beside = sorted(path.name for path in Path(self.running).iterdir())
        again = mine.exists()
        mine.touch()
        give_up = time.monotonic() + self.seconds
        if name == self.name and not again:
            while len(list(Path(self.running).iterdir())) < 2 and time.monotonic() < give_up:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        while not Path(self.running, self.name).exists() and time.monotonic() < give_up:
            time.sleep(0.01)  # the one that will be killed has not begun
        mine.unlink()
        return TaskResult(payload={"beside": [other for other in beside if other != name], "again": again})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Comes no further until there is a file, or until standard error, which is a file, holds something."""

    until: str
    seconds: float = 60.0

    def __call__(self, name: str) -> TaskResult:
        give_up = time.monotonic() + self.seconds
        while time.monotonic() < give_up and not self._may_go_on():
            time.sleep(0.01)
        return TaskResult(payload={"in_time": time.monotonic() < give_up})

    def _may_go_on(self) -> bool:
        return os.path.exists(self.until) if self.until else os.fstat(2).st_size > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Raises on one spec: a `DataError` when `known`, else this error, or a `ValueError`."""

    write: Write
    name: str
    known: bool
    error: Exception | None = None

    def __call__(self, name: str) -> TaskResult:
        if name != self.name:
            return self.write(name)
        if self.known:
            raise DataError("not JSON", file=f"/in/{name}", line=7, offset=99)
        raise self.error or ValueError("a defect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Says which thread settings a worker sees, and prints something."""

    def __call__(self, names: list[str]) -> TaskResult:
        print("a library prints this")
        return TaskResult(payload={name: os.environ.get(name) for name in names})


def two_documents(source: str) -> Ledger:
    """A balanced ledger: one kept, one dropped."""
    ledger = Ledger()
    ledger.take(source[0], documents=2, bytes=20)
    ledger.keep(source[0], documents=1, bytes=12)
    ledger.drop(source[0], "short", documents=1, bytes=8)
    return ledger


def file_set(folder: str, **config: object) -> FileSet:
    """A set made from one input by this config."""
    inputs = [InputFile(name="a", size=1, checksum="c")]
    return FileSet(folder=folder, stage="test", name="letters", config=config, inputs=inputs)


def names(n_tasks: int = 6) -> list[str]:
    """`n_tasks` specs."""
    return [f"{'abc'[i % 3]}-{i:02}" for i in range(n_tasks)]


def tasks_of(specs: Sequence[str]) -> list[Task]:
    """One task per spec."""
    return [Task(key=name, size=10_000_000, spec=name, file=f"/in/{name}") for name in specs]


def run_write(
    folder: str,
    *,
    options: RunOptions,
    specs: Sequence[str] = (),
    seconds: float = 0.0,
    reporter: Reporter | None = None,
    **config: object,
) -> StageReport[None]:
    """A stage of one phase."""
    with open_stage([file_set(folder, **config)], options=options, reporter=reporter) as stage:
        stage.leave_if_complete()
        return stage.finish(stage.run("write", tasks_of(specs or names()), Write(folder=folder, seconds=seconds)))
    return stage.report()


def run_two_phases(
    folder: str, *, options: RunOptions, seconds: float = 0.0, n_tasks: int = 6, reporter: Reporter | None = None
) -> StageReport[None]:
    """A stage that writes parts in its work folder and joins them."""
    with open_stage([file_set(folder)], options=options, reporter=reporter) as stage:
        stage.leave_if_complete()
        return stage.finish(join_parts(stage, folder, seconds=seconds, n_tasks=n_tasks))
    return stage.report()


def join_parts(stage: StageRun, folder: str, *, seconds: float, n_tasks: int) -> list[TaskResult]:
    """Both phases; the results of both."""
    parts = stage.run("parts", tasks_of(names(n_tasks)), Write(folder=stage.work_folder, seconds=seconds))
    task = Task(key="all", size=1, spec=[part.payload["name"] for part in parts])
    return parts + stage.run("join", [task], Join(work_folder=stage.work_folder, folder=folder))


def contents(folder: str | Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones included, by relative path."""
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
