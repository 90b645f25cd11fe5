"""Lists of domains, URLs and words in the forms in which they are published.

One entry per line, in a text file that may be compressed (`.gz`, `.zst`, `.bz2`, `.xz`); or in a column of a CSV file.
Lines that begin with `#`, `!` or `;` are comments, and so is what follows ` #`; so is a header in square brackets. Of
domains these forms are understood, also mixed in one file:

    bad.example                     plain
    *.bad.example, .bad.example     with a wildcard in front
    http://bad.example:80/x?y       a URL; only its host counts
    0.0.0.0 bad.example b.example   hosts file; the address counts too, unless it is one of this machine
    ||bad.example^$third-party      ad-block syntax, a whole domain; other rules need the ad-block engine
    address=/bad.example/0.0.0.0    dnsmasq; also `server=` and `local=`

A list of which less than half of the lines are domains is taken for something else, and refused.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import xxhash

from dolma.data import streams
from dolma.data.formats.delimited import Delimited
from dolma.data.formats.table import format_of, is_document
from dolma.data.urls import is_address, parse_host, parse_url
from dolma.errors import ConfigError, DataError, did_you_mean
from dolma.printable import printable

COLUMNS = ("domain", "host", "hostname", "url", "website", "site", "word", "entry")
"""Names of columns that are looked for when none is given; then the first column is taken."""

_COMMENT = re.compile(r"(?:^|\s)#.*")
_WHOLE_DOMAIN = re.compile(r"\|\|([^/^|*$]+)\^?(?:\$.*)?")
_DNSMASQ = re.compile(r"(?:address|server|local)=/([^/]+)/.*")
# What most lists consist of, found at once: they may have millions of lines.
_PLAIN = re.compile(
    r"^(?:(?:0\.0\.0\.0|127\.0\.0\.1)[ \t]+)?"
    r"(?=[^\n]{1,253}$)((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9_-]{0,62})[ \t\r]*$",
    re.M,
)
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "local", "localdomain", "broadcasthost"}) | {
    f"ip6-{name}" for name in ("localhost", "loopback", "localnet", "mcastprefix", "allnodes", "allrouters", "allhosts")
}


def entries(path: str | Path, *, column: str | None = None) -> Iterator[tuple[int, str]]:
    """The lines that hold something, trimmed, without comments, each with its number from 1; of a CSV file a column.

    Raises:
        ConfigError: no such column.
        DataError: the file cannot be read.
    """
    yield from _entries(_text(path), str(path), column)


def _text(path: str | Path) -> str:
    return streams.read_decompressed(str(path)).decode("utf-8-sig", errors="replace")


def _is_table(path: str) -> bool:
    return is_document(path) and isinstance(format_of(path), Delimited)


def _entries(text: str, path: str, column: str | None) -> Iterator[tuple[int, str]]:
    if _is_table(path):
        yield from _column(text, path, column)
        return
    if column is not None:
        raise ConfigError(
            f"{printable(path)}: only .csv and .tsv files have columns, and {column!r} was asked for"
            "\n  leave the column out, or give the list as .csv"
        )
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and line[0] not in "#!;[" and (line := _COMMENT.sub("", line).strip()):
            yield number, line


def _column(text: str, path: str, column: str | None) -> Iterator[tuple[int, str]]:
    delimiter = cast(Delimited, format_of(path)).delimiter
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in next(rows, [])]
    wanted = column.lower() if column is not None else next((name for name in COLUMNS if name in header), None)
    if column is not None and wanted not in header:
        raise ConfigError(f"{printable(path)}: no column {column!r}; {did_you_mean(column, header)}")
    at = header.index(wanted) if wanted is not None else 0
    if wanted is None and header and header[0]:
        yield 1, header[0]
    for row in rows:
        if len(row) > at and (value := row[at].strip()):
            yield rows.line_num, value


def domains(path: str | Path, *, column: str | None = None) -> frozenset[str]:
    """The host names and addresses of a list, in the form of `dolma.data.urls`.

    Raises:
        ConfigError: no such column.
        DataError: the file cannot be read, or is no list of domains.
    """
    found: set[str] = set()
    n_lines, n_odd, odd, text = 0, 0, (0, ""), _text(path)
    if not _is_table(str(path)):
        plain = _PLAIN.findall(text)
        found.update(plain)
        n_lines, text = len(plain), _PLAIN.sub("", text)
    for number, line in _entries(text, str(path), column):
        n_lines += 1
        hosts = list(hosts_of(line))
        found.update(hosts)
        if not hosts and not _is_local(line):
            n_odd, odd = n_odd + 1, odd if n_odd else (number, line)
    if not n_lines:
        raise DataError("an empty list\n  give a file with a domain or URL on each line", file=str(path))
    if 2 * n_odd > n_lines or not found:
        raise DataError(
            f"no list of domains: {odd[1][:80]!r} is none\n  write a domain on each line: `example.org`",
            file=str(path),
            line=odd[0] or None,
        )
    return frozenset(found - _LOCAL_NAMES)


def hosts_of(line: str) -> Iterator[str]:
    """The hosts that a line of a list names; nothing for what is none.

    >>> list(hosts_of("0.0.0.0 bad.example")), list(hosts_of("||bad.example^")), list(hosts_of("two words"))
    (['bad.example'], ['bad.example'], [])
    """
    if match := _WHOLE_DOMAIN.fullmatch(line) or _DNSMASQ.fullmatch(line):
        line = match[1]
    first, *names = line.split()
    if names:
        address = parse_host(first)
        hosts = [parse_host(name) for name in names]
        if address is None or not is_address(address) or None in hosts:
            return
        if not _is_of_this_machine(address):
            yield address
        yield from (host for host in hosts if host and host not in _LOCAL_NAMES and not is_address(host))
        return
    url = parse_url(first) if "/" in first else None
    host = url.host if url else parse_host(first.removeprefix("*").removeprefix("."))
    if host is not None and host not in _LOCAL_NAMES:
        yield host


def _is_local(line: str) -> bool:
    return any(name.lower() in _LOCAL_NAMES or is_address(name) for name in line.split())


def _is_of_this_machine(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local or parsed.is_multicast


class HashedSet:
    """A set of strings in 8 bytes each, whatever their length: their hashes (xxh3-64) in order.

    Lists have millions of entries, and each worker has them all. That a string is taken for an entry by chance happens
    once in 10^12 questions to a list of ten million.

    >>> HashedSet(["a.example", "b.example"]).holds(["b.example", "c.example"]).tolist()
    [True, False]
    """

    __slots__ = ("_hashes",)

    def __init__(self, strings: Iterable[str]) -> None:
        self._hashes = np.unique(_hashes(strings))

    def __len__(self) -> int:
        return len(self._hashes)

    def holds(self, strings: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Whether each is in the set; bool, one per string."""
        asked = _hashes(strings)
        if not len(self):
            return np.zeros(len(asked), dtype=np.bool_)
        at = np.minimum(np.searchsorted(self._hashes, asked), len(self) - 1)
        return self._hashes[at] == asked


def _hashes(strings: Iterable[str]) -> npt.NDArray[np.uint64]:
    return np.fromiter((xxhash.xxh3_64_intdigest(string.encode()) for string in strings), dtype=np.uint64)
