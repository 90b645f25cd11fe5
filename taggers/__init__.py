"""Measurements of documents: a module per family of taggers, their registry, and the stage that runs them."""

from dolma.stages import Checks, Stage

STAGE = Stage(
    name="tag",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="loading taggers, looking at the documents",
    imports=True,
    run="dolma.taggers.tag:tag",
    plan="dolma.taggers.tag:plan",
    declares="dolma.taggers.tag:declares",
    sets="dolma.taggers.tag:sets",
    again="dolma.taggers.tag:made_again",
    unlike="dolma.taggers.verify:unlike",
    sample="dolma.taggers.verify:sample",
    needs="dolma.taggers.needs:findings",
    accept="dolma.taggers.tag:check_measured",
    checks={
        "tag": Checks(rows="dolma.runner.attribute_sets:count_rows", contradictions="dolma.taggers.tag:contradictions"),
    },
)
