"""Dolma 1.2.1's block and allow lists of URLs, under its names.

Each tagger has one output, `url`, which is 1 for a document whose `metadata.url` is on its lists and has no value for
others. Lists are local files, by the option `path`; without it, those of 1.2.1 where `dolma fetch NAME` has got them.

    domain lists    the host of the URL is an entry; a leading `www.` counts on neither side, and what is below an entry
                    is not listed (`dolma.taggers.url_list` does that). Forms of lists: `dolma/models/url_lists.py`
    link list       host, port and path, without a final slash, are an entry; the query counts for nothing
    ad-block lists  the same host, port and path is what rules see, as something that another site has loaded
    allow lists     the host or its registered domain is an entry or the registered domain of one

Ours differs where 1.2.1 is wrong: docs/dolma1.md lists it. It removed the letters `w` and `.` from the beginning of a
host, not `www.`; took 0.0.0.0 in hosts files for an entry; took the last two labels for the registered domain
(`co.uk`); never called the test that makes the cleaned allow list; and ended at a URL that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, Output
from dolma.data.urls import Url, UrlField, parse_url
from dolma.errors import ConfigError, DataError
from dolma.models.public import copies
from dolma.models.url_lists import HashedSet, domains, entries
from dolma.printable import printable
from dolma.taggers.catalogue import Need
from dolma.taggers.url import Suffixes
from dolma.taggers.url_list import EXTRA, AdblockRules


class _UrlTagger:
    """A tagger that says 1 for some URLs; `_open` reads its lists and `_listed` asks them."""

    name: str
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="list", name="its lists of 2024, or others", get="run `dolma fetch` with its name, or give `path`"),
        Need(kind="metadata", name="metadata.url", get="name the field with the option `field`"),
    )
    outputs: Mapping[str, Output] = {"url": DocFloat("1 if the URL is on the list, else none", range="1")}

    def __init__(self, *, path: str | Sequence[str] | None = None, field: str = "metadata.url") -> None:
        """Read the lists at `path`, or those that `dolma fetch` has got.

        Raises:
            ConfigError: a list is missing or cannot be read, or the field is none of the metadata.
            MissingExtraError: a package is needed and not installed.
        """
        given = [self.name] if path is None else [path] if isinstance(path, str) else list(path)
        paths = [local for item in given for local in copies(item, tagger=self.name)]
        if not paths:
            raise ConfigError(f"{self.name}: `path` names no list\n  give the path of a list, or leave `path` out")
        self._field = UrlField(field)
        self.files = tuple(map(str, paths))
        others = tuple(need for need in self.needs if need.kind == "extra")
        self.needs = (*others, Need(kind="metadata", name=field, get="name the field with the option `field`"))
        try:
            self._open(paths)
        except DataError as error:
            raise ConfigError(f"{self.name}: {error}") from error

    def __call__(self, batch: TextBatch) -> Columns:
        """1 for each document whose URL is listed, null for the others."""
        parsed = [None if url is None else parse_url(url) for url in self._field.of(batch)]
        rows = [i for i, url in enumerate(parsed) if url is not None]
        listed = self._listed([url for url in parsed if url is not None])
        values: list[float | None] = [None] * len(batch)
        for i in (i for i, found in zip(rows, listed, strict=True) if found):
            values[i] = 1.0
        return {"url": pa.array(values, pa.float64())}

    def _open(self, paths: Sequence[Path]) -> None:
        raise NotImplementedError

    def _listed(self, urls: Sequence[Url]) -> Sequence[bool]:
        raise NotImplementedError


def _page(url: Url) -> str:
    """Host, port and path of a URL in lower case, without a final slash."""
    host = f"[{url.host}]" if url.kind == "ipv6" else url.host
    port = f":{url.port}" if url.port is not None else ""
    return f"{host}{port}{url.path}".rstrip("/").lower()


class _Domains(_UrlTagger):
    def _open(self, paths: Sequence[Path]) -> None:
        names = frozenset().union(*(domains(path) for path in paths))
        self._names = HashedSet(name.removeprefix("www.") for name in names)

    def _listed(self, urls: Sequence[Url]) -> Sequence[bool]:
        return self._names.holds([url.host.removeprefix("www.") for url in urls]).tolist()


class _Links(_UrlTagger):
    def _open(self, paths: Sequence[Path]) -> None:
        lines = [line for path in paths for _, line in entries(path)]
        parsed = [url for line in lines if (url := parse_url(line)) is not None]
        if 2 * len(parsed) < len(lines) or not parsed:
            raise DataError("no list of links\n  give a file with a link on each line", file=str(paths[0]))
        self._pages = HashedSet(map(_page, parsed))

    def _listed(self, urls: Sequence[Url]) -> Sequence[bool]:
        return self._pages.holds(map(_page, urls)).tolist()


class _Adblock(_UrlTagger):
    needs = (Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'"), *_UrlTagger.needs)

    def _open(self, paths: Sequence[Path]) -> None:
        self._rules = AdblockRules(paths)

    def _listed(self, urls: Sequence[Url]) -> Sequence[bool]:
        return [self._rules.blocks(f"http://{_page(url)}") for url in urls]


class _Wikidata(_UrlTagger):
    needs = (Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'"), *_UrlTagger.needs)

    def _open(self, paths: Sequence[Path]) -> None:
        self._suffixes = Suffixes(purpose=f"the tagger {self.name!r}")
        self.files = (*self.files, self._suffixes.path)
        rows = [row for path in paths for row in _rows(path) if self._counts(row)]
        urls = [url for row in rows if (url := parse_url(str(row.get("url")))) is not None]
        if not urls:
            raise DataError("no rows with a URL\n  give a list whose rows have a URL", file=str(paths[0]))
        self._names = HashedSet(name for url in urls for name in self._names_of(url))

    def _names_of(self, url: Url) -> Iterable[str]:
        yield url.host.removeprefix("www.")
        if url.kind == "name" and (domain := self._suffixes.domain(url.host)) is not None:
            yield domain

    def _counts(self, row: Mapping[str, Any]) -> bool:
        return True

    def _listed(self, urls: Sequence[Url]) -> Sequence[bool]:
        registered = [self._suffixes.domain(url.host) if url.kind == "name" else None for url in urls]
        by_domain = self._names.holds(domain or "" for domain in registered)
        return (by_domain | self._names.holds(url.host.removeprefix("www.") for url in urls)).tolist()


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file: JSON objects with `url` and `description`, in one list or a list per line."""
    whole = streams.read_decompressed(str(path))
    try:
        lists = msgspec.json.Decoder().decode_lines(whole)
    except msgspec.DecodeError:
        lists = [_decoded(whole, path)]
    for item in lists:
        for row in item if isinstance(item, list) else [item]:
            if not isinstance(row, dict):
                raise DataError("expected JSON objects with `url` and `description`", file=str(path))
            yield row


def _decoded(whole: bytes, path: Path) -> Any:
    try:
        return msgspec.json.decode(whole)
    except msgspec.DecodeError as error:
        raise DataError(f"no JSON: {printable(error)}\n  download the list again", file=str(path)) from error


# --- adult, phishing -------------------------------------------------------------------------------------------------


class DomainBlocklistUtpV1(_Domains):
    """Whether the URL's host is on the Université Toulouse Capitole's list of adult sites, as in Dolma 1.2.1.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     _ = file.write("bad.example")
    ...     file.flush()
    ...     tagger = DomainBlocklistUtpV1(path=file.name)
    >>> pages = [b'{"url":"http://www.bad.example/a"}', b'{"url":"http://good.example"}']
    >>> tagger(TextBatch.of(["", ""], metadata=pages))["url"].to_pylist()
    [1.0, None]
    """

    name = "domain_blocklist_utp_v1"


class LinkBlocklistPhishingV1(_Links):
    """Whether the URL's host and path are on Phishing.Database's list, as in Dolma 1.2.1."""

    name = "link_blocklist_phishing_v1"


class DomainBlocklistPhishingV1(_Domains):
    """Whether the URL's host is on Phishing.Database's list, as in Dolma 1.2.1."""

    name = "domain_blocklist_phishing_v1"


# --- ad-block rules --------------------------------------------------------------------------------------------------


class OisdSmallAbpV1(_Adblock):
    """Whether a rule of OISD's small ad-block list blocks the URL, as in Dolma 1.2.1."""

    name = "oisd_small_abp_v1"


class OisdBigAbpV1(_Adblock):
    """Whether a rule of OISD's big ad-block list blocks the URL, as in Dolma 1.2.1."""

    name = "oisd_big_abp_v1"


class OisdNsfwAbpV1(_Adblock):
    """Whether a rule of OISD's list of adult sites blocks the URL, as in Dolma 1.2.1."""

    name = "oisd_nsfw_abp_v1"


class BraveCoreAbpV1(_Adblock):
    """Whether a rule of Brave's own ad-block lists blocks the URL, as in Dolma 1.2.1."""

    name = "brave_core_abp_v1"


class BraveNsfwAbpV1(_Adblock):
    """Whether a rule of Brave's list of adult sites blocks the URL, as in Dolma 1.2.1."""

    name = "brave_nsfw_abp_v1"


# --- the Block List Project ------------------------------------------------------------------------------------------


class BlocklistProjectNsfwV1(_Domains):
    """Whether the URL's host is on the Block List Project's list of adult sites, as in Dolma 1.2.1."""

    name = "blocklist_project_nsfw_v1"


class BlocklistProjectSocialV1(_Domains):
    """Whether the URL's host is on the Block List Project's lists of social networks and games, as in Dolma 1.2.1."""

    name = "blocklist_project_social_v1"


class BlocklistProjectCrimeV1(_Domains):
    """Whether the URL's host is on the Block List Project's lists of abuse, fraud and malware, as in Dolma 1.2.1."""

    name = "blocklist_project_crime_v1"


class BlocklistProjectViceV1(_Domains):
    """Whether the URL's host is on the Block List Project's lists of gambling and drugs, as in Dolma 1.2.1."""

    name = "blocklist_project_vice_v1"


class BlocklistProjectAdsV1(_Domains):
    """Whether the URL's host is on the Block List Project's lists of advertisers and trackers, as in Dolma 1.2.1."""

    name = "blocklist_project_ads_v1"


# --- Firebog ---------------------------------------------------------------------------------------------------------


class BlocklistFirebogAdsV1(_Domains):
    """Whether the URL's host is on one of Firebog's lists of advertisers, as in Dolma 1.2.1."""

    name = "blocklist_firebog_ads_v1"


class BlocklistFirebogCryptoV1(_Domains):
    """Whether the URL's host is on Firebog's list of crypto miners, as in Dolma 1.2.1."""

    name = "blocklist_firebog_crypto_v1"


class BlocklistFirebogMaliciousV1(_Domains):
    """Whether the URL's host is on one of Firebog's lists of malicious sites, as in Dolma 1.2.1."""

    name = "blocklist_firebog_malicious_v1"


class BlocklistFirebogNsfwV1(_Domains):
    """Whether the URL's host is on one of Firebog's lists of adult sites, as in Dolma 1.2.1."""

    name = "blocklist_firebog_nsfw_v1"


class BlocklistFirebogSocialV1(_Domains):
    """Whether the URL's host is on Firebog's list of social networks, as in Dolma 1.2.1."""

    name = "blocklist_firebog_social_v1"


class BlocklistFirebogSuspiciousV1(_Domains):
    """Whether the URL's host is on one of Firebog's lists of suspicious sites, as in Dolma 1.2.1."""

    name = "blocklist_firebog_suspicious_v1"


class BlocklistFirebogTrackersV1(_Domains):
    """Whether the URL's host is on one of Firebog's lists of trackers, as in Dolma 1.2.1."""

    name = "blocklist_firebog_trackers_v1"


# --- Steven Black's hosts files --------------------------------------------------------------------------------------


class BlocklistHostsAdwareMalwareV1(_Domains):
    """Whether the URL's host is in Steven Black's hosts file of adware and malware, as in Dolma 1.2.1."""

    name = "blocklist_hosts_adware_malware_v1"


class BlocklistHostsFakenewsV1(_Domains):
    """Whether the URL's host is in Steven Black's hosts file of false news, as in Dolma 1.2.1."""

    name = "blocklist_hosts_fakenews_v1"


class BlocklistHostsGamblingV1(_Domains):
    """Whether the URL's host is in Steven Black's hosts file of gambling, as in Dolma 1.2.1."""

    name = "blocklist_hosts_gambling_v1"


class BlocklistHostsPornV1(_Domains):
    """Whether the URL's host is in Steven Black's hosts file of adult sites, as in Dolma 1.2.1."""

    name = "blocklist_hosts_porn_v1"


class BlocklistHostsSocialV1(_Domains):
    """Whether the URL's host is in Steven Black's hosts file of social networks, as in Dolma 1.2.1."""

    name = "blocklist_hosts_social_v1"


# --- Wikidata --------------------------------------------------------------------------------------------------------


class AllowlistWikidataV1(_Wikidata):
    """Whether Wikidata knows the URL's domain as that of a periodical or website, as in Dolma 1.2.1."""

    name = "allowlist_wikidata_v1"


class AllowlistWikidataCleanedV1(_Wikidata):
    """Whether Wikidata knows the URL's domain as one of a periodical or website that is described and not for adults.

    Rows without a description, with one that has a word of `UNWANTED` or `VAGUE` in it, or on a top-level domain of
    `UNWANTED_SUFFIXES` are left out, as Dolma 1.2.1 meant to.
    """

    name = "allowlist_wikidata_cleaned_v1"

    UNWANTED = (
        *("4chan", "adult", "betting", "camming", "casino", "celebrity", "comedy", "comic", "crowdfunding", "dating"),
        *("escort", "freemium", "gambling", "gossip", "hentai", "humor", "image", "joke", "nudity", "online database"),
        *("porn", "satire", "sex", "social media", "tabloid", "tracker"),
    )
    VAGUE = ("company", "website")
    UNWANTED_SUFFIXES = frozenset(("xxx", "adult", "sex", "porn", "sexy", "dating", "cam", "tube", "chat"))

    def _counts(self, row: Mapping[str, Any]) -> bool:
        description, url = row.get("description"), parse_url(str(row.get("url")))
        if not isinstance(description, str) or url is None:
            return False
        description = description.lower()
        if any(word in description for word in (*self.UNWANTED, *self.VAGUE)):
            return False
        return url.host.rpartition(".")[2] not in self.UNWANTED_SUFFIXES
