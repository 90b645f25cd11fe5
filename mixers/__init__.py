"""Rules, span edits and samples of documents, and the stage that applies them."""

from dolma.stages import Checks, Manual, Stage

STAGE = Stage(
    name="mix",
    folder="mixed",
    reads=("documents", "attributes"),
    writes="documents",
    beginning="checking rules, looking at documents and attributes",
    kept=True,
    kernels={"spans": [{"attribute": "pii.email", "replace": "-"}]},
    run="dolma.mixers.mix:mix",
    plan="dolma.mixers.mix:plan",
    preview="dolma.mixers.mix:preview",
    check="dolma.mixers.mix:check",
    doubts="dolma.mixers.subject:doubtful_sources",
    check_corpus="dolma.mixers.sampling:check_corpus",
    again="dolma.mixers.mix:made_again",
    show="dolma.mixers.notes:tables",
    what_if="dolma.mixers.what_if:answers",
    manual=Manual(
        help="""Decide by rules over attributes which documents stay, edit spans, sample sources.

        Rules are SQL, checked before any text is read. `--dry-run` shows what each rule drops without writing a
        document.
        """,
        example=r"""
        dolma mix --keep 'length.words >= 20' --documents 'data/sample/*/documents/*.jsonl.gz' \
            --attributes runs/a --output runs/m
        dolma mix -c configs/quickstart.yaml --dry-run
        """,
        options={"Rules": ("keep", "drop", "missing", "min_length"), "Output": ("format", "dropped")},
        needed=("--keep", "--documents", "--output"),
        output="Folder of the mixed documents.",
        seeded=True,
    ),
    checks={
        "mix": Checks(rows="dolma.mixers.verify:count_rows", contradictions="dolma.mixers.verify:contradictions"),
    },
)
