"""Copies in a corpus, and the stage that marks them."""

from dolma.stages import Checks, Stage

STAGE = Stage(
    name="dedupe",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="looking at the documents",
    bare=True,
    run="dolma.dedupers.exact:dedupe",
    plan="dolma.dedupers.exact:plan",
    declares="dolma.dedupers.exact:declares",
    sets="dolma.dedupers.exact:sets",
    again="dolma.dedupers.exact:made_again",
    checks={
        "dedupe": Checks(
            rows="dolma.runner.attribute_sets:count_rows", contradictions="dolma.dedupers.exact:contradictions"
        ),
    },
)
