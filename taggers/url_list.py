"""Block and allow lists of URLs: which documents come from a listed domain, page, or URL with a listed word.

`lists` names local files, URLs that `dolma fetch` has got, or public lists by name (`dolma fetch --list`); a mapping
gives each its own answer: `lists: {adult: adult.txt, malware: [a.txt, b.txt.gz]}`. `match` says what an entry means:

    domain      a host and all below it: `bad.example` lists `www.bad.example`. An entry that begins with `www.` lists
                the host without it too. Forms of lists: `dolma/models/url_lists.py`
    page        a page and all below it: `bad.example/a` lists `https://www.bad.example:443/a/b?c`. Scheme, port, a
                leading `www.` and capitals do not matter
    word        a run of letters and digits in the URL: `casino` in `/best-casino/` but not in `/casinos/`
    substring   any part of the URL; with `squeeze: true`, of its letters and digits only
    adblock     rules of ad blockers, exceptions included, by Brave's engine (the package `adblock`); the page counts as
                something that another site has loaded, of the type `other` unless `request_type` says otherwise

Words and substrings are looked for in the URL in lower case, as it stands, without the scheme. `n_entries` allows for
rules like "two soft words". What is read from the metadata and when it is null: `dolma/taggers/url.py`.

A list takes 8 bytes per domain or page in each worker, whatever its length (dolma.models.url_lists.HashedSet).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch, offsets_of
from dolma.data.columns import Columns, DocBool, DocInt, DocText, Output
from dolma.data.urls import Url, UrlField, parents, parse_url
from dolma.errors import ConfigError, DataError, MissingExtraError, did_you_mean
from dolma.models.public import copies
from dolma.models.url_lists import HashedSet, domains, entries
from dolma.taggers.catalogue import Need

EXTRA = "url"
Match = Literal["domain", "page", "word", "substring", "adblock"]
Lists = str | Sequence[str] | Mapping[str, str | Sequence[str]]
Found = list[list[str]]
"""Per URL the entries that list it, the most specific one first."""

_WORD = re.compile(r"[^\W_]+")
_NOT_ALNUM = re.compile(r"[\W_]+")
_PREFIXES = 64  # folders of a path that are looked up, so that time stays linear in its length
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class UrlList:
    """Whether a document's URL is on a list: by domain, page, word, substring or ad-block rule.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     _ = file.write("bad.example")
    ...     file.flush()
    ...     tagger = UrlList(lists=file.name)
    >>> pages = [b'{"url":"http://www.bad.example/a"}', b'{"url":"http://notbad.example"}', None]
    >>> tagger(TextBatch.of(["", "", ""], metadata=pages))["listed"].to_pylist()
    [True, False, None]
    """

    name = "url_list"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="list", name="a file of domains, pages, words or rules", get="give the option `lists`"),
        Need(kind="metadata", name="metadata.url", get="name the field with the option `field`"),
    )
    outputs: Mapping[str, Output] = {
        "listed": DocBool("whether an entry lists the URL"),
        "n_entries": DocInt("different entries that list it; of ad-block rules 1 at most", unit="entries"),
        "entry": DocText("the most specific domain or page, or the first word or substring; none for ad-block rules"),
    }

    def __init__(
        self,
        *,
        lists: Lists,
        match: Match = "domain",
        field: str = "metadata.url",
        column: str | None = None,
        squeeze: bool = False,
        request_type: str = "other",
    ) -> None:
        """Read the lists.

        Raises:
            ConfigError: a list is missing, cannot be read or is of another kind, or an option is wrong.
        """
        if match not in get_args(Match):
            raise ConfigError(f"url_list: match {match!r}; {did_you_mean(str(match), get_args(Match))}")
        if squeeze and match != "substring":
            raise ConfigError(
                f"url_list: squeeze is for match 'substring', given: {match!r}"
                "\n  leave `squeeze` out, or give `match: substring`"
            )
        self._field = UrlField(field)
        groups = {label: _files(paths) for label, paths in _groups(lists).items()}
        try:
            self._finders = {
                label: _finder(match, paths, column=column, squeeze=squeeze, request_type=request_type)
                for label, paths in groups.items()
            }
        except DataError as error:
            raise ConfigError(f"url_list: {error}\n  `dolma list url_list` shows its options") from error
        self.files = tuple(str(path) for paths in groups.values() for path in paths)
        extra = (Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'"),) if match == "adblock" else ()
        self.needs = (*extra, Need(kind="metadata", name=field, get=self.needs[1].get))
        labels = [label for label in groups if label]
        self.outputs = {
            **self.outputs,
            **{label: DocBool(f"whether the list {label!r} has the URL") for label in labels},
        }

    def __call__(self, batch: TextBatch) -> Columns:
        """What lists each document's URL; nulls where it has none."""
        given = self._field.of(batch)
        rows = [i for i, url in enumerate(given) if url is not None]
        parsed = [parse_url(str(given[i])) for i in rows]
        rows = [i for i, url in zip(rows, parsed, strict=True) if url is not None]
        urls = [url for url in parsed if url is not None]
        texts = [_without_scheme(str(given[i])) for i in rows]
        by_label = {label: find(urls, texts) for label, find in self._finders.items()}
        merged = [list(dict.fromkeys(e for found in by_label.values() for e in found[k])) for k in range(len(rows))]
        values: dict[str, list[Any]] = {
            "listed": [bool(found) for found in merged],
            "n_entries": [len(found) for found in merged],
            "entry": [(found[0] or None) if found else None for found in merged],
        }
        values |= {label: [bool(hits) for hits in found] for label, found in by_label.items() if label}
        return {name: _spread(values[name], rows, len(batch), out.arrow_type) for name, out in self.outputs.items()}


def _spread(values: list[Any], rows: list[int], n_docs: int, arrow_type: pa.DataType) -> pa.Array:
    column: list[Any] = [None] * n_docs
    for i, value in zip(rows, values, strict=True):
        column[i] = value
    return pa.array(column, arrow_type)


def _groups(lists: Lists) -> dict[str, list[str]]:
    """The paths of each label; those without one have the label ''."""
    groups = dict(lists) if isinstance(lists, Mapping) else {"": lists}
    named: dict[str, list[str]] = {}
    for label, given in groups.items():
        paths = [given] if isinstance(given, str) else list(given)
        if not paths or not all(isinstance(path, str) and path for path in paths):
            raise ConfigError(f"url_list: lists {lists!r}: expected a path, some paths, or a mapping of names to them")
        if label and (not _LABEL.match(label) or label in UrlList.outputs):
            raise ConfigError(
                f"url_list: a list cannot be called {label!r}: letters, digits and `_`, and none of "
                f"{', '.join(UrlList.outputs)}\n  give the list another name"
            )
        named[label] = paths
    if not named:
        raise ConfigError("url_list: no lists\n  give the option `lists`: a path, some paths, or names and paths")
    return named


def _files(given: Sequence[str]) -> list[Path]:
    return [path for item in given for path in copies(item, tagger="url_list")]


def _without_scheme(url: str) -> str:
    return url.strip().lower().partition("://")[2] or url.strip().lower()


# --- one finder per kind of list -------------------------------------------------------------------------------------

Finder = Callable[[list[Url], list[str]], Found]


def _finder(match: Match, paths: list[Path], *, column: str | None, squeeze: bool, request_type: str) -> Finder:
    if match == "domain":
        return Domains(frozenset().union(*(domains(path, column=column) for path in paths)))
    if match == "adblock":
        return AdblockRules(paths, request_type=request_type)
    lines = [(path, number, line) for path in paths for number, line in entries(path, column=column)]
    if not lines:
        raise DataError("an empty list\n  give a file with an entry on each line", file=str(paths[0]))
    if match == "page":
        return _Pages([_page_of(*line) for line in lines])
    if match == "word":
        return _Words([_word_of(*line) for line in lines])
    return _Substrings([_substring_of(*line, squeeze=squeeze) for line in lines], squeeze=squeeze)


class Domains:
    """Finds hosts that are on a list of domains, or below one."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = HashedSet(names)

    def __call__(self, urls: list[Url], texts: list[str]) -> Found:
        """The listed domains that each host is, or is below."""
        hosts = list(dict.fromkeys(url.host for url in urls))
        found = _looked_up(self._names, [[*parents(host), f"www.{host}"] for host in hosts])
        by_host = dict(zip(hosts, found, strict=True))
        return [by_host[url.host] for url in urls]


class _Pages:
    def __init__(self, pages: list[str]) -> None:
        self._pages = HashedSet(pages)

    def __call__(self, urls: list[Url], texts: list[str]) -> Found:
        return _looked_up(self._pages, [list(_pages_above(url)) for url in urls])


def _looked_up(names: HashedSet, candidates: list[list[str]]) -> Found:
    counts = [len(names) for names in candidates]
    flat = [name for names in candidates for name in names]
    hits = np.flatnonzero(names.holds(flat))
    rows = np.repeat(np.arange(len(counts)), counts)[hits]
    found: Found = [[] for _ in candidates]
    for row, at in zip(rows.tolist(), hits.tolist(), strict=True):
        found[row].append(flat[at])
    return found


def _page(url: Url) -> str:
    path = re.sub(r"[/\\]+", "/", url.path).rstrip("/").lower()
    return url.host.removeprefix("www.") + path + (f"?{url.query.lower()}" if url.query else "")


def _pages_above(url: Url) -> Iterator[str]:
    """The page itself with and without its query, then the folders that it is in, innermost first, then its host."""
    if url.query:
        yield _page(url)
    page = _page(url._replace(query=""))
    yield page
    slashes = [i for i, character in enumerate(page) if character == "/"][:_PREFIXES]
    yield from (page[:slash] for slash in reversed(slashes))


def _page_of(path: Path, number: int, line: str) -> str:
    url = parse_url(line)
    if url is None:
        raise DataError(
            f"no URL: {line[:80]!r}\n  write a URL on each line: `example.org/page`", file=str(path), line=number
        )
    return _page(url)


class _Words:
    def __init__(self, words: list[str]) -> None:
        self._words = frozenset(words)

    def __call__(self, urls: list[Url], texts: list[str]) -> Found:
        return [[w for w in dict.fromkeys(_WORD.findall(text)) if w in self._words] for text in texts]


def _word_of(path: Path, number: int, line: str) -> str:
    if not _WORD.fullmatch(line):
        raise DataError(
            f"no single word of letters and digits: {line[:80]!r}\n  write one word on each line",
            file=str(path),
            line=number,
        )
    return line.lower()


class _Substrings:
    def __init__(self, substrings: list[str], *, squeeze: bool) -> None:
        from dolma.kernels.phrases import ANYWHERE, phrases_of

        self._squeeze, self._entries = squeeze, list(dict.fromkeys(substrings))
        self._phrases = phrases_of([(entry, ANYWHERE) for entry in self._entries])

    def __call__(self, urls: list[Url], texts: list[str]) -> Found:
        from dolma.kernels.phrases import occurrences

        encoded = [(_NOT_ALNUM.sub("", text) if self._squeeze else text).encode() for text in texts]
        utf8 = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        hits = occurrences(utf8, offsets_of(encoded), self._phrases)
        places: list[list[tuple[int, int]]] = [[] for _ in texts]
        for row, start, entry in zip(hits.documents.tolist(), hits.starts.tolist(), hits.entries.tolist(), strict=True):
            places[row].append((start, entry))
        return [list(dict.fromkeys(self._entries[entry] for _, entry in sorted(found))) for found in places]


def _substring_of(path: Path, number: int, line: str, *, squeeze: bool) -> str:
    text = _NOT_ALNUM.sub("", line.lower()) if squeeze else line.lower()
    if len(text.encode()) < 2:
        raise DataError(f"too short a substring: {line!r}; expected two characters", file=str(path), line=number)
    return text


class AdblockRules:
    """Finds URLs that ad blockers would not load. Rules that the engine does not know are as if they were not there."""

    # Another site asks for the page: so `$third-party` holds and `$domain=` does not.
    SOURCE = "https://source.invalid/"

    def __init__(self, paths: Sequence[Path], *, request_type: str = "other") -> None:
        """Read the rules.

        Raises:
            MissingExtraError: the engine is not installed.
            DataError: a file cannot be read.
        """
        try:
            import adblock
        except ImportError as error:
            raise MissingExtraError("adblock", extra=EXTRA, purpose="match 'adblock'") from error
        rules = adblock.FilterSet(debug=False)
        lines = {line.strip() for path in paths for line in _lines(path)}
        rules.add_filters(sorted(line for line in lines if line and not line.startswith("!")))
        self._engine, self._request_type = adblock.Engine(rules, optimize=True), request_type

    def __call__(self, urls: list[Url], texts: list[str]) -> Found:
        """A nameless entry for each URL that is blocked."""
        return [[""] if self.blocks(_address(url)) else [] for url in urls]

    def blocks(self, url: str) -> bool:
        """Whether a rule blocks the URL, which has a scheme, and no exception allows it."""
        return self._engine.check_network_urls(url, self.SOURCE, self._request_type).matched


def _address(url: Url) -> str:
    host = f"[{url.host}]" if url.kind == "ipv6" else url.host
    port = f":{url.port}" if url.port is not None else ""
    return f"{url.scheme or 'http'}://{host}{port}{url.path or '/'}" + (f"?{url.query}" if url.query else "")


def _lines(path: Path) -> list[str]:
    return streams.read_decompressed(str(path)).decode("utf-8-sig", errors="replace").split("\n")
