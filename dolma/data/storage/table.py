"""The table of storages: the one place that knows what a path's scheme says about it."""

from __future__ import annotations

import functools
import importlib
from typing import NamedTuple

from dolma.data.storage.local import Local
from dolma.data.storage.other import knows
from dolma.data.storage.remote import Remote
from dolma.data.storage.storage import Storage
from dolma.errors import ConfigError
from dolma.printable import printable


class _Line(NamedTuple):
    """Where a storage's class is, and the extra that brings what it imports; "" if nothing else is needed."""

    module: str
    name: str
    extra: str = ""


STORAGES = {
    "s3": _Line("s3", "S3", "s3"),
    "gs": _Line("gcs", "Gcs", "gcs"),
    "azure": _Line("azure", "Azure", "azure"),
    "http": _Line("web", "Web"),
    "https": _Line("web", "Web"),
    "hf": _Line("hub", "Hub", "hf"),
}

_LOCAL = Local()


def is_url(path: str) -> bool:
    """Whether the path is not the file system's.

    >>> is_url("s3://bucket/a.jsonl"), is_url("data/a.jsonl")
    (True, False)
    """
    return "://" in path and not path.startswith("file://")


def storage_of(path: str) -> Storage:
    """What knows how to read and write at this path.

    Raises:
        ConfigError: its scheme is unknown.
    """
    return _remote(path.partition("://")[0], path) if is_url(path) else _LOCAL


def remote_of(url: str) -> Remote:
    """The storage of a URL."""
    return _remote(url.partition("://")[0], url)


def extra_of(path: str) -> str:
    """The extra that a path needs; "" if none.

    >>> extra_of("gs://bucket/a"), extra_of("data/a")
    ('gcs', '')
    """
    line = STORAGES.get(path.partition("://")[0]) if is_url(path) else None
    return "" if line is None else line.extra


def _remote(scheme: str, path: str) -> Remote:
    if scheme not in STORAGES and not knows(scheme):
        raise ConfigError(
            f"{printable(path)}: no storage is known for {scheme}://\n  expected a path, or one of "
            + ", ".join(f"{name}://" for name in STORAGES)
        )
    return _made(scheme)


@functools.cache
def _made(scheme: str) -> Remote:
    line = STORAGES.get(scheme, _Line("other", "Other"))
    kind = getattr(importlib.import_module(f"dolma.data.storage.{line.module}"), line.name)
    return kind()
