"""What the rules do to the first documents of a long corpus: said before the rest is read."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec

from dolma.data.dataset import Piece
from dolma.data.documents import Intake, read_batches
from dolma.mixers.join import JoinedRows
from dolma.mixers.subject import Subject
from dolma.mixers.waterfall import Waterfall, warnings_of

LONG_BYTES = 64 << 20
"""Of documents on disk: of a shorter corpus the report comes soon enough."""
_FILES = 16


def first_look(subject: Subject) -> list[str]:
    """Rules that drop none or nearly all of the first documents, about 2 MB of each of 16 files all over the corpus.

    Raises:
        DataError: attributes do not fit the documents, or a rule has no answer for one.
    """
    rules = subject.judge.rules
    if sum(shard.size for shard in subject.shards) < LONG_BYTES or not rules.rules:
        return []
    reading = msgspec.structs.replace(subject.judge.reading, on_error="skip", quarantine=None)
    waterfall, taken = Waterfall(rules.labels), Counter[str]()
    chosen = subject.shards[:: -(-len(subject.shards) // _FILES)]
    for shard in chosen:
        with JoinedRows(Piece(shard=shard), subject.files[shard.name]) as rows:
            batches = read_batches(shard, reading, intake=Intake(), records=bool(rules.fields))
            for batch in itertools.islice(batches, 1):
                holds = rules.holds(batch, rules.with_own(batch, rows.take(batch)))
                waterfall.add(holds, sources=batch.sources, n_bytes=batch.n_bytes, ids=batch.ids)
                taken.update(batch.sources)
    found = warnings_of(
        waterfall.complete(taken, is_about=subject.judge.is_about),
        taken=taken,
        kept=1,  # whether anything is left is for the end
        implicit=[rule.label for rule in rules.rules if rule.is_implicit],
    )
    where = "the first documents" if len(chosen) == 1 else f"the first documents of {len(chosen)} files"
    return [f"mix: of {where} {line}" for line in found]
