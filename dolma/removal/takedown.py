"""`dolma takedown`: documents out of everything that a run has written, and out of every later run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import msgspec

from dolma.config import Recipe
from dolma.data import streams
from dolma.data.takedown import NAME as LIST
from dolma.data.takedown import TakedownList
from dolma.errors import ConfigError
from dolma.printable import counted, printable
from dolma.removal.asked import Asked
from dolma.removal.commit import JOURNAL, Staging, begun_elsewhere, discard, finish, refuse_committed
from dolma.removal.find import Wanted, is_listed, listed_of, wanted_of
from dolma.removal.places import Places, home_of, places_of
from dolma.removal.receipt import Place, Receipt, Trained
from dolma.removal.scan import Scan
from dolma.removal.shards import How
from dolma.removal.stage import Stager
from dolma.removal.trained import trained_of
from dolma.runner.lock import RunLock


def takedown(
    recipe: Recipe,
    folders: Sequence[str],
    asked: Asked,
    *,
    read_only: Sequence[str] = (),
    tokens: How = "pad",
    dry_run: bool = False,
) -> Receipt:
    """Take documents out of what a recipe reads and has written, and of what lies in these folders.

    With `dry_run`, say what would go and touch nothing. A take-down that was interrupted in the same folders is
    finished first; its receipt is given where nothing else is left to do.

    Raises:
        ConfigError: nothing is found; another process works in one of the folders, or a stage there is not finished.
        DataError: a file has changed since its stage wrote it, or cannot be read.
    """
    home = home_of(recipe, folders)
    path = recipe.takedown or streams.join(home, LIST)
    recipe = msgspec.structs.replace(recipe, takedown=path if streams.exists(path) else None)
    with ExitStack() as stack:
        before = None
        if dry_run:
            if os.path.exists(os.path.join(home, JOURNAL)):
                raise ConfigError(
                    f"a take-down in {printable(home)} was interrupted and is still to be finished"
                    "\n  run it again without `--dry-run`"
                )
        else:
            _lock(stack, [home])
            before = finish(home)
        places = places_of(recipe, folders, read_only=read_only)
        staged = _staged_in(home, places)
        refuse_committed(staged, home)
        if not dry_run:
            others = {streams.real_path(folder) for folder in (*places.folders, *begun_elsewhere(staged, home))}
            _lock(stack, sorted(filter(os.path.isdir, others - {streams.real_path(home)})))
            discard(staged)
        receipt = _taken_down(places, asked, path, tokens=tokens, dry_run=dry_run)
    if before is None:
        return receipt
    if receipt.nothing_left:
        receipt = msgspec.convert(before, Receipt)
    receipt.continued = True
    return receipt


def _lock(stack: ExitStack, folders: Sequence[str]) -> None:
    """Hold these folders alone until the end."""
    if folders:
        lock = RunLock(folders)
        if not lock.alone():
            raise lock.taken()
        stack.callback(lock.discard)


def _staged_in(home: str, places: Places) -> set[str]:
    """The folders in which another take-down, which was killed before it was committed, may have left something."""
    files = [file.shard.path for file in places.documents if file.writable]
    files += [*places.quarantined, *places.id_files]
    files += [one.path(out) for one in places.sets for out in one.manifest.outputs]
    return {home, *places.folders, *map(os.path.dirname, files)}


def _taken_down(places: Places, asked: Asked, path: str, *, tokens: How, dry_run: bool) -> Receipt:
    listed = listed_of(path, asked)
    wanted = wanted_of(asked, places, listed)
    scan = Scan.of(places, wanted.ids, listed)
    receipt = Receipt(
        dry_run=dry_run,
        ids=len(asked.ids),
        domains=len(asked.domains),
        rule=asked.rule,
        clusters=list(asked.clusters),
        documents=len(scan.found - wanted.copies),
        not_found=[*not_found(asked, wanted, scan.found, listed)],
        moved=sum(of.moved for of in scan.clusters.values()),
        places=scan.places,
        records=sum(place.removed for place in scan.places),
        unreached=[*scan.unreached],
        takedown=path,
    )
    if not scan.found:
        if is_listed(listed, asked) and (listed.ids or listed.domains):
            return receipt
        raise _nothing(asked, places)
    for seen in trained_of(places.of("checkpoints"), scan.found):
        if isinstance(seen, Trained):
            receipt.trained.append(seen)
        else:
            receipt.unreached.append(seen)
    scan.check(tokens)
    if not dry_run:
        _write(scan, listed.with_entries(wanted.ids, asked.domains), path, receipt, tokens)
    return receipt


def not_found(asked: Asked, wanted: Wanted, found: set[str], listed: TakedownList) -> Iterator[str]:
    """The ids and domains of which nothing was found, and that are not on the list from before."""
    for id in asked.ids:
        if id not in found and listed.hash_of_id(id) not in listed.ids:
            yield id
    for domain in wanted.without:
        if listed.hash_of_domain(domain) not in listed.domains:
            yield domain


def _write(scan: Scan, listed: TakedownList, path: str, receipt: Receipt, tokens: How) -> None:
    with Staging(scan.at.home) as staging:
        stager = Stager(scan, staging, listed.identity, how=tokens)
        stager.stage_all()
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        streams.write_bytes(staging.place(path), listed.encoded())
        receipt.places = [_after(place, stager.written) for place in receipt.places]
        receipt.places += [place for place in stager.summaries if place.before != place.after]
        receipt.unreached += stager.unreached
        staging.commit(receipt.to_dict())


def _after(place: Place, written: Mapping[str, tuple[str, str]]) -> Place:
    before, after = written.get(place.path, ("", ""))
    return msgspec.structs.replace(place, before=before, after=after)


def _nothing(asked: Asked, places: Places) -> ConfigError:
    what = [counted(len(asked.ids), "id")] if asked.ids else []
    what += [counted(len(asked.domains), "domain")] if asked.domains else []
    what += ["the rule"] if asked.rule is not None else []
    n_files, n_sets = len(places.documents), len(places.sets)
    return ConfigError(
        f"nothing was found of {' and '.join(what)} in {counted(n_files, 'file')} of documents and "
        f"{counted(n_sets, 'file set')}\n"
        "  give ids as they stand in the documents, and name all folders; nothing was written"
    )
