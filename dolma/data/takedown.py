"""`takedown.jsonl`: documents that no stage reads any more, by hashes of their ids and of the domains of their URLs.

    {"format_version": 1, "salt": "<32 hex digits>", "urls": ["metadata.url", "url"]}
    {"id": "<32 hex digits>"}
    {"domain": "<32 hex digits>"}

A hash is the BLAKE2b of 16 bytes with the salt as its key, and `dolma-id` or `dolma-domain` as its person, of the UTF-8
of an id or a host. A host is lower case, in IDNA, without `www.` at its beginning; a domain takes the documents of its
subdomains too. `urls` are the fields of a record that may hold its URL. Whoever has the file can tell whether an id is
on it, and cannot read the ids from it.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dolma.data import streams
from dolma.data.fields import JsonField
from dolma.data.json_text import decode_json
from dolma.data.urls import is_address, parents, parse_host, parse_url
from dolma.errors import ConfigError, DataError
from dolma.printable import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dolma.data.batch import TextBatch

NAME = "takedown.jsonl"
STAGED = ".takedown"
"""Folders of files that a take-down has begun to put in the place of others, beside these."""
FORMAT_VERSION = 1
URL_FIELDS = ("metadata.url", "url")
REASON = "takedown"
"""What ledgers call the documents that are passed over."""
_DIGEST_BYTES = 16

Hashes = frozenset[bytes]


class Takedown(msgspec.Struct, frozen=True, kw_only=True):
    """Which list is honoured: its file, and what it holds, so that all workers honour the same one."""

    path: str
    identity: str


class _Header(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format_version: int
    salt: str
    urls: tuple[str, ...] = URL_FIELDS


class _Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    id: str | None = None
    domain: str | None = None


class TakedownList(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken down: hashes of ids and of domains under a salt."""

    salt: bytes
    ids: Hashes = frozenset()
    domains: Hashes = frozenset()
    urls: tuple[str, ...] = URL_FIELDS

    @property
    def identity(self) -> str:
        """What decides which documents are passed over, in 32 hex digits; "" of a list without entries."""
        if not self.ids and not self.domains:
            return ""
        digest = hashlib.blake2b(self.salt, digest_size=_DIGEST_BYTES)
        for kind, hashes in (("id", self.ids), ("domain", self.domains), ("url", map(str.encode, self.urls))):
            for one in sorted(hashes):
                digest.update(kind.encode() + len(one).to_bytes(4, "little") + one)
        return digest.hexdigest()

    def hash_of_id(self, id: str) -> bytes:
        """By what an id stands on the list."""
        return _hash(id, self.salt, b"dolma-id")

    def hash_of_domain(self, domain: str) -> bytes:
        """By what a domain stands on the list, in the form of `host_of`."""
        return _hash(domain, self.salt, b"dolma-domain")

    def holds_url(self, url: str | None) -> bool:
        """Whether the domain of this URL, or one above it, is on the list."""
        host = None if url is None else host_of(url)
        return host is not None and any(self.hash_of_domain(name) in self.domains for name in parents(host))

    def with_entries(self, ids: Iterable[str], domains: Iterable[str]) -> TakedownList:
        """The list with more on it."""
        return msgspec.structs.replace(
            self,
            ids=self.ids.union(map(self.hash_of_id, ids)),
            domains=self.domains.union(map(self.hash_of_domain, domains)),
        )

    def encoded(self) -> bytes:
        """The file; the same one whatever the order in which entries came."""
        header = _Header(format_version=FORMAT_VERSION, salt=self.salt.hex(), urls=self.urls)
        entries = [_Entry(id=one.hex()) for one in sorted(self.ids)]
        entries += [_Entry(domain=one.hex()) for one in sorted(self.domains)]
        return b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *entries))


def _hash(text: str, salt: bytes, person: bytes) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES, key=salt, person=person).digest()


def new_list(urls: Sequence[str] = URL_FIELDS) -> TakedownList:
    """A list without entries, under a salt of its own."""
    return TakedownList(salt=secrets.token_bytes(16), urls=tuple(urls))


def host_of(given: str) -> str | None:
    """The host of a URL, or a host as it is given, in the form in which it is compared; None where there is none.

    >>> host_of("https://www.Bücher.example/a"), host_of("a.example"), host_of("no host")
    ('xn--bcher-kva.example', 'a.example', None)
    """
    parsed = parse_url(given)
    host = parse_host(given.strip()) if parsed is None else parsed.host
    return host if host is None or is_address(host) else host.removeprefix("www.")


def read_takedown(path: str) -> TakedownList:
    """The list in a file.

    Raises:
        ConfigError: there is no such file.
        DataError: it is none of ours.
    """
    try:
        lines = streams.read_bytes(path).splitlines()
    except FileNotFoundError as error:
        raise ConfigError(
            f"no such file: {printable(path)}\n  give the {NAME} that `dolma takedown` has written", path="$.takedown"
        ) from error
    line, found = 1, _Entries()
    try:
        header = decode_json(lines[0] if lines else b"", _Header)
        if header.format_version != FORMAT_VERSION:
            raise msgspec.ValidationError(f"has version {header.format_version}, expected {FORMAT_VERSION}")
        salt = bytes.fromhex(header.salt)
        if len(salt) != _DIGEST_BYTES:
            raise msgspec.ValidationError(f"has a salt of {len(salt)} bytes, expected {_DIGEST_BYTES}")
        for line, encoded in enumerate(lines[1:], 2):  # noqa: B007
            found.add(decode_json(encoded, _Entry))
    except (msgspec.DecodeError, ValueError) as error:
        raise DataError(
            f"is no line of a list of documents taken down: {printable(error)}"
            f"\n  give the {NAME} that `dolma takedown` has written, as it was",
            file=path,
            line=line,
        ) from error
    return TakedownList(salt=salt, ids=frozenset(found.ids), domains=frozenset(found.domains), urls=header.urls)


class _Entries:
    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.domains: list[bytes] = []

    def add(self, entry: _Entry) -> None:
        if (entry.id is None) == (entry.domain is None):
            raise msgspec.ValidationError("expected an `id` or a `domain`")
        into, text = (self.domains, entry.domain) if entry.id is None else (self.ids, entry.id)
        one = bytes.fromhex(text or "")
        if len(one) != _DIGEST_BYTES:
            raise msgspec.ValidationError(f"expected {2 * _DIGEST_BYTES} hex digits")
        into.append(one)


def takedown_at(path: str) -> Takedown | None:
    """The list in a file, to be honoured; None where it has no entry.

    Raises:
        ConfigError, DataError: as `read_takedown`.
    """
    identity = _identity(path, streams.version(path))
    return Takedown(path=path, identity=identity) if identity else None


@functools.lru_cache(maxsize=64)
def _identity(path: str, version: tuple[int, str] | None) -> str:
    return read_takedown(path).identity


class Passing:
    """Passes over the documents that are on a list; one for each list and process."""

    def __init__(self, listed: TakedownList) -> None:
        import numpy as np

        self._list = listed
        words = np.frombuffer(b"".join(sorted(listed.ids)), dtype=">u8").astype(np.uint64).reshape(-1, 2)
        self._high, self._low = words[:, 0].copy(), words[:, 1].copy()
        self._urls = Urls(listed.urls)
        self._hosts = functools.lru_cache(maxsize=1 << 16)(listed.holds_url)

    @property
    def need_records(self) -> bool:
        """Whether whole records have to be at hand."""
        return bool(self._list.domains)

    def mask(self, batch: TextBatch) -> npt.NDArray[np.bool_]:
        """Whether each document is on the list; bool, shape `(n_docs,)`."""
        import numpy as np

        found = np.zeros(len(batch), dtype=bool)
        if len(self._high) and len(batch):
            hashed = b"".join(map(self._list.hash_of_id, batch.ids))
            words = np.frombuffer(hashed, dtype=">u8").astype(np.uint64).reshape(-1, 2)
            at = np.minimum(np.searchsorted(self._high, words[:, 0]), len(self._high) - 1)
            found = (self._high[at] == words[:, 0]) & (self._low[at] == words[:, 1])
        if self._list.domains and batch.records is not None:
            found |= np.fromiter(
                (any(map(self._hosts, self._urls.of(record))) for record in batch.records), bool, len(batch)
            )
        return found


class Urls:
    """The fields of a record that may hold its URL.

    >>> list(Urls(["metadata.url", "url"]).of(b'{"url": "http://a.example", "metadata": {}}'))
    ['http://a.example']
    """

    def __init__(self, fields: Iterable[str]) -> None:
        self._fields = [JsonField(field.split(".")) for field in fields]

    def of(self, record: bytes) -> Iterator[str]:
        """The texts in these fields."""
        for field in self._fields:
            value: Any
            try:
                value = field.of(record.lstrip())
            except msgspec.DecodeError:
                continue
            if isinstance(value, str):
                yield value


@functools.lru_cache(maxsize=4)
def passing(takedown: Takedown) -> Passing:
    """What passes over the documents of a list.

    Raises:
        DataError: it is another list than when the stage began.
    """
    listed = read_takedown(takedown.path)
    if listed.identity != takedown.identity:
        raise DataError(
            "changed while it was being read: it is not the list that was there when this command began\n"
            "  run the same command again",
            file=takedown.path,
        )
    return Passing(listed)
