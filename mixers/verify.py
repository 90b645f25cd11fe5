"""Check a finished mix: rows of its files, and whether ledger, documents and rows fit."""

from __future__ import annotations

from collections.abc import Iterator

from dolma.data.formats.table import format_of
from dolma.data.manifest import Manifest, OutputFile, differences
from dolma.data.takedown import REASON as TAKEDOWN
from dolma.mixers.waterfall import HELD_OUT, SAMPLED_OUT
from dolma.runner.ledger import Ledger


def count_rows(out: OutputFile, path: str) -> int:
    """The documents of a file, or its rows."""
    return format_of(path).count(path)


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and its files does not fit."""
    total = ledger.total()
    counts = {reason: tally.documents for reason, tally in total.dropped.items()}
    read = total.taken.documents - total.failed - counts.pop(TAKEDOWN, 0)
    held = counts.pop(HELD_OUT, 0)
    dropped = sum(n for reason, n in counts.items() if reason != SAMPLED_OUT)
    for place, expected in (
        ("documents/", total.written.documents),
        ("rows/", total.written.documents),
        ("decisions/", read),
        ("dropped/", dropped if manifest.config["dropped"] else 0),
        ("holdout/", held),
    ):
        n_rows = sum(out.rows for out in manifest.outputs if out.path.startswith(place))
        yield from differences(place, **{"number of documents in the ledger": (expected, n_rows)})
    sizes = {out.path: out.rows for out in manifest.outputs}
    suffix = manifest.config["format"]
    for path in filter(lambda path: path.startswith("documents/"), sizes):
        rows = f"rows/{path.removeprefix('documents/').removesuffix(suffix)}.parquet"
        if sizes.get(rows) != sizes[path]:
            yield f"{path} has {sizes[path]:,} documents, {rows} has {sizes.get(rows, 'no')} rows"
