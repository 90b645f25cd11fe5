"""A report on a corpus: one HTML page without script, which opens from disk and can be sent around.

recipe, manifests, attributes -> what was read, dropped and written; values beside thresholds; texts near them
"""

from __future__ import annotations

import html
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

import dolma
from dolma.config import MixConfig, Recipe
from dolma.data import streams
from dolma.data.manifest import Manifest, read_manifest
from dolma.errors import ConfigError, DataError
from dolma.graph import graph_of
from dolma.html_text import number, shown, table
from dolma.lookup.card import given_settings, manifest_of
from dolma.lookup.choose import attribute_rows, beside
from dolma.lookup.documents import Document, Documents
from dolma.lookup.drawings import flow, histogram
from dolma.lookup.measured import Measured, Span, measured, row_batches, spans_of
from dolma.lookup.thresholds import Threshold, thresholds
from dolma.mixers.catalogue import Catalogue
from dolma.mixers.join import AttributeFile
from dolma.mixers.rules import written_rules
from dolma.printable import counted, printable
from dolma.runner.ledger import Ledger
from dolma.stages import Node

MOST_TEXTS = 500
"""Texts in a report."""
_MOST_HISTOGRAMS = 100
_CHARACTERS = 1200  # of a text
_RIGHT = 14  # rules in the picture of the flow, by what they drop
_WRITTEN = "written"
_MASK = "█"
_NUMBERS = ("int", "float")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --line: #d5d8dc; --soft: #f4f5f7; --bar: #1b6ca8;
  --limit: #c2542d }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --paper: #16181b; --line: #3a3e44; --soft: #1f2226; --bar: #5aa3d8; --limit: #e58a5f }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2em auto;
  max-width: 70em; padding: 0 1em }
table { border-collapse: collapse }
td, th { border-bottom: 1px solid var(--line); padding: .2em .6em; text-align: left; vertical-align: top }
.number { text-align: right; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
svg { width: 100%; height: auto }
svg text { font-size: 12px; fill: var(--ink) }
.bar { fill: var(--bar) }
.ribbon { opacity: .35 }
line.limit { stroke: var(--limit); stroke-width: 1.5 }
text.limit { fill: var(--limit) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(22em, 1fr)); gap: 1em }
figure { margin: 0 }
figcaption { overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); padding: .7em; border-radius: 4px;
  max-height: 24em; overflow: auto }
mark { background: #f2c94c; color: #000 }
details { margin: .5em 0 }
summary { cursor: pointer }
@media print { body { max-width: none } pre { max-height: none } details { break-inside: avoid } }
"""


def report(recipe: Recipe, *, index: str | None, texts: bool = True, show_pii: bool = False) -> str:
    """The page, for the last mix of a recipe that has been run.

    `index` is the folder of the index of ids. `texts` False: neither texts nor ids are in it. Unless `show_pii`, what
    taggers of personal data found is masked in texts.

    Raises:
        ConfigError: the recipe has no finished mix.
        DataError: a file is damaged, or attributes are of other documents.
    """
    nodes = [node for node in graph_of(recipe) if node.output is not None]
    manifests = {node.name: found for node in nodes if (found := manifest_of(node)) is not None}
    mixes = [node for node in nodes if node.stage.writes == "documents" and node.name in manifests]
    if not mixes:
        raise ConfigError("has no finished mix to report on\n  run the recipe first: `dolma run RECIPE`")
    mix = mixes[-1]
    page = _Page(mix, manifests[mix.name], Documents(mix.dataset, mix.reading, index=index))
    parts = [
        page.flow(),
        page.ledger(),
        page.mixture(),
        page.overlaps(),
        page.histograms(),
        page.clusters(),
        page.texts(show_pii=show_pii) if texts else "",
        _training(nodes),
        _made(recipe, manifests),
    ]
    title = f"Report on {shown(mix.output)}"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>{policy}"
        f"<meta name='viewport' content='width=device-width'><title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{''.join(part for part in parts if part)}</body></html>\n"
    )


class _Page:
    """The parts that are about one mix."""

    def __init__(self, mix: Node, manifest: Manifest, documents: Documents) -> None:
        self._folder, self._documents = str(mix.output), documents
        self._ledger = msgspec.convert(manifest.ledger, Ledger)
        self._config = mix.config if isinstance(mix.config, MixConfig) else MixConfig()
        self._rules = list(written_rules(self._config))
        names = mix.dataset.attribute_names(documents.shards) if mix.dataset.has_homes(documents.shards) else []
        files = {name: mix.dataset.attribute_files(name, documents.shards) for name in names}
        self._lacking = [name for name in names if any(path is None for _, path in files[name])]
        whole = tuple(name for name in names if name not in self._lacking)
        self._catalogue = Catalogue(dataset=mix.dataset, shards=documents.shards, names=whole)
        self._personal = frozenset(filter(self._is_personal, names))

    def flow(self) -> str:
        total = self._ledger.total()
        dropped = Counter({reason: tally.documents for reason, tally in total.dropped.items()})
        named = {reason for reason, _ in dropped.most_common(_RIGHT)}
        amounts: dict[tuple[str, str], int] = {}
        for source, account in sorted(self._ledger.accounts.items()):
            amounts[source, _WRITTEN] = account.out.documents
            for reason, tally in account.dropped.items():
                to = reason if reason in named else "other rules"
                amounts[source, to] = amounts.get((source, to), 0) + tally.documents
            if account.failed:
                amounts[source, "bad records"] = account.failed
        said = (
            f"{counted(total.taken.documents, 'document')} read, {total.out.documents:,} kept, "
            f"{total.written.documents:,} written, copies included; {counted(total.written.bytes, 'byte')} of text."
        )
        return f"<h2>Flow</h2><p>{said}</p>{flow(amounts)}"

    def ledger(self) -> str:
        rows: list[Sequence[object]] = []
        for source, account in sorted(self._ledger.accounts.items()):
            rows.append((source, "read", account.taken.documents, account.taken.bytes))
            for reason, tally in account.drops():
                if tally.documents or tally.bytes:
                    rows.append((source, f"- {reason}", tally.documents, tally.bytes))
            rows.append((source, "written", account.written.documents, account.written.bytes))
        return "<h2>Ledger</h2>" + table(("source", "what", "documents", "bytes"), rows)

    def mixture(self) -> str:
        path = streams.join(self._folder, "mixture.json")
        if not streams.exists(path):
            return ""
        found = msgspec.json.decode(streams.read_bytes(path))
        keys = ("source", "asked", "achieved", "asked_share", "achieved_share", "documents", "bytes", "tokens")
        rows = [[one.get(key) for key in keys] for one in found["sources"]]
        return f"<h2>Mixture</h2><p>In {shown(found['unit'])}.</p>" + table(keys, rows)

    def overlaps(self) -> str:
        path = streams.join(self._folder, "waterfall.parquet")
        if not streams.exists(path):
            return ""
        rows = [row for batch in row_batches(path) for row in batch.to_pylist()]
        rules = list(dict.fromkeys(row["rule"] for row in rows))
        total: Counter[str] = Counter()
        alone: Counter[str] = Counter()
        both: Counter[tuple[str, str]] = Counter()
        for row in rows:
            total[row["rule"]] += row["total"]
            alone[row["rule"]] += row["alone"]
            for other in row["overlaps"] or []:
                both[row["rule"], other["rule"]] += other["documents"]
        cells = [
            (f"{i + 1}. {rule}", total[rule], alone[rule], *(both[rule, other] or both[other, rule] for other in rules))
            for i, rule in enumerate(rules)
        ]
        headers = ("rule", "drops", "alone", *(str(i + 1) for i in range(len(rules))))
        return "<h2>Overlap of rules</h2><p>Documents that two rules both drop.</p>" + table(headers, cells, heat=True)

    def histograms(self) -> str:
        limits = [one for rule in self._rules for one in thresholds(rule)]
        columns = [
            (name, output)
            for name in self._catalogue.names
            for output, kind in self._catalogue.outputs(name).items()
            if kind.kind in _NUMBERS
        ]
        ruled = {(one.set, one.output) for one in limits}
        columns.sort(key=lambda column: column not in ruled)
        drawn = []
        for name, output in columns[:_MOST_HISTOGRAMS]:
            values = [one.value for one in limits if (one.set, one.output) == (name, output)]
            drawn.append(histogram(f"{name}.{output}", self._values(name, output), thresholds=values))
        more = len(columns) - _MOST_HISTOGRAMS
        after = f"<p>{more:,} more attributes are not drawn.</p>" if more > 0 else ""
        if self._lacking:
            after += f"<p>Left out, as some document files have none: {shown(', '.join(self._lacking))}.</p>"
        return f"<h2>Attributes</h2><div class='grid'>{''.join(drawn)}</div>{after}" if drawn else ""

    def _values(self, name: str, output: str) -> npt.NDArray[np.float64]:
        kind = self._catalogue.outputs(name)[output]
        paths = self._catalogue.files(name, [output])
        found = [np.zeros(0)]
        for shard in self._documents.shards:
            files = [AttributeFile(set=name, path=paths[shard.name], outputs={output: kind})]
            for arrays, _ in attribute_rows(shard, files):
                found.append(arrays[name][output].cast(pa.float64()).to_numpy(zero_copy_only=False))
        return np.concatenate(found)

    def clusters(self) -> str:
        parts = []
        for name in self._catalogue.names:
            if not {"cluster_size", "duplicate"} <= self._catalogue.outputs(name).keys():
                continue
            sizes = Counter(self._cluster_sizes(name))
            rows = [(size, n, size * n) for size, n in sorted(sizes.items()) if size > 1][:20]
            said = table(("documents in a cluster", "clusters", "documents"), rows) if rows else "<p>no copies</p>"
            parts.append(f"<h3>{shown(name)}</h3>{said}")
        return f"<h2>Copies</h2>{''.join(parts)}" if parts else ""

    def _cluster_sizes(self, name: str) -> Iterator[int]:
        outputs = {key: self._catalogue.outputs(name)[key] for key in ("cluster_size", "duplicate")}
        paths = self._catalogue.files(name, list(outputs))
        for shard in self._documents.shards:
            for arrays, _ in attribute_rows(shard, [AttributeFile(set=name, path=paths[shard.name], outputs=outputs)]):
                pairs = zip(
                    arrays[name]["cluster_size"].to_pylist(), arrays[name]["duplicate"].to_pylist(), strict=True
                )
                yield from (size for size, duplicate in pairs if size is not None and not duplicate)

    def texts(self, *, show_pii: bool) -> str:
        limits = [one for rule in self._rules for one in thresholds(rule) if self._is_number(one)]
        per_side = max(1, min(3, MOST_TEXTS // (2 * len(limits) or 1)))
        parts = []
        for limit in limits[: MOST_TEXTS // 2]:
            column = limit.set, limit.output
            below, above = beside(self._documents, self._catalogue, column, limit.value, per_side)
            for title, side in (("below", below), ("at or above", above)):
                for near in side:
                    values = measured(self._catalogue.dataset, self._documents.shards, near.document)
                    said = f"{title} {number(limit.value)}: {number(near.value)}, {near.document.id}"
                    text = marked(near.document, spans_of(values), masked=self._masked(values, show_pii=show_pii))
                    parts.append(f"<details><summary>{shown(limit.attribute)} {shown(said)}</summary>{text}</details>")
        if not parts:
            return ""
        note = "" if show_pii else " Personal data that taggers found is masked."
        return f"<h2>Texts near thresholds</h2><p>The nearest ones on both sides, cut.{note}</p>{''.join(parts)}"

    def _is_number(self, limit: Threshold) -> bool:
        if limit.set not in self._catalogue.names:
            return False
        found = self._catalogue.outputs(limit.set).get(limit.output)
        return found is not None and found.kind in _NUMBERS

    def _is_personal(self, name: str) -> bool:
        """Whether a set, or the tagger that made it, is called so."""
        files = self._catalogue.dataset.attribute_files(name, self._documents.shards)
        made_by = {_tagger_of(place.folder) for place, path in files if path is not None}
        return any("pii" in one.lower() for one in (name, *made_by))

    def _masked(self, values: Measured, *, show_pii: bool) -> list[tuple[int, int]]:
        """What is personal: spans of taggers that are called so, and those that the mix edits."""
        if show_pii:
            return []
        edited = {edit.attribute for edit in self._config.spans}
        return [
            (one.start, one.end)
            for one in spans_of(values)
            if one.attribute.partition(".")[0] in self._personal or one.attribute in edited
        ]


def _tagger_of(folder: str) -> str:
    """The tagger of a set, as its manifest calls it; "" where none says."""
    try:
        manifest = read_manifest(folder)
    except DataError:  # some other program's
        return ""
    return "" if manifest is None else str(manifest.config.get("tagger", ""))


def marked(document: Document, spans: Sequence[Span], *, masked: Sequence[tuple[int, int]] = ()) -> str:
    """The beginning of a text as HTML, spans marked and others masked; nothing in it is markup of the text's."""
    text = document.text[:_CHARACTERS]
    hidden, covered = np.zeros(len(text), bool), np.zeros(len(text), bool)
    for start, end in masked:
        hidden[start:end] = True
    for span in spans:
        covered[span.start : span.end] = True
    letters = [_MASK if hidden[i] and not character.isspace() else character for i, character in enumerate(text)]
    edges = [0, *(np.flatnonzero(np.diff(covered)) + 1).tolist(), len(text)]
    parts = []
    for start, end in itertools.pairwise(edges):
        piece = "\n".join(printable(line.replace("\t", "    ")) for line in "".join(letters[start:end]).split("\n"))
        escaped = html.escape(piece, quote=True)
        parts.append(f"<mark>{escaped}</mark>" if start < len(text) and covered[start] else escaped)
    left = len(document.text) - len(text)
    more = f"<p>{left:,} characters more.</p>" if left else ""
    return f"<pre>{''.join(parts)}</pre>{more}"


def _training(nodes: Sequence[Node]) -> str:
    from dolma.training.curve import chart, loss_lines
    from dolma.training.metrics import read_metrics

    parts = []
    for node in nodes:
        if node.stage.writes != "checkpoints":
            continue
        path = streams.join(str(node.output), "metrics.jsonl")
        if not streams.exists(path):
            continue
        parts.append(chart(f"{node.label}: loss, nats per token", loss_lines(read_metrics(path))))
    return f"<h2>Training</h2>{''.join(parts)}" if parts else ""


def _made(recipe: Recipe, manifests: Mapping[str, Manifest]) -> str:
    text = yaml.safe_dump(given_settings(recipe), sort_keys=False)
    rows = [(name, one.stage, one.code_version, one.fingerprint) for name, one in manifests.items()]
    return (
        f"<h2>How it was made</h2><p>With dolma {shown(dolma.__version__)}, by this recipe.</p>"
        f"<pre>{html.escape(text, quote=True)}</pre>{table(('stage', 'kind', 'made by dolma', 'fingerprint'), rows)}"
    )
