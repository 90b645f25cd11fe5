"""`Receipt`: what was asked for, where it was found, what is gone, and what cannot be reached. It holds no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from dolma.runner.report import Table

_NAMED = 20


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A file out of which documents were taken, or are to be; `before` and `after` are xxh3-128 of it.

    `kind` says what it is a file of. `after` is "" where the file is gone, and before it is written.
    """

    path: str
    kind: str
    removed: int
    before: str = ""
    after: str = ""


class Unreached(msgspec.Struct, frozen=True, kw_only=True):
    """What may still hold some of it, and why it was left."""

    path: str
    why: str


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A training run whose steps saw documents that were taken down: how many steps, and the first and the last."""

    run: str
    documents: int
    steps: int
    first: int
    last: int


class Receipt(msgspec.Struct, kw_only=True):
    """What a take-down did, or with `dry_run` would do.

    `ids` and `domains` were asked for, `documents` are the ids that were found of these, of the rule and of clusters;
    `records` are all that they stand in. `not_found` has ids and domains of which nothing was found. `moved` counts
    clusters whose kept document was removed, and that keep another one.
    """

    dry_run: bool = False
    ids: int = 0
    domains: int = 0
    rule: str | None = None
    clusters: list[str] = []
    documents: int = 0
    records: int = 0
    not_found: list[str] = []
    moved: int = 0
    places: list[Place] = []
    unreached: list[Unreached] = []
    trained: list[Trained] = []
    takedown: str = ""
    continued: bool = False
    """Whether it is of a take-down that was interrupted before."""

    @property
    def nothing_left(self) -> bool:
        """Whether there was nothing to remove, and nothing to put on the list."""
        return not (self.places or self.documents)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, as JSON has them."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def tables(self) -> Iterator[Table]:
        """What was found by kind of file, what cannot be reached, and which steps saw it."""
        records, files = Counter[str](), Counter[str]()
        for place in self.places:
            records[place.kind] += place.removed
            files[place.kind] += 1
        title = "would be removed" if self.dry_run else "removed"
        if records:
            found = [(kind, n, files[kind]) for kind, n in records.items()]
            yield Table(title=title, headers=["from", "records", "files"], rows=found)
        if self.not_found:
            more = len(self.not_found) - _NAMED
            rows = [(one,) for one in self.not_found[:_NAMED]] + ([(f"and {more:,} more",)] if more > 0 else [])
            yield Table(title="not found", headers=["id or domain"], rows=rows)
        if self.unreached:
            yield Table(title="not reached", headers=["what", "why"], rows=[(u.path, u.why) for u in self.unreached])
        if self.trained:
            yield Table(
                title="seen by training",
                headers=["run", "documents", "steps", "first", "last"],
                rows=[(one.run, one.documents, one.steps, one.first, one.last) for one in self.trained],
            )
