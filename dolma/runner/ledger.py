"""The ledger: where every document of a stage went.

Each task fills one, sums do not depend on the order of tasks, and a stage whose sums do not balance fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from dolma.data.intake import FailedRecord, Intake
from dolma.data.takedown import REASON as TAKEDOWN
from dolma.errors import LedgerError

if TYPE_CHECKING:
    from dolma.data.batch import TextBatch


class Tally(msgspec.Struct, kw_only=True):
    """How many documents, UTF-8 bytes of their text, and tokens; 0 where a stage does not count them."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def add(self, other: Tally) -> None:
        """Add the other's numbers to these."""
        self.documents += other.documents
        self.bytes += other.bytes
        self.tokens += other.tokens


class Account(msgspec.Struct, kw_only=True):
    """The documents of one source.

    `taken` came in, failed records included; `out` are the distinct documents kept; `written` counts repeats too;
    `dropped` is by reason, of which one may have bytes and no documents: what edits took out of texts; `failed` is the
    number of records that could not be read.
    """

    taken: Tally = msgspec.field(default_factory=Tally)
    out: Tally = msgspec.field(default_factory=Tally)
    written: Tally = msgspec.field(default_factory=Tally)
    dropped: dict[str, Tally] = {}
    failed: int = 0

    def add(self, other: Account) -> None:
        """Add the other's numbers to these."""
        self.taken.add(other.taken)
        self.out.add(other.out)
        self.written.add(other.written)
        self.failed += other.failed
        for reason, tally in other.dropped.items():
            self.dropped.setdefault(reason, Tally()).add(tally)

    def drops(self, order: Iterable[str] = ()) -> list[tuple[str, Tally]]:
        """The reasons and what was dropped for each: those of `order`, also where it is nothing, then others by name.

        >>> Account(dropped={"a": Tally(documents=1), "b": Tally(documents=2)}).drops(["b", "never"])[1]
        ('never', Tally(documents=0, bytes=0, tokens=0))
        """
        reasons = dict.fromkeys([*order, *sorted(self.dropped)])
        return [(reason, self.dropped.get(reason, Tally())) for reason in reasons]

    @property
    def missing(self) -> int:
        """Documents taken in and not accounted for; negative when more came out than went in."""
        dropped = sum(tally.documents for tally in self.dropped.values())
        return self.taken.documents - self.out.documents - dropped - self.failed

    @property
    def missing_bytes(self) -> int:
        """Bytes of text taken in and not accounted for; a record that failed has none."""
        return self.taken.bytes - self.out.bytes - sum(tally.bytes for tally in self.dropped.values())


class Ledger(msgspec.Struct, kw_only=True):
    """One account per source, the records that failed by file and line, what was repaired by kind, and errors by kind.

    `errors` counts documents that went on without all of their measurements, by what failed and how, and `first_errors`
    has the first one of each kind; `fields` counts those that had a field that was looked for, by who looked and which,
    0 included.

    >>> ledger = Ledger()
    >>> ledger.take("books", documents=3, bytes=30)
    >>> ledger.keep("books", documents=2, bytes=20)
    >>> ledger.drop("books", "too short", documents=1, bytes=10)
    >>> ledger.check("mix")
    >>> ledger.total().out
    Tally(documents=2, bytes=20, tokens=0)
    """

    accounts: dict[str, Account] = {}
    failed: list[FailedRecord] = []
    repaired: dict[str, int] = {}
    errors: dict[str, int] = {}
    fields: dict[str, int] = {}
    first_errors: dict[str, FailedRecord] = {}

    def account(self, source: str) -> Account:
        """The account of this source, opened on first use."""
        return self.accounts.setdefault(source, Account())

    def take(self, source: str, *, documents: int = 0, bytes: int = 0, tokens: int = 0) -> None:
        """Documents that came in. `fail` takes its records in by itself."""
        self.account(source).taken.add(Tally(documents=documents, bytes=bytes, tokens=tokens))

    def keep(self, source: str, *, documents: int = 0, bytes: int = 0, tokens: int = 0) -> None:
        """Distinct documents that go on; also counted as written once."""
        tally = Tally(documents=documents, bytes=bytes, tokens=tokens)
        self.account(source).out.add(tally)
        self.account(source).written.add(tally)

    def pass_on(self, batch: TextBatch) -> None:
        """Documents of a batch that came in and go on, all of them."""
        documents, sizes = Counter(batch.sources), Counter[str]()
        if len(documents) == 1:
            sizes[batch.sources[0]] = len(batch.utf8)
        else:
            for source, n_bytes in zip(batch.sources, batch.n_bytes.tolist(), strict=True):
                sizes[source] += n_bytes
        for source, n in documents.items():
            self.take(source, documents=n, bytes=sizes[source])
            self.keep(source, documents=n, bytes=sizes[source])

    def repeat(self, source: str, *, documents: int = 0, bytes: int = 0, tokens: int = 0) -> None:
        """Further copies of kept documents: written, not out."""
        self.account(source).written.add(Tally(documents=documents, bytes=bytes, tokens=tokens))

    def drop(self, source: str, reason: str, *, documents: int = 0, bytes: int = 0, tokens: int = 0) -> None:
        """Documents left out for this reason."""
        tally = Tally(documents=documents, bytes=bytes, tokens=tokens)
        self.account(source).dropped.setdefault(reason, Tally()).add(tally)

    def fail(self, source: str, intake: Intake) -> None:
        """What the reader of one task left out and repaired: failed records count as taken in, and failed.

        So do documents that were taken down, by their own sources, and dropped.
        """
        for of, (documents, n_bytes) in intake.taken_down.items():
            self.take(of, documents=documents, bytes=n_bytes)
            self.drop(of, TAKEDOWN, documents=documents, bytes=n_bytes)
        for kind, count in intake.repaired.items():
            self.repair(kind, count)
        if not intake.n_failed:
            return
        self.account(source).taken.documents += intake.n_failed
        self.account(source).failed += intake.n_failed
        self.failed = sorted([*self.failed, *intake.failed], key=_place)

    def repair(self, kind: str, count: int) -> None:
        """This many repairs of this kind."""
        if count:
            self.repaired[kind] = self.repaired.get(kind, 0) + count

    def err(self, kind: str, count: int, *, first: FailedRecord | None = None) -> None:
        """This many errors of this kind; `first`: the first of them."""
        if count:
            self.errors[kind] = self.errors.get(kind, 0) + count
        if first is not None:
            self.first_errors[kind] = min(self.first_errors.get(kind, first), first, key=_place)

    def find(self, field: str, count: int) -> None:
        """This many documents with this field; it is kept that somebody looked for it."""
        self.fields[field] = self.fields.get(field, 0) + count

    def add(self, other: Ledger) -> None:
        """Add the other's accounts to these. The result is the same in any order of adding."""
        for source, account in other.accounts.items():
            self.account(source).add(account)
        self.failed = sorted([*self.failed, *other.failed], key=_place)
        for kind, count in other.repaired.items():
            self.repaired[kind] = self.repaired.get(kind, 0) + count
        for kind, count in other.errors.items():
            self.err(kind, count, first=other.first_errors.get(kind))
        for field, count in other.fields.items():
            self.find(field, count)

    def total(self) -> Account:
        """All accounts added up."""
        total = Account()
        for account in self.accounts.values():
            total.add(account)
        return total

    def check(self, stage: str) -> None:
        """Return when every document and every byte is accounted for.

        Raises:
            LedgerError: for some source, `in = out + dropped + failed` does not hold in documents or in bytes, or more
                failed records are named than counted (fewer may be: a reader names the first ones of a task only).
        """
        lines = [line for source, account in sorted(self.accounts.items()) for line in _imbalances(source, account)]
        n_failed = sum(account.failed for account in self.accounts.values())
        if n_failed < len(self.failed):
            lines.append(f"{n_failed} records are counted as failed and {len(self.failed)} are named")
        if lines:
            raise LedgerError(
                f"{stage}: the ledger does not balance:\n  "
                + "\n  ".join(lines)
                + "\n  no manifest was written; this is a defect of dolma: please report it with the lines above"
            )


def merged(ledgers: list[Ledger]) -> Ledger:
    """The sum of these ledgers, as a new one, its sources and reasons in sorted order."""
    total = Ledger()
    for ledger in ledgers:
        for source, account in ledger.accounts.items():
            total.account(source).add(account)
        for kind, count in ledger.repaired.items():
            total.repair(kind, count)
        for kind, count in ledger.errors.items():
            total.err(kind, count, first=ledger.first_errors.get(kind))
        for field, count in ledger.fields.items():
            total.find(field, count)
    for account in total.accounts.values():
        account.dropped = dict(sorted(account.dropped.items()))
    return Ledger(
        accounts=dict(sorted(total.accounts.items())),
        failed=sorted((record for ledger in ledgers for record in ledger.failed), key=_place),
        repaired=dict(sorted(total.repaired.items())),
        errors=dict(sorted(total.errors.items())),
        fields=dict(sorted(total.fields.items())),
        first_errors=dict(sorted(total.first_errors.items())),
    )


def _place(record: FailedRecord) -> tuple[Any, ...]:
    # None sorts before every number: not every format has lines or offsets.
    return tuple((value is not None, value) for value in (record.file, record.line, record.offset, record.reason))


def _imbalances(source: str, account: Account) -> Iterator[str]:
    dropped = Tally()
    for tally in account.dropped.values():
        dropped.add(tally)
    if account.missing:
        yield (
            f"source {source!r}: {account.taken.documents} in, but {account.out.documents} out + {dropped.documents} "
            f"dropped + {account.failed} failed ({account.missing:+d} not accounted for)"
        )
    if account.missing_bytes:
        yield (
            f"source {source!r}: {account.taken.bytes} bytes in, but {account.out.bytes} out + {dropped.bytes} dropped "
            f"({account.missing_bytes:+d} not accounted for)"
        )
