"""`Task` and `TaskResult`: what goes to a worker and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from dolma.data.manifest import OutputFile
from dolma.printable import printable
from dolma.runner.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One unit of work of a phase.

    `key` is unique in its phase and the same in every run; `size` is in bytes of input, for scheduling and progress;
    `spec` is picklable and is what the work is called with; `file` names the input in error messages, and `part` which
    part of it.
    """

    key: str
    size: int
    spec: Any
    file: str = ""
    part: str = ""

    @property
    def subject(self) -> str:
        """What an error message calls this task: its input file, else its key."""
        return self.file or self.key

    def at(self, file: str, part: str) -> Task:
        """This task where it is at a file of several that it has."""
        return replace(self, file=file, part=part)

    def place(self, documents: int) -> str:
        """The task in words: its input, which part of that, and that so many documents of it were done."""
        done = f"after {documents:,} documents" if documents else ""
        return ", ".join(text for text in (printable(self.subject), self.part, done) if text)


class TaskResult(msgspec.Struct, kw_only=True):
    """What a task wrote and counted.

    `outputs` may lie in the stage's file sets or in its work folder; `payload` is JSON-able and comes back as JSON
    would give it (tuples as lists), whether the task ran now or in an earlier run.
    """

    outputs: list[OutputFile] = []
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    payload: dict[str, Any] = {}


class Work(Protocol):
    """A frozen, picklable callable. What it writes depends on its own fields and the spec only.

    One that runs code of the user's has `foreign`, true.
    """

    def __call__(self, spec: Any, /) -> TaskResult: ...


OnResult = Callable[[int, TaskResult], None]
"""Called in the parent with the index of a finished task and its result, in the order of finishing."""

OnProgress = Callable[[int, int], None]
"""Called in the parent with documents and bytes of text done since the last call."""
