"""`StageReport`: what a stage did, of one shape for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from dolma.errors import MissingExtraError, SkippedRecordsError
from dolma.html_text import shown, table
from dolma.printable import counted
from dolma.runner.ledger import Ledger, Tally

if TYPE_CHECKING:
    import pandas as pd

D = TypeVar("D")
E = TypeVar("E")

BESIDE = "beside the documents"
"""Where attributes are that have no folder of their own."""
_REPAIRS = {
    "not_finite": "NaN or infinite numbers written as null",
    "bytes_as_hex": "ids of bytes written in hexadecimal",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StageReport(Generic[D]):
    """What a stage did. `outputs` and `bytes` count files and their size.

    `folder` is where they are, "" where nothing stays. `remarks` and `warnings` are lines for a person. `reasons` are
    those of dropping documents that are shown in this order, whatever they drop. `done` says what came of it where the
    ledger does not, `stopped` how far it came where a signal has ended it. `details` is what only it has to say.
    """

    stage: str
    name: str
    folder: str
    complete_before: bool = False
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    manifests: Sequence[str] = ()
    outputs: int = 0
    bytes: int = 0
    remarks: Sequence[str] = ()
    warnings: Sequence[str] = ()
    reasons: Sequence[str] = ()
    done: str = ""
    stopped: str = ""
    details: D

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __str__(self) -> str:
        """One line: the stage and what came of it."""
        return f"{self.label}: {self.summary}"

    @property
    def label(self) -> str:
        """The stage, and what this part of it is called if that is something else."""
        return self.stage if self.name == self.stage else f"{self.stage} {self.name}"

    @property
    def summary(self) -> str:
        """What came of it, in words."""
        if self.complete_before:
            what = f"what lies {BESIDE}" if self.folder == BESIDE else self.folder
            return f"nothing to do, {what} is complete and unchanged"
        if self.done:
            return self.done
        text = _of_documents(self.ledger)
        where = self.folder if self.folder == BESIDE else f"in {self.folder}"
        return (
            f"{text}; {counted(self.outputs, 'file')}, {counted(self.bytes, 'byte')} {where}" if self.folder else text
        )

    def detailed(self, details: E, **changes: Any) -> StageReport[E]:
        """This report with details, and these other fields."""
        return dataclasses.replace(self, details=details, **changes)  # type: ignore[return-value,arg-type]

    def check_skipped(self, max_errors: int) -> None:
        """Return when no more records were skipped than allowed.

        Raises:
            SkippedRecordsError: names the first of them.
        """
        n_failed = self.ledger.total().failed
        if n_failed <= max_errors:
            return
        first = self.ledger.failed[:3]
        lines = [f"{record.file}:{record.line}: {record.reason}" for record in first]
        raise SkippedRecordsError(
            f"{self.stage}: {n_failed:,} records were skipped; at most {max_errors:,} may be\n  "
            + "\n  ".join(lines)
            + f"\n  the outputs are complete without them; `--max-errors {n_failed}` accepts this"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, as JSON has them."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    def to_pandas(self) -> pd.DataFrame:
        """The account as a DataFrame, a row per source: documents and bytes in and out, failed, dropped by reason.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", extra="frames", purpose="to_pandas()") from error
        rows = {
            source: {
                "documents": account.taken.documents,
                "bytes": account.taken.bytes,
                "kept_documents": account.out.documents,
                "kept_bytes": account.out.bytes,
                "failed": account.failed,
                **{f"dropped: {reason}": tally.documents for reason, tally in account.dropped.items()},
            }
            for source, account in self.ledger.accounts.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")

    def _repr_html_(self) -> str:
        """What it did and its tables, as a notebook shows them."""
        tables = "".join(f"<h4>{shown(one.title)}</h4>{table(one.headers, list(one.rows))}" for one in self.tables())
        return f"<p>{shown(self)}</p>{tables}"

    def tables(self) -> list[Table]:
        """The tables that its command prints."""
        from dolma.stages import find_stage

        return list(find_stage(self.stage).tables(self))

    def to_json(self) -> str:
        """All of it as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


def _of_documents(ledger: Ledger) -> str:
    total = ledger.total()
    text = f"{counted(total.taken.documents, 'document')} in, {total.out.documents:,} out"
    if total.written.documents != total.out.documents:
        text += f" ({total.written.documents:,} with copies)"
    if total.out.tokens:
        text += f", {counted(total.out.tokens, 'token')}"
    if total.failed:
        text += f", {counted(total.failed, 'bad record')} left out"
    repaired = dict(ledger.repaired)
    others = {kind: repaired.pop(kind, 0) for kind in _REPAIRS}
    if n_damaged := sum(repaired.values()):
        text += f", {counted(n_damaged, 'damaged character')} replaced"
    for kind, n in others.items():
        text += f", {n:,} {_REPAIRS[kind]}" if n else ""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headers, to be shown; `grouped` as of `dolma.cli.tables.print_table`."""

    title: str
    headers: Sequence[str]
    rows: Iterable[Sequence[Any]]
    grouped: bool = False

    @classmethod
    def of(cls, title: str, rows: Sequence[dict[str, Any]]) -> Table:
        """The table of rows that all have the same keys, of which there is at least one."""
        return cls(title=title, headers=list(rows[0]), rows=[list(row.values()) for row in rows])


def ledger_table(ledger: Ledger, *, rules: Sequence[str] = ()) -> Table:
    """Documents and bytes in, dropped by reason, and out, per source; `rules` in their order."""
    rows: list[Sequence[Any]] = []
    for source, account in sorted(ledger.accounts.items()):
        rows.append((source, "in", account.taken.documents, account.taken.bytes, account.taken.tokens))
        for reason, tally in account.drops(rules):
            if tally == Tally():
                continue
            rows.append((source, f"- {reason}", tally.documents, tally.bytes, tally.tokens))
        if account.failed:
            rows.append((source, "- bad record", account.failed, "", ""))
        rows.append((source, "out", account.out.documents, account.out.bytes, account.out.tokens))
    headers = ["source", "", "documents", "bytes", "tokens"]
    if not any(row[4] for row in rows):
        rows, headers = [row[:4] for row in rows], headers[:4]
    return Table(title="ledger", headers=headers, rows=rows, grouped=True)
