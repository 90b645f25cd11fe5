"""What sums up files that have changed: accounts, notes and manifests.

A manifest is changed so that it is that of a stage that was run without the documents: inputs and outputs are the files
as they are now, its settings have the list, and its ledger does not count what its inputs do not have any more. What an
input still has, because it could not be reached, the ledger counts as dropped, `takedown`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from dolma.data.formats.table import strip_suffixes
from dolma.data.manifest import FileSet, InputFile, Manifest, OutputFile
from dolma.data.takedown import REASON
from dolma.errors import DataError
from dolma.mixers.mixture import Mixture, SourceRow
from dolma.mixers.notes import MixNotes
from dolma.mixers.waterfall import EDITED_AWAY, HELD_OUT, SAMPLED_OUT, WaterfallRow
from dolma.printable import printable
from dolma.removal.clusters import Row
from dolma.removal.find import Fact
from dolma.runner.ledger import Account, Ledger, Tally
from dolma.runner.separate import with_ledgers

NOTE = "takedown"
_Removed = Mapping[str, Any]
"""A row of `decisions/`."""


class InputNow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an input, by the checksum it had: what it is now, and the documents that went.

    Not `reached`: it is as it was, and stages pass over them. `listed` are those that they have passed over before.
    """

    size: int
    checksum: str
    path: str = ""
    facts: Sequence[Fact] = ()
    reached: bool = True
    listed: frozenset[str] = frozenset()


def _less(tally: Tally, *, documents: int = 1, bytes: int = 0, tokens: int = 0) -> None:
    tally.documents -= documents
    tally.bytes -= bytes
    tally.tokens -= tokens


def _drop_less(account: Account, reason: str, *, documents: int = 1, bytes: int = 0, tokens: int = 0) -> None:
    tally = account.dropped.setdefault(reason, Tally())
    _less(tally, documents=documents, bytes=bytes, tokens=tokens)
    if not (tally.documents or tally.bytes or tally.tokens):
        del account.dropped[reason]


def _leave(account: Account, n_bytes: int, *, reached: bool, tokens: int = 0) -> None:
    """A document has gone from where it stood in an account: out of all that was taken in, or to `takedown`."""
    if reached:
        _less(account.taken, bytes=n_bytes, tokens=tokens)
    else:
        account.dropped.setdefault(REASON, Tally()).add(Tally(documents=1, bytes=n_bytes, tokens=tokens))


def _enter(ledger: Ledger, fact: Fact, now: InputNow, out: Callable[[Account], None]) -> None:
    """Take a document out of an account; `out` does so where it was read, and not passed over."""
    account = ledger.account(fact.source)
    if fact.failed:
        if now.reached:
            account.failed -= 1
            _less(account.taken)
            ledger.failed = [one for one in ledger.failed if (one.file, one.line) != (now.path, fact.line)]
        return
    if fact.id in now.listed:
        if now.reached:
            _drop_less(account, REASON, bytes=fact.bytes)
            _less(account.taken, bytes=fact.bytes)
        return
    out(account)
    _leave(account, fact.bytes, reached=now.reached)


def pass_on(ledger: Ledger, now: InputNow) -> None:
    """The account of a stage that passes all documents on, without those of an input that went."""
    for fact in now.facts:

        def out(account: Account, fact: Fact = fact) -> None:
            _less(account.out, bytes=fact.bytes)
            _less(account.written, bytes=fact.bytes)

        _enter(ledger, fact, now, out)


def tokenized(ledger: Ledger, now: InputNow, tokens: Mapping[int, int]) -> None:
    """The account of `tokenize`; `tokens` has those of each document that is in a shard, by its line."""
    for fact in now.facts:

        def out(account: Account, fact: Fact = fact) -> None:
            n_tokens = tokens.get(fact.line)
            if n_tokens is None:
                _drop_less(account, "empty", bytes=fact.bytes)
                return
            for tally in (account.out, account.written, account.taken):
                tally.tokens -= n_tokens
            _less(account.out, bytes=fact.bytes)
            _less(account.written, bytes=fact.bytes)

        _enter(ledger, fact, now, out)


def mixed(ledger: Ledger, removed: Iterable[_Removed], now: InputNow) -> None:
    """The account of a mix, by the decisions on what went; and what it had passed over of this input before."""
    for fact in now.facts:
        if fact.failed or fact.id in now.listed:
            _enter(ledger, fact, now, lambda account: None)
    for row in removed:
        account = ledger.account(row["source"])
        n_bytes, edited, copies = row["bytes"], row["edited_bytes"], row["copies"]
        if not row["kept"]:
            _drop_less(account, row["rules"][0], bytes=n_bytes)
        elif row["held_out"]:
            _drop_less(account, HELD_OUT, bytes=edited)
        elif copies == 0:
            _drop_less(account, SAMPLED_OUT, bytes=edited)
        else:
            _less(account.out, bytes=edited)
            _less(account.written, documents=copies, bytes=copies * edited)
        if row["kept"] and n_bytes != edited:
            _drop_less(account, EDITED_AWAY, documents=0, bytes=n_bytes - edited)
        _leave(account, n_bytes, reached=now.reached)


def of_shard(ledger: Ledger, row: Mapping[str, Any], *, is_first: bool) -> None:
    """The account of a set that was made of token shards, without one of its rows; a further one is a copy."""
    account, n_tokens = ledger.account(row["source"] or ""), row["end"] - row["start"]
    documents = int(row["part"] + 1 == row["parts"])
    for tally in (account.written, *((account.out, account.taken) if is_first else ())):
        _less(tally, documents=documents, tokens=n_tokens)


# --- what a mix says of itself ---------------------------------------------------------------------------------------


def mix_notes(notes: MixNotes, removed: Sequence[_Removed], ids: set[str]) -> MixNotes:
    """The notes of a mix without what these decisions were about."""
    rows = {(row.rule, row.source): row for row in notes.waterfall}
    for decision in removed:
        fired = decision["rules"]
        for i, rule in enumerate(fired):
            _count_less(rows[rule, decision["source"]], decision["bytes"], fired, i)
    for row in notes.waterfall:
        row.overlaps = {rule: n for rule, n in row.overlaps.items() if n}
        row.samples = [id for id in row.samples if id not in ids]
    n_edited = sum(1 for row in removed if row["kept"] and row["edits"])
    mixture = None if notes.mixture is None else _mixture(notes.mixture, removed)
    return msgspec.structs.replace(notes, edited_documents=notes.edited_documents - n_edited, mixture=mixture)


def _count_less(row: WaterfallRow, n_bytes: int, fired: Sequence[str], i: int) -> None:
    row.total -= 1
    row.total_bytes -= n_bytes
    if i == 0:
        row.documents -= 1
        row.bytes -= n_bytes
    if len(fired) == 1:
        row.alone -= 1
        row.alone_bytes -= n_bytes
    for other in fired:
        if other != fired[i]:
            row.overlaps[other] -= 1


def _mixture(mixture: Mixture, removed: Sequence[_Removed]) -> Mixture:
    rows = {row.source: row for row in mixture.sources}
    for decision in removed:
        row = rows.get(decision["source"])
        if row is None or not decision["kept"] or decision["held_out"]:
            continue
        n_bytes, copies, tokens = decision["edited_bytes"], decision["copies"], decision["tokens"] or 0
        row.left_documents -= 1
        row.left_bytes -= n_bytes
        row.documents -= copies
        row.bytes -= copies * n_bytes
        if row.left_tokens is not None:
            row.left_tokens -= tokens
        if row.tokens is not None:
            row.tokens -= copies * tokens
    for row in mixture.sources:
        row.achieved = _achieved(row)
    mixture.achieved = sum(row.achieved for row in mixture.sources)
    for row in mixture.sources:
        row.achieved_share = round(row.achieved / mixture.achieved, 6) if mixture.achieved else 0.0
    return mixture


def _achieved(row: SourceRow) -> int:
    return {"documents": row.documents, "bytes": row.bytes, "tokens": row.tokens or 0}[row.unit]


# --- what a dedupe says of itself ------------------------------------------------------------------------------------


def dedupe_notes(
    notes: dict[str, Any], facts: Mapping[str, Fact], removed: Iterable[Row], changed: Iterable[Row]
) -> dict[str, Any]:
    """The notes of a set with clusters: duplicates, and the documents of each source.

    `facts` has what was counted of each document of a cluster that lost one, by id; `removed` are the rows that went,
    `changed` those of which something else is said now.
    """
    notes = copy.deepcopy(notes)
    sources = {one["source"]: one for one in notes.get("sources", [])}
    for row in removed:
        fact = facts[row.id]
        notes["duplicates"] -= row.duplicate
        if (one := sources.get(fact.source)) is not None:
            one["seen"] -= 1
            one["bytes"] -= fact.bytes
            one["duplicates"] -= row.duplicate
            one["duplicate_bytes"] -= fact.bytes if row.duplicate else 0
            one["unique"] -= row.cluster is None
    for row in changed:
        became_kept = not row.duplicate and row.moved
        notes["duplicates"] -= became_kept
        if (fact_now := facts.get(row.id)) is not None and (one := sources.get(fact_now.source)) is not None:
            one["duplicates"] -= became_kept
            one["duplicate_bytes"] -= fact_now.bytes if became_kept else 0
            one["unique"] += row.cluster is None
    return notes


# --- manifests -------------------------------------------------------------------------------------------------------


def followed(
    manifest: Manifest,
    *,
    inputs: Mapping[str, InputNow],
    outputs: Mapping[str, OutputFile | None],
    ledger: Callable[[Ledger, InputFile], None],
    config: dict[str, Any],
    notes: dict[str, Any],
    removed: int,
    folder: str,
) -> Manifest:
    """The manifest after some inputs (by checksum) and outputs (by path; None: gone) have changed.

    `ledger` takes what went of one input out of an account.

    Raises:
        DataError: the account does not fit the documents that went.
    """
    now = [_input(file, inputs) for file in manifest.inputs]
    made = [outputs.get(out.path, out) for out in manifest.outputs]
    changed = with_ledgers(manifest, [file for file in manifest.inputs if file.checksum in inputs], ledger)
    file_set = FileSet(
        folder=folder, stage=manifest.stage, name=manifest.name, config=manifest.config | config, inputs=now
    )
    before = changed.notes.get(NOTE, {})
    said = {**changed.notes, **notes}
    said[NOTE] = before | notes.get(NOTE, {}) | {"records": before.get("records", 0) + removed}
    account = msgspec.convert(changed.ledger, Ledger)
    _check(account, folder)
    if "duplicates" in said:
        said["documents"] = account.total().out.documents
    return msgspec.structs.replace(
        changed,
        fingerprint=file_set.fingerprint,
        config=file_set.config,
        inputs=now,
        outputs=sorted((out for out in made if out is not None), key=lambda out: out.path),
        notes=said,
    )


def _input(file: InputFile, inputs: Mapping[str, InputNow]) -> InputFile:
    now = inputs.get(file.checksum)
    return file if now is None else InputFile(name=file.name, size=now.size, checksum=now.checksum)


def _check(ledger: Ledger, folder: str) -> None:
    for source, account in ledger.accounts.items():
        tallies = (account.taken, account.out, account.written, *account.dropped.values())
        if any(tally.documents < 0 for tally in tallies) or account.missing or account.missing_bytes:
            raise DataError(
                f"its ledger does not fit the documents of {printable(repr(source))} that are to go\n"
                f"  run `dolma verify {printable(folder)}`, make again what it names, and take down again",
                file=folder,
            )


def decisions_path(file: InputFile) -> str:
    """Where a mix has its decisions on an input."""
    return f"decisions/{strip_suffixes(file.name)}.parquet"
