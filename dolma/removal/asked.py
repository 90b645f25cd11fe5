"""What is to be taken down, as it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.takedown import host_of
from dolma.errors import ConfigError, DataError
from dolma.printable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Documents by id, by the domain of their URL, by a rule, and with the clusters of all these.

    `ids` and `domains` are in the order of their files, each once; `urls` are the fields that may hold a URL, none
    where those of the list are meant.
    """

    ids: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    rule: str | None = None
    clusters: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


def read_asked(
    *,
    ids: str | None = None,
    domains: str | None = None,
    rule: str | None = None,
    clusters: tuple[str, ...] = (),
    urls: tuple[str, ...] = (),
) -> Asked:
    """What these files and this rule ask for.

    Raises:
        ConfigError: nothing is asked for, or there is no such file.
        DataError: a line is no id, or no domain.
    """
    if ids is None and domains is None and rule is None:
        raise ConfigError(
            "nothing says which documents\n  give `--ids FILE`, `--domains FILE` or `--rule SQL`: "
            "`dolma takedown -c RECIPE --ids ids.txt --dry-run`"
        )
    hosts = [] if domains is None else [_host(text, domains, line) for line, text in _lines(domains, "domain")]
    named = [] if ids is None else [text for _, text in _lines(ids, "id")]
    return Asked(
        ids=tuple(dict.fromkeys(named)),
        domains=tuple(dict.fromkeys(hosts)),
        rule=rule,
        clusters=clusters,
        urls=urls,
    )


def _lines(path: str, key: str) -> Iterator[tuple[int, str]]:
    """What stands on each line that is not blank: as it is, or under `key` of a JSON object."""
    try:
        encoded = streams.read_decompressed(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no such file: {printable(path)}\n  give a file with one {key} a line", path=f"--{key}s"
        ) from error
    for line, raw in enumerate(encoded.split(b"\n"), 1):
        try:
            text = raw.removesuffix(b"\r").decode()
            if text.startswith("{"):
                text = decode_json(raw, dict[str, Any])[key]
                if not isinstance(text, str):
                    raise ValueError(f"its `{key}` is no text")
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
            raise DataError(
                f'no {key}: {printable(error)}\n  write one a line, as it is or as {{"{key}": "a"}}',
                file=path,
                line=line,
            ) from error
        if text.strip():
            yield line, text


def _host(text: str, path: str, line: int) -> str:
    host = host_of(text.strip())
    if host is None:
        raise DataError(f"{text!r} is no domain\n  write a host, such as a.example, or a URL", file=path, line=line)
    return host
