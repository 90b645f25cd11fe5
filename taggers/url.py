"""Where a document comes from: its URL in parts, and its registered domain by the Public Suffix List.

The URL is read from the document's metadata, `metadata.url` unless the option `field` says otherwise; documents without
one, or with something there that is no URL, have no values. Hosts are in one form: lower case, IDNA, no final dot. The
registered domain is what somebody registered: `example.co.uk` of `www.news.example.co.uk`. Suffixes under which anybody
has a place of their own (`github.io`, `blogspot.com`: the list's private section) count as suffixes too, so that two
blogs are two domains; `private: false` takes the hosting company as the domain.

The Public Suffix List comes with the package `publicsuffixlist`, which has it as a file and opens no network; another
version of it may say otherwise for a few names, so a run takes it for another tagger.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocBool, DocInt, DocText, Output
from dolma.data.urls import Url as Parts
from dolma.data.urls import UrlField, parse_url
from dolma.errors import MissingExtraError
from dolma.taggers.catalogue import Need

EXTRA = "url"
_REMEMBERED = 1 << 16  # hosts whose domain is kept in memory: a crawl's shard has many pages of few hosts


class Suffixes:
    """The Public Suffix List. `path` is its file.

    >>> Suffixes(purpose="an example").domain("www.news.example.co.uk")
    'example.co.uk'
    """

    def __init__(self, *, purpose: str, private: bool = True) -> None:
        """Read the list.

        Raises:
            MissingExtraError: its package is not installed.
        """
        try:
            import publicsuffixlist
        except ImportError as error:
            raise MissingExtraError("publicsuffixlist", extra=EXTRA, purpose=purpose) from error
        self.path: str = publicsuffixlist.PSLFILE
        self._list = publicsuffixlist.PublicSuffixList(only_icann=not private)
        self.domain = functools.lru_cache(maxsize=_REMEMBERED)(self._domain)

    def _domain(self, host: str) -> str | None:
        """The registered domain of a host name, None for a name that nobody can register or that is one label."""
        found = self._list.privatesuffix(host)
        return found if isinstance(found, str) else None


class Url:
    """The URL of a document in parts: registered domain, host, scheme, and how deep and long it is.

    >>> page = b'{"url":"https://www.news.example.co.uk/2024/a.html?b=1"}'
    >>> columns = Url()(TextBatch.of(["text"], metadata=[page]))
    >>> columns["domain"].to_pylist(), columns["path_depth"].to_pylist()
    (['example.co.uk'], [2])
    """

    name = "url"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'"),
        Need(kind="metadata", name="metadata.url", get="name the field with the option `field`"),
    )
    outputs: Mapping[str, Output] = {
        "domain": DocText("registered domain, by the Public Suffix List; none for an IP address"),
        "host": DocText("host name or IP address, in lower case, IDNA"),
        "suffix": DocText("public suffix of the host: what follows the first label of the domain"),
        "scheme": DocText("what stands before `://`, in lower case; empty if the URL has none"),
        "is_ip": DocBool("whether the host is an IP address"),
        "n_subdomains": DocInt("labels of the host before its domain", unit="labels"),
        "path_depth": DocInt("parts of the path between slashes that are not empty", unit="parts"),
        "has_query": DocBool("whether something follows a `?`"),
        "length": DocInt("length of the URL as it stands in the metadata", unit="code points"),
    }

    def __init__(self, *, field: str = "metadata.url", private: bool = True) -> None:
        """Say where the URL is, and whether hosting companies' suffixes count.

        Raises:
            ConfigError: the field is none of the metadata.
            MissingExtraError: the package with the Public Suffix List is not installed.
        """
        self._field = UrlField(field)
        self._suffixes = Suffixes(purpose="the tagger 'url'", private=private)
        self.files = (self._suffixes.path,)
        self.needs = (self.needs[0], Need(kind="metadata", name=field, get=self.needs[1].get))

    def __call__(self, batch: TextBatch) -> Columns:
        """The parts of each document's URL; nulls where there is none."""
        rows = [self._row(url) for url in self._field.of(batch)]
        return {name: pa.array([row.get(name) for row in rows], out.arrow_type) for name, out in self.outputs.items()}

    def _row(self, given: str | None) -> dict[str, Any]:
        parts = None if given is None else parse_url(given)
        if given is None or parts is None:
            return {}
        return {
            "host": parts.host,
            "scheme": parts.scheme,
            "is_ip": parts.kind != "name",
            "path_depth": sum(map(bool, parts.path.split("/"))),
            "has_query": bool(parts.query),
            "length": len(given),
            **self._domain_row(parts),
        }

    def _domain_row(self, parts: Parts) -> dict[str, Any]:
        domain = self._suffixes.domain(parts.host) if parts.kind == "name" else None
        if domain is None:
            return {}
        before = parts.host.removesuffix(domain)
        return {"domain": domain, "suffix": domain.partition(".")[2], "n_subdomains": before.count(".")}
