"""Measurements of documents: a module per family of taggers, their registry, and the stage that runs them."""

from dolma.stages import Checks, Manual, Stage

STAGE = Stage(
    name="tag",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="loading taggers, looking at the documents",
    imports=True,
    kernels="dolma.taggers.compiling:all_kernels",
    run="dolma.taggers.tag:tag",
    plan="dolma.taggers.tag:plan",
    declares="dolma.taggers.tag:declares",
    sets="dolma.taggers.tag:sets",
    again="dolma.taggers.tag:made_again",
    unlike="dolma.taggers.verify:unlike",
    sample="dolma.taggers.verify:sample",
    needs="dolma.taggers.needs:findings",
    accept="dolma.taggers.tag:check_measured",
    manual=Manual(
        help="""Measure documents: one row per document, in files beside them.

        Taggers have no thresholds; `mix` has. All taggers of a call share one pass over the text, and those whose
        attributes are there already are not run again.
        """,
        example="""
        dolma tag --taggers length --taggers gopher --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma tag -c configs/quickstart.yaml --workers 2
        """,
        options={
            "Tagging": ("taggers -t --taggers", "attributes_format", "experiment"),
            "Documents that fail": ("max_document_bytes", "max_seconds_per_document", "on_tagger_error"),
        },
        needed=("--taggers", "--documents"),
        profile=True,
    ),
    checks={
        "tag": Checks(rows="dolma.runner.attribute_sets:count_rows", contradictions="dolma.taggers.tag:contradictions"),
    },
)
