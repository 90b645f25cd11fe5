"""Rules, span edits and samples of documents, and the stage that applies them."""

from dolma.stages import Checks, Stage

STAGE = Stage(
    name="mix",
    folder="mixed",
    reads=("documents", "attributes"),
    writes="documents",
    beginning="checking rules, looking at documents and attributes",
    kept=True,
    run="dolma.mixers.mix:mix",
    plan="dolma.mixers.mix:plan",
    preview="dolma.mixers.mix:preview",
    check="dolma.mixers.mix:check",
    doubts="dolma.mixers.subject:doubtful_sources",
    check_corpus="dolma.mixers.sampling:check_corpus",
    again="dolma.mixers.mix:made_again",
    show="dolma.mixers.notes:tables",
    checks={
        "mix": Checks(rows="dolma.mixers.verify:count_rows", contradictions="dolma.mixers.verify:contradictions"),
    },
)
