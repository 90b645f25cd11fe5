"""Counts, quantiles and histograms of documents and attributes, and the stage that makes them."""

from dolma.stages import Checks, Manual, Stage

STAGE = Stage(
    name="stat",
    folder="stat",
    reads=("documents", "attributes", "tokens"),
    writes="statistics",
    beginning="looking at documents and attributes",
    bare=True,
    resumes=False,
    kernels={},
    run="dolma.stats.stat:stat",
    plan="dolma.stats.stat:plan",
    unlike="dolma.stats.verify:unlike",
    show="dolma.stats.statistics:tables",
    manual=Manual(
        help="Count documents, bytes, words and tokens, and describe every attribute, per source.",
        example="""
        dolma stat --documents 'data/sample/*/documents/*.jsonl.gz'
        dolma stat -c configs/quickstart.yaml --json
        dolma stat -c configs/quickstart.yaml --sql 'select source, avg(length.words) from documents group by 1'
        """,
        options={"Counting": ("attributes --stat-attributes", "bins", "borders", "borders_by", "tokens")},
        needed=("--documents",),
        output="Folder for stat.json and borders.json.",
        sql=True,
    ),
    checks={"stat": Checks(contradictions="dolma.stats.verify:contradictions")},
)
