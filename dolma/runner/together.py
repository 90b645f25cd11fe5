"""Small tasks of a phase that are done as one: they share a record, a message to a worker and the wait for the disk.

Two thousand files of a line each would else cost two thousand of each. A kill costs what was done of one such task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from dolma.data import streams
from dolma.runner.ledger import merged
from dolma.runner.progress import begin
from dolma.runner.task import Task, TaskResult, Work

GROUP_BYTES = 4 << 20
_FEWEST_GROUPS = 32


def grouped(sizes: Sequence[int]) -> list[list[int]]:
    """What has these sizes in bytes, by number, in groups of neighbours for a task each: small ones go together.

    Of few each has a task of its own, so that there is work for many processes.

    >>> grouped([1, 1, 1])
    [[0], [1], [2]]
    """
    most = -(-len(sizes) // _FEWEST_GROUPS)
    groups: list[list[int]] = []
    n_bytes = 0
    for i, size in enumerate(sizes):
        if not groups or len(groups[-1]) == most or n_bytes + size > GROUP_BYTES:
            groups.append([])
            n_bytes = 0
        groups[-1].append(i)
        n_bytes += size
    return groups


def together(tasks: Iterable[Task]) -> list[Task]:
    """The tasks, in order, small neighbours as one: its spec is the tuple of those, also where it is of one alone."""
    tasks, joined = list(tasks), []
    for group in grouped([task.size for task in tasks]):
        members = [tasks[i] for i in group]
        first, size = members[0], sum(task.size for task in members)
        part = f"or one of the {len(members) - 1:,} after it" if len(members) > 1 else first.part
        joined.append(replace(first, size=size, spec=tuple(task.spec for task in members), part=part))
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Does tasks one after the other; their files are flushed together. Called with them.

    What it answers has all that they have, and is taken `apart` again.
    """

    work: Work

    @property
    def foreign(self) -> bool:
        """Whether the work runs code of the user's."""
        return bool(getattr(self.work, "foreign", False))

    def __call__(self, tasks: Sequence[Task]) -> TaskResult:
        results = []
        with streams.flushed_together():
            for task in tasks:
                begin(task.file, task.part)
                results.append(self.work(task.spec))
        return TaskResult(
            outputs=[out for result in results for out in result.outputs],
            ledger=merged([result.ledger for result in results]),
            payload={
                "outputs": [len(result.outputs) for result in results],
                "each": [msgspec.to_builtins(msgspec.structs.replace(result, outputs=[])) for result in results],
            },
        )


def apart(results: Iterable[TaskResult]) -> Iterator[TaskResult]:
    """The results of the single tasks, of those of `Together`."""
    for result in results:
        at = 0
        for n_outputs, one in zip(result.payload["outputs"], result.payload["each"], strict=True):
            yield msgspec.structs.replace(msgspec.convert(one, TaskResult), outputs=result.outputs[at : at + n_outputs])
            at += n_outputs
