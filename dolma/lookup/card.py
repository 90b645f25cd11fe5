"""A dataset card: what a corpus is, where it comes from and what was done to it, of its recipe and manifests."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

import dolma
from dolma.config import MixConfig, Recipe
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.json_text import decode_json
from dolma.data.manifest import Manifest, read_manifest
from dolma.errors import ConfigError
from dolma.graph import graph_of
from dolma.printable import counted, printable
from dolma.runner.ledger import Account, Ledger
from dolma.stages import Node

_MOST = 10  # rows of a table of names
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SIZES_ABOVE = ((10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"))
_UNSTATED = "not stated"
_LANGUAGE = re.compile("[a-z]{2,3}")


@dataclass(slots=True)
class _Counts:
    """Documents of each source by licence, and of all by language, as their metadata say."""

    licences: dict[str, Counter[str]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)


def card(recipe: Recipe, *, name: str) -> str:
    """The card of what the last mix of a recipe has written, as Markdown with the front matter of Hugging Face.

    Reads the documents of the mix once, for the licences and languages that their metadata state.

    Raises:
        ConfigError: the recipe has no finished mix.
        DataError: a file cannot be read.
    """
    nodes = [node for node in graph_of(recipe) if node.output is not None]
    manifests = {node.name: found for node in nodes if (found := manifest_of(node)) is not None}
    mixes = [node for node in nodes if node.stage.writes == "documents" and node.name in manifests]
    if not mixes:
        raise ConfigError("has no finished mix to describe\n  run the recipe first: `dolma run RECIPE`")
    last = mixes[-1]
    counts = _counted(streams.join(str(last.output), "documents"), last.reading)
    ledger = msgspec.convert(manifests[last.name].ledger, Ledger)
    tokens = next((manifests[n.name] for n in nodes if n.stage.writes == "tokens" and n.name in manifests), None)
    token_ledger = None if tokens is None else msgspec.convert(tokens.ledger, Ledger)
    parts = [
        _front(name, ledger, counts),
        f"# {_text(name)}",
        _summary(ledger, token_ledger),
        _sources(ledger, token_ledger, counts),
        _languages(counts),
        _stages(nodes, manifests),
        *(_removed(node, msgspec.convert(manifests[node.name].ledger, Ledger)) for node in mixes),
        _personal_data(mixes, manifests),
        _contamination(nodes, manifests),
        _limits(counts, ledger),
        _again(recipe, manifests),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def manifest_of(node: Node) -> Manifest | None:
    """That of a stage, or of the first of its file sets."""
    folders = [streams.join(str(node.output), name) if name else str(node.output) for name in node.sets()]
    return next((found for folder in folders if (found := read_manifest(folder)) is not None), None)


def _counted(folder: str, reading: Reading) -> _Counts:
    found = _Counts()
    for shard in Dataset(documents=(folder,)).shards() if streams.entries_below(folder) else ():
        for batch in read_batches(shard, reading, intake=Intake(), metadata=True):
            for source, text in zip(batch.sources, batch.metadata or [None] * len(batch), strict=True):
                metadata = decode_json(text, dict[str, Any]) if text and text.startswith(b"{") else {}
                licence = _said(metadata, "license", "licence")
                found.licences.setdefault(source, Counter())[licence or _UNSTATED] += 1
                found.languages[_said(metadata, "language", "lang") or _UNSTATED] += 1
    return found


def _said(metadata: Mapping[str, Any], *names: str) -> str:
    return next((str(metadata[name]) for name in names if isinstance(metadata.get(name), str) and metadata[name]), "")


# --- parts -----------------------------------------------------------------------------------------------------------


def _front(name: str, ledger: Ledger, counts: _Counts) -> str:
    licences = Counter[str]()
    for of in counts.licences.values():
        licences += of
    stated = [licence for licence, _ in licences.most_common() if licence != _UNSTATED]
    only = stated[0].lower() if len(stated) == 1 and _UNSTATED not in licences else "other"
    languages = [one for one, _ in counts.languages.most_common() if _LANGUAGE.fullmatch(one)]
    n = ledger.total().written.documents
    size = next((word for most, word in (*_SIZES, *_SIZES_ABOVE) if n < most), "n>100B")
    front = {
        "pretty_name": printable(name),
        "license": printable(only),
        "language": sorted(languages),
        "task_categories": ["text-generation"],
        "size_categories": [size],
        "tags": ["pretraining", "dolma"],
    }
    text: str = yaml.safe_dump({key: value for key, value in front.items() if value}, sort_keys=False)
    return f"---\n{text}---"


def _summary(ledger: Ledger, tokens: Ledger | None) -> str:
    total = ledger.total()
    said = f"{counted(total.written.documents, 'document')}, {counted(total.written.bytes, 'byte')} of text"
    if tokens is not None:
        said += f", {counted(tokens.total().written.tokens, 'token')}"
    of = f"{counted(total.taken.documents, 'document')} that were read"
    kept = "each once" if total.written.documents == total.out.documents else "some of them several times"
    return f"{said}. The corpus holds {total.out.documents:,} of {of}, {kept}."


def _sources(ledger: Ledger, tokens: Ledger | None, counts: _Counts) -> str:
    rows = []
    for source, account in sorted(ledger.accounts.items()):
        licences = counts.licences.get(source, Counter())
        of = None if tokens is None else tokens.accounts.get(source)
        rows.append(
            (
                source,
                account.taken.documents,
                account.written.documents,
                account.written.bytes,
                "-" if of is None else of.written.tokens,
                ", ".join(f"{licence} ({n:,})" for licence, n in licences.most_common(_MOST)) or "-",
            )
        )
    headers = ("source", "documents read", "documents", "bytes", "tokens", "licences, by documents")
    return "## Sources\n\n" + _table(headers, rows)


def _languages(counts: _Counts) -> str:
    rows = counts.languages.most_common(_MOST)
    if not rows or set(counts.languages) == {_UNSTATED}:
        return "## Languages\n\nThe metadata of the documents state no language."
    more = len(counts.languages) - len(rows)
    after = f"\n\nThere are {more:,} more." if more > 0 else ""
    return (
        "## Languages\n\nAs the metadata of the documents state.\n\n" + _table(("language", "documents"), rows) + after
    )


def _stages(nodes: Sequence[Node], manifests: Mapping[str, Manifest]) -> str:
    lines = []
    for node in nodes:
        done = "" if node.name in manifests else " (not finished)"
        sets = [name for name in node.sets() if name]
        what = f": {', '.join(sets)}" if sets else ""
        lines.append(f"- {_code(node.label)}{_text(what)}{done}")
    return "## How it was made\n\n" + "\n".join(lines)


def _removed(node: Node, ledger: Ledger) -> str:
    total: Account = ledger.total()
    rows = [
        (reason, tally.documents, tally.bytes, _share(tally.documents, total.taken.documents))
        for reason, tally in total.drops()
        if tally.documents or tally.bytes
    ]
    if total.failed:
        rows.append(("records that could not be read", total.failed, 0, _share(total.failed, total.taken.documents)))
    if not rows:
        return f"## What {_code(node.label)} removed\n\nNothing."
    title = f"## What {_code(node.label)} removed\n\nA document counts for the first rule that drops it.\n\n"
    return title + _table(("rule", "documents", "bytes", "share"), rows)


def _personal_data(mixes: Sequence[Node], manifests: Mapping[str, Manifest]) -> str:
    rows = []
    for node in mixes:
        edits = node.config.spans if isinstance(node.config, MixConfig) else []
        for edit in edits:
            to = "deleted" if edit.replace is None or edit.replace == "" else f"replaced by {edit.replace}"
            rows.append((edit.attribute, to, node.label))
        if edits:
            total = msgspec.convert(manifests[node.name].ledger, Ledger).total()
            edited = manifests[node.name].notes.get("edited_documents", 0)
            rows.append(("in all", f"{counted(edited, 'document')} of {total.out.documents:,}", node.label))
    if not rows:
        return "## Personal data\n\nNo span was replaced or deleted. Nothing says that the text has no personal data."
    return (
        "## Personal data\n\nWhat taggers found was edited as follows; what they did not find is still there.\n\n"
        + _table(("found by", "what was done", "stage"), rows)
    )


def _contamination(nodes: Sequence[Node], manifests: Mapping[str, Manifest]) -> str:
    looked = [
        section
        for node in nodes
        if node.name in manifests
        for section in (node.config if isinstance(node.config, list) else [node.config])
        if getattr(section, "method", None) == "decontaminate"
    ]
    if not looked:
        return "## Benchmarks\n\nThe corpus was not searched for items of benchmarks."
    names = ", ".join(_code(section.name) for section in looked)
    return (
        f"## Benchmarks\n\nThe corpus was searched for items of benchmarks: the attribute sets {names} have the hits."
    )


def _limits(counts: _Counts, ledger: Ledger) -> str:
    unstated = sum(of[_UNSTATED] for of in counts.licences.values())
    lines = [f"{counted(unstated, 'document')} state no licence."] if unstated else []
    if len(ledger.failed):
        lines.append(f"{ledger.total().failed:,} records could not be read and are not in the corpus.")
    lines.append(
        "Licences and languages are those that the sources state; nobody has checked them document by document."
    )
    return "## Known limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _again(recipe: Recipe, manifests: Mapping[str, Manifest]) -> str:
    settings = {key: value for key, value in given_settings(recipe).items() if key != "output"}
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=False)
    rows = [(name, manifest.code_version, manifest.fingerprint) for name, manifest in manifests.items()]
    table = _table(("stage", "made by dolma", "fingerprint"), rows)
    return (
        "## How to make it again\n\n`dolma run` of this recipe over the same documents writes the same bytes, with "
        f"dolma {dolma.__version__}.\n\n````yaml\n{text}````\n\n{table}"
    )


def given_settings(value: Any) -> Any:
    """The settings that are not their defaults, as plain values."""
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        defaults = {
            one.name: one.default_factory() if one.default_factory is not msgspec.NODEFAULT else one.default
            for one in fields
        }
        found = {name: getattr(value, name) for name in defaults}
        return {name: given_settings(one) for name, one in found.items() if one is not None and one != defaults[name]}
    if isinstance(value, list | tuple):
        return [given_settings(one) for one in value]
    return {key: given_settings(one) for key, one in value.items()} if isinstance(value, dict) else value


def _share(n: int, of: int) -> str:
    return f"{n / of:.2%}" if of else "-"


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    return "\n".join(_lines(headers, rows))


def _lines(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    rows = [list(row) for row in rows]
    numeric = [all(isinstance(row[i], int) or row[i] == "-" for row in rows) for i in range(len(headers))]
    yield f"| {' | '.join(headers)} |"
    yield f"| {' | '.join('---:' if one else '---' for one in numeric)} |"
    for row in rows:
        yield f"| {' | '.join(f'{one:,}' if isinstance(one, int) else _text(one) for one in row)} |"


def _code(name: str) -> str:
    """A name as code in Markdown, where nothing is escaped.

    >>> print(_code("my_mix"))
    `my_mix`
    """
    plain = printable(name).replace("`", "'")
    return f"`{plain}`"


def _text(value: Any) -> str:
    """Text of others as Markdown shows it, on one line.

    >>> print(_text("a|b <script>"))
    a\\|b &lt;script&gt;
    """
    escaped = html.escape(printable(value), quote=False)
    for character in "\\`*_[]|":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
