"""Copies in a corpus, and the stage that marks them."""

from dolma.dedupers.config import OPTIONS
from dolma.stages import Checks, Manual, Stage

STAGE = Stage(
    name="dedupe",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="looking at the documents",
    bare=True,
    kernels="dolma.dedupers.dedupe:all_kernels",
    run="dolma.dedupers.dedupe:dedupe",
    plan="dolma.dedupers.dedupe:plan",
    measured="dolma.dedupers.config:reads_attributes",
    check="dolma.dedupers.dedupe:check",
    declares="dolma.dedupers.dedupe:declares",
    sets="dolma.dedupers.dedupe:sets",
    again="dolma.dedupers.dedupe:made_again",
    show="dolma.dedupers.notes:tables",
    explain="dolma.dedupers.explain:explain",
    manual=Manual(
        help="""Find copies and near-duplicates; one of each cluster stays, the answer is an attribute.

        Corpus order is files by name, then lines: the same answer at any worker count and file order.
        """,
        example="""
        dolma dedupe --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma dedupe --method minhash --name near --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma dedupe --method bloom --by paragraphs --name para \\
            --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma dedupe --method windows --by sentences --name windows \\
            --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma dedupe --by paragraphs --name paragraphs \\
            --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma dedupe --method substring --name repeated \\
            --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        dolma dedupe --method decontaminate --name contaminated --items data/sample/tasks/fables.jsonl \\
            --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
        """,
        options=OPTIONS,
        needed=("--by", "--documents"),
        below=("inspect",),
        explain="Print what the settings come to, such as what bands and rows find, and stop.",
    ),
    checks={
        "dedupe": Checks(
            rows="dolma.runner.attribute_sets:count_rows", contradictions="dolma.dedupers.dedupe:contradictions"
        ),
    },
)
