"""Models and lists by path or URL: fetched once on request, never by a stage.

A stage opens local files only, so that a run does the same with and without a network, today and next year. What is
elsewhere is fetched beforehand, by `dolma fetch URL`, into a cache; a tagger that is given the URL then finds it there.

The cache is `$DOLMA_CACHE`, or `dolma` in the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`). Each URL has a
folder of its own, with the file under the name that it has in the URL, so that its suffixes keep their meaning:

    $DOLMA_CACHE/fetched/1f0c9d3e5a7b2c4d/list.txt.gz
    $DOLMA_CACHE/fetched/1f0c9d3e5a7b2c4d/lock

A download goes to a temporary name and is renamed when it is whole, under a `flock`, which the kernel lets go of
however a process ends: many processes fetch a file once, and none sees a part of one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dolma.data import streams
from dolma.errors import ConfigError, DataError
from dolma.printable import printable

if TYPE_CHECKING:
    import http.client

CACHE_VARIABLE = "DOLMA_CACHE"
TIMEOUT_SECONDS = 60.0
"""How long a server may say nothing."""

_LOCK = "lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_HUGGING_FACE = re.compile(
    r"hf://(?P<kind>(?:datasets/)?)(?P<repository>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+)"
)

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes that are there and those expected; None when the server does not say."""


def fetched_path(path_or_url: str | os.PathLike[str], *, sha256: str | None = None) -> Path:
    """Where a model or list lies on this machine: the path itself, or what `fetch` got from the URL. Downloads nothing.

    Raises:
        ConfigError: there is no such file, or nobody has fetched the URL yet.
        DataError: the file does not have this checksum.
    """
    given = os.fspath(path_or_url)
    path = cached_path(given) if streams.is_url(given) else Path(given.removeprefix("file://")).expanduser()
    if not path.is_file():
        if streams.is_url(given):
            raise ConfigError(f"{printable(given)} has not been fetched\n  run `dolma fetch {_quoted(given)}`")
        if path.exists():
            what = "a folder" if path.is_dir() else "a device or a pipe"
            raise ConfigError(f"{printable(given)} is {what}, expected a file\n  give the path of a file, or a URL")
        raise ConfigError(f"no such file: {printable(given)}\n  give a path that is there, or a URL")
    if sha256 is not None:
        _check(path, sha256, given)
    return path


def fetch(url: str, *, sha256: str | None = None, again: bool = False, on_bytes: OnBytes | None = None) -> Path:
    """Get a URL (http, https, s3, gs, azure, `hf://owner/name[@revision]/path`) into the cache, unless it is there.

    Processes that fetch the same at the same time download it once. `again` downloads it although it is there; readers
    see the old file until the new one is whole.

    Raises:
        ConfigError: it is no URL, or of a kind that cannot be read, or the cache cannot be written.
        DataError: it cannot be downloaded, is cut short, or does not have this checksum; the cache is as before.
    """
    if not streams.is_url(url):
        raise ConfigError(f"{url!r} is no URL\n  `dolma fetch --list` shows what can be fetched by name")
    path = cached_path(url)
    before = _stamp(path)
    with _locked(path.parent):
        streams.remove_temporaries(streams.list_files(str(path.parent)))
        if _stamp(path) is None or (again and _stamp(path) == before):
            with streams.atomic_path(str(path)) as temporary:
                _download(url, Path(temporary), on_bytes)
                if sha256 is not None:
                    _check(Path(temporary), sha256, url)
    return fetched_path(url, sha256=sha256)


def cache_folder() -> Path:
    """Where fetched files are kept; need not exist."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "dolma"


def cached_path(url: str) -> Path:
    """Where the cache keeps a URL's file; need not exist. The forms of a Hugging Face URL have one place."""
    url = http_url(url)
    import urllib.parse

    try:
        path = urllib.parse.urlsplit(url).path
    except ValueError as error:
        raise ConfigError(f"{url!r} is no URL: {printable(error)}\n  write it as a browser shows it") from error
    name = urllib.parse.unquote(path.rstrip("/").rpartition("/")[2])
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:200] or "file"
    if name == _LOCK:
        name += "_"
    return cache_folder() / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a local file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def http_url(url: str) -> str:
    """A Hugging Face URL as the address that it stands for; others as they are.

    >>> http_url("hf://allenai/some-model/model.bin")
    'https://huggingface.co/allenai/some-model/resolve/main/model.bin'

    Raises:
        ConfigError: it begins with `hf://` and does not go on as one.
    """
    if not url.startswith("hf://"):
        return url
    match = _HUGGING_FACE.fullmatch(url)
    if match is None:
        raise ConfigError(
            f"{printable(url)}: expected hf://owner/name[@revision]/path, or hf://datasets/owner/name/path"
        )
    import urllib.parse

    revision = urllib.parse.quote(match["revision"] or "main", safe="")
    return f"https://huggingface.co/{match['kind']}{match['repository']}/resolve/{revision}/{match['path']}"


def _download(url: str, target: Path, on_bytes: OnBytes | None) -> None:
    address = http_url(url)
    if not address.startswith(("http://", "https://")):
        with streams.local_copy(address) as copy:
            shutil.copyfile(copy, target)
        return
    import http.client
    import urllib.error
    import urllib.request

    try:
        request = urllib.request.Request(address, headers={"User-Agent": "dolma"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response, open(target, "wb") as out:
            _copy(response, out.write, url, on_bytes)
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(
            f"the server answers {error.code} {error.reason}\n  look for the address in a browser", file=url
        ) from error
    except urllib.error.URLError as error:
        raise DataError(
            f"cannot download: {error.reason}\n  look at the address and the network, and try again", file=url
        ) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise DataError(
            f"cannot download: {error or type(error).__name__}\n  look at the address and the network, and try again",
            file=url,
        ) from error


def _copy(
    response: http.client.HTTPResponse, write: Callable[[bytes], int], url: str, on_bytes: OnBytes | None
) -> None:
    length = response.headers.get("Content-Length")
    expected = int(length) if length and length.isdigit() else None
    got = 0
    while chunk := response.read(streams.CHUNK_BYTES):
        write(chunk)
        got += len(chunk)
        if on_bytes is not None:
            on_bytes(got, expected)
    if expected is not None and got != expected:
        raise DataError(f"the download ended after {got:,} of {expected:,} bytes\n  run the command again", file=url)


def _check(path: Path, expected: str, shown: str) -> None:
    if (found := sha256_of(path)) != expected.lower():
        raise DataError(
            f"not the expected file: SHA-256 is {found}, expected {expected.lower()}\n"
            "  if its owner has changed it on purpose, give the new checksum; else fetch it again with `--again`",
            file=shown,
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells one file at this path from the next one; None when there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, waiting for it; on a file system without locks go on: the rename keeps files whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / _LOCK, "wb")
    except OSError as error:
        raise ConfigError(
            f"{printable(folder)}: cannot write there: {error.strerror or error}"
            f"\n  name another cache folder in ${CACHE_VARIABLE}"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        yield


def _quoted(url: str) -> str:
    return url if re.fullmatch(r"[\w:/.@%+=-]+", url) else f"'{url}'"
