"""Which training runs saw documents that are taken down, and at which steps."""

from __future__ import annotations

from collections.abc import Iterator

from dolma.errors import DolmaError
from dolma.removal.places import FileSetThere
from dolma.removal.receipt import Trained, Unreached
from dolma.training.trace import stages_of_run, steps_of_documents


def trained_of(runs: Iterator[FileSetThere], ids: set[str]) -> Iterator[Trained | Unreached]:
    """For each of these training runs, what it saw of these documents; where that cannot be told, why."""
    for one in runs:
        try:
            seen = [(seen.step, seen.id) for seen in steps_of_documents(stages_of_run(one.folder), frozenset(ids))]
        except DolmaError as error:
            yield Unreached(path=one.folder, why=f"trained on some of these tokens, perhaps: {_first_line(error)}")
            continue
        steps = {step for step, _ in seen}
        if steps:
            yield Trained(
                run=one.folder,
                documents=len({id for _, id in seen}),
                steps=len(steps),
                first=min(steps),
                last=max(steps),
            )


def _first_line(error: DolmaError) -> str:
    return str(error).partition("\n")[0]
