"""Copies in a corpus, and the stage that marks them."""

from dolma.stages import Checks, Stage

STAGE = Stage(
    name="dedupe",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="looking at the documents",
    bare=True,
    run="dolma.dedupers.dedupe:dedupe",
    plan="dolma.dedupers.dedupe:plan",
    declares="dolma.dedupers.dedupe:declares",
    sets="dolma.dedupers.dedupe:sets",
    again="dolma.dedupers.dedupe:made_again",
    show="dolma.dedupers.notes:tables",
    checks={
        "dedupe": Checks(
            rows="dolma.runner.attribute_sets:count_rows", contradictions="dolma.dedupers.dedupe:contradictions"
        ),
    },
)
