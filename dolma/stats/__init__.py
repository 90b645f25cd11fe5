"""Counts, quantiles and histograms of documents and attributes, and the stage that makes them."""

from dolma.stages import Checks, Stage

STAGE = Stage(
    name="stat",
    folder="stat",
    reads=("documents", "attributes", "tokens"),
    writes="statistics",
    beginning="looking at documents and attributes",
    bare=True,
    run="dolma.stats.stat:stat",
    plan="dolma.stats.stat:plan",
    unlike="dolma.stats.verify:unlike",
    show="dolma.stats.statistics:tables",
    checks={"stat": Checks(contradictions="dolma.stats.verify:contradictions")},
)
