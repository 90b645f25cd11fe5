"""Creative Commons licences of web pages, as Dolma 1.x finds them (`python/dolma/taggers/licenses.py` of 1.2.1).

Read is the HTML of the page, `metadata.html` unless the option `field` says otherwise; a document without has none.
The forms of links are those of DKPro C4CorpusTools (Habernal et al. 2016, LREC, "C4Corpus").

- `cc_re`: an `<a` or `<meta` whose `href` or `content` names a licence, a waiver, or the public domain mark, and that
  is closed on the same line.
- `cc_re_fast`: such a URL anywhere in the page.

1.x makes a key of each licence, with version and language: `cc_by-sa_3.0_de`. Outputs are fixed here, so they are by
kind; `licences` has the names of 1.x. The score of the first one on a page is 1, of the next ones 0.75, 0.667, 0.625.
It says little of the text: a page may name the licence of a picture, or of another page.

Cost on one core of a 2-core cloud machine, 2026-11-26: 1.2 GB/s of metadata without a licence, which is not decoded;
86 (`cc_re`) and 165 MB/s where every page of 3 kB names one. 1.2.1, given decoded pages, takes 630 to 690, 124 and 263.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
import unicodedata
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.columns import Columns, DocText, Output, Spans, spans_column, spans_of
from dolma.data.urls import UrlField
from dolma.kernels.code_points import table_of
from dolma.kernels.positions import positions_of
from dolma.kernels.views import Int64, code_points
from dolma.taggers.catalogue import Need
from dolma.taggers.dolma1.unicode_tables import OTHER, TOKENS

_SITE = "creativecommons.org/"
_ENCODED_SITE = b"creativecommons.org"  # "/" may be written "\\/"
_KINDS = ("by", "by-nc", "by-nd", "by-sa", "by-nc-nd", "by-nc-sa", "by-nd-sa", "by-nc-nd-sa")
_DEDICATIONS = ("publicdomain/zero", "publicdomain/certification", "publicdomain/mark")
_FAST_KINDS = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd", "publicdomain")

_PATH = re.compile(
    r"(?:licenses/(?P<kind>by(?:-nc)?(?:-nd)?(?:-sa)?)|(?P<dedication>publicdomain/(?:zero|certification|mark)))"
    r"(?:/(?P<version>\d+\.\d+))?"
    # A language is two letters and no part of "deed", "legalcode" or "scotland".
    r"(?:(?:/\w{2})?/(?:(?:deed|legalcode)\.)?(?P<language>\w{2})(?![A-Za-z]))?"
)
_FAST_PATH = re.compile(r"licenses/(?P<kind>by(?:-sa|-nd|-nc(?:-sa|-nd)?)?|publicdomain)[\"/ >]")
_OPENED = re.compile(r"<(?:a|A|meta)[\s\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]", re.ASCII)
_ATTRIBUTES = ("href=", "HREF=", "content=")
_QUOTES = ("&quot;", '"', "'")
# ASCII of what may stand between the beginning of the tag and the attribute: words, punctuation, whitespace, "=".
_PLAIN = re.compile(r"[A-Za-z0-9_\s!\"#%&'()*,\-./:;=?@\[\\\]{}]*", re.ASCII)

Found = list[tuple[str, str]]
"""Kind, and name with version and language, of each licence of a page."""


@functools.cache
def _output_of(kind: str) -> str:
    return "cc_" + re.sub(r"[-/]", "_", kind)


def _outputs(kinds: tuple[str, ...]) -> dict[str, Output]:
    named = DocText("the licences in order, with version and language as 1.x names them, a space between; null if none")
    spans = {_output_of(kind): Spans(f"the whole text, once per link to {kind}", range="0.5-1") for kind in kinds}
    return {"licences": named, **spans}


class CcRe:
    """The Creative Commons licences that a page's links and `<meta>` elements name.

    >>> page = b'{"html":"<a href=\\\\"https://creativecommons.org/licenses/by-sa/4.0/deed.de\\\\">here</a>"}'
    >>> columns = CcRe()(TextBatch.of(["here"], metadata=[page]))
    >>> columns["licences"].to_pylist(), columns["cc_by_sa"].to_pylist()
    (['cc_by-sa_4.0_de'], [[{'start': 0, 'end': 4, 'score': 1.0}]])
    """

    name = "cc_re"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="metadata", name="metadata.html", get="name the field with the option `field`"),
    )
    outputs: Mapping[str, Output] = _outputs((*_KINDS, *_DEDICATIONS))

    def __init__(self, *, field: str = "metadata.html") -> None:
        """Say where the HTML is.

        Raises:
            ConfigError: the field is none of the metadata.
        """
        self._field = UrlField(field)
        self.needs = (Need(kind="metadata", name=field, get=type(self).needs[0].get),)

    def __call__(self, batch: TextBatch) -> Columns:
        """The names, and a list of spans per document and kind; neither without HTML."""
        pages = [[] if page is None else self._find(page) for page in self._field.of(_naming_site(batch))]
        rows = [(i, k, *found) for i, page in enumerate(pages) for k, found in enumerate(page)]
        sizes = batch.view(code_points) if rows else np.zeros(len(batch), dtype=np.int64)
        names = [" ".join(f"cc_{name}" for _, name in page) if page else None for page in pages]
        kinds, empty = {_output_of(kind) for _, _, kind, _ in rows}, spans_of([[]] * len(batch))
        columns: Columns = {"licences": pa.array(names, pa.string())}
        for output in itertools.islice(self.outputs, 1, None):
            columns[output] = _spans(rows, output, sizes) if output in kinds else empty
        return columns

    def _find(self, html: str) -> Found:
        return list(_linked(html)) if _SITE in html else []


class CcReFast(CcRe):
    """The Creative Commons licences whose URLs are on a page.

    >>> page = b'{"html":"see http://creativecommons.org/licenses/by/3.0"}'
    >>> CcReFast()(TextBatch.of(["see"], metadata=[page]))["licences"].to_pylist()
    ['cc_by']
    """

    name = "cc_re_fast"
    outputs: Mapping[str, Output] = _outputs(_FAST_KINDS)

    def _find(self, html: str) -> Found:
        return list(_anywhere(html))


# Letters of the site's name and its dot, which JSON may have as escapes.
_ESCAPE, _ESCAPED_SITE = b"\\u00", re.compile(rb"\\u00(?:6[0-9a-fA-F]|7[0-9a-fA-F]|2[eE])")


def _naming_site(batch: TextBatch) -> TextBatch:
    """The batch without the metadata that cannot name the site, which then need not be decoded."""
    given = [encoded or b"" for encoded in batch.metadata or [None] * len(batch)]
    whole, offsets = np.frombuffer(b"".join(given), dtype=np.uint8), offsets_of(given)
    naming, escaping = (
        set((np.searchsorted(offsets, positions_of(whole, part), side="right") - 1).tolist())
        for part in (_ENCODED_SITE, _ESCAPE)
    )
    metadata: list[bytes | None] = [None] * len(batch)
    for i in naming | escaping:
        # A place may lie across two documents: then the first of them is looked at for nothing.
        if i in naming or _ESCAPED_SITE.search(given[i]):
            metadata[i] = given[i]
    return TextBatch(
        utf8=batch.utf8,
        offsets=batch.offsets,
        ids=batch.ids,
        sources=batch.sources,
        lines=batch.lines,
        metadata=metadata,
    )


def _spans(rows: list[tuple[int, int, str, str]], output: str, sizes: Int64) -> pa.ListArray:
    """The spans of one kind; a row is a document, how many links precede on its page, kind and name."""
    documents, ranks = np.array([row[:2] for row in rows if _output_of(row[2]) == output], dtype=np.int64).T
    counts = np.bincount(documents, minlength=len(sizes)).astype(np.int64)
    return spans_column(counts, np.zeros_like(documents), sizes[documents], 0.5 + 0.5 / (ranks + 1))


def _anywhere(html: str) -> Iterator[tuple[str, str]]:
    at = html.find(_SITE)
    while at >= 0:
        match = _FAST_PATH.match(html, at + len(_SITE))
        if match and html[max(at - 8, 0) : at].endswith(("http://", "https://")):
            yield match["kind"], match["kind"]
        at = html.find(_SITE, at + len(_SITE))


class _Next:
    """The first place of a string from some place on, for places that ascend: the page is read once."""

    def __init__(self, html: str, wanted: str) -> None:
        self._html, self._wanted, self._found = html, wanted, -1

    def since(self, place: int) -> int:
        """Where it is; the length of the page if nowhere."""
        if self._found < place:
            found = self._html.find(self._wanted, place)
            self._found = len(self._html) if found < 0 else found
        return self._found


def _linked(html: str) -> Iterator[tuple[str, str]]:
    """What tags name. One that names several counts as the last of them, as for a greedy expression."""
    done = 0
    for opening, group in itertools.groupby(_candidates(html), key=operator.itemgetter(0)):
        if opening >= done:
            *_, (_, found, closing) = group
            yield found
            done = closing + 1


def _candidates(html: str) -> Iterator[tuple[int, tuple[str, str], int]]:
    """Where the tag begins, what it names, and where it is closed. Each part of the page is looked at once."""
    quotes, closings, newlines = [(quote, _Next(html, quote)) for quote in _QUOTES], _Next(html, ">"), _Next(html, "\n")
    opening, is_tag, looked, allowed = -1, False, 0, 0
    at = html.find(_SITE)
    while at >= 0:
        attribute = _attribute_before(html, at)
        match = _PATH.match(html, at + len(_SITE)) if attribute >= 0 else None
        if match:
            latest = html.rfind("<", looked, attribute)
            looked = attribute
            if latest >= 0:
                opened = _OPENED.match(html, latest, attribute)
                opening, is_tag, allowed = latest, opened is not None, opened.end() if opened else 0
            if is_tag:
                allowed = _allowed_until(html, allowed, attribute)
                is_tag = allowed == attribute
        if match and is_tag:
            quote, size = min((next_.since(match.end()), len(quote)) for quote, next_ in quotes)
            closing = closings.since(min(quote + size, len(html)))
            if closing < newlines.since(match.end()):
                yield opening, _named(match), closing
        at = html.find(_SITE, at + len(_SITE))


def _attribute_before(html: str, site: int) -> int:
    """Where the attribute begins whose value begins with `http://` and the site; -1 if none does."""
    if not html.startswith("://", site - 3):
        return -1
    i = site - 3
    while i > 0 and html[i - 1] == "s":
        i -= 1
    if not html.endswith("http", 0, i):
        return -1
    i -= 4
    i -= next((len(quote) for quote in _QUOTES if html.endswith(quote, 0, i)), 0)
    return next((i - len(name) for name in _ATTRIBUTES if html.endswith(name, 0, i)), -1)


def _allowed_until(html: str, start: int, end: int) -> int:
    """Where the first character stands that a tag cannot have before the attribute; `end` if none."""
    table = table_of(TOKENS)
    while start < end:
        match = _PLAIN.match(html, start, end)
        start = match.end() if match else start
        if start == end:
            break
        character = html[start]
        if table[ord(character)] == OTHER and not unicodedata.category(character).startswith("P"):
            break
        start += 1
    return start


def _named(match: re.Match[str]) -> tuple[str, str]:
    kind = match["kind"] or match["dedication"]
    return kind, "_".join(part for part in (kind, match["version"], match["language"]) if part)
