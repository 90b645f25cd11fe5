"""Files on web servers, for reading: `https://...`, `http://...`.

They are read by ranges. A server that knows none gives the whole file, which is kept in a temporary file meanwhile.
What a server says is not trusted: each answer has to be the part that was asked for, of the file that was found first.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast

from dolma.data.storage.remote import ANSWER_SECONDS, Remote, Trouble, by_status
from dolma.data.storage.remote_file import RemoteFile
from dolma.data.storage.storage import Entry
from dolma.errors import DataError
from dolma.printable import printable

PACE_BYTES = 16 << 10
"""The least that has to come of an answer in `ANSWER_SECONDS`, but for its end."""
_PART_BYTES = 1 << 20
_PART = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_NOTHING = re.compile(r"bytes \*/0")  # of an empty file there is no part
_BY_SUFFIX = {"gzip": ".gz", "zstd": ".zst"}  # many servers call a compressed file one that they have compressed


class _Found(NamedTuple):
    """What the first answer says: the file's bytes, what is another one when it is written, whether parts are given."""

    size: int
    tag: str
    parts: bool


class Web(Remote):
    advice = {
        "transient": "see whether `curl -I {path}` works; HTTPS_PROXY names a proxy",
        "credentials": "give a signed URL, or download the file",
        "denied": "give a signed URL, or download the file",
        "other": "see what `curl -IL {path}` shows; or download the file, and give its path",
    }

    def open(self, path: str) -> BinaryIO:
        found = self.asked("read", path, partial(_find, path))
        if not found.parts and found.size:
            return self.asked("read", path, partial(_downloaded, path, found))

        def read_range(start: int, length: int) -> bytes:
            return self.asked("read", path, partial(_part, path, start, length, found))

        return cast(BinaryIO, RemoteFile(read_range, found.size))

    def _entry(self, path: str) -> Entry | None:
        found = _find(path)
        return Entry(path, found.size, found.tag if found.tag.startswith('"') else "")

    def _failures(self) -> tuple[type[Exception], ...]:
        return OSError, http.client.HTTPException, ValueError  # the last: of what is no URL

    def _trouble(self, error: Exception) -> Trouble:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            return by_status(error.code, f"the server answers {error.code} {error.reason.partition(chr(10))[0]}")
        if isinstance(error, http.client.InvalidURL | ValueError):
            return Trouble("other", str(error))
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, str):  # of the address, not of a connection
            return Trouble("other", reason)
        return Trouble("transient", str(reason) or type(reason).__name__)


def _find(path: str) -> _Found:
    """How long the file is, from an answer with its first byte: what `HEAD` says is another thing on many servers."""
    try:
        with _ask(path, {"Range": "bytes=0-0"}) as answer:
            part = _PART.fullmatch(answer.headers.get("Content-Range") or "")
            length = part[3] if part else answer.headers.get("Content-Length") or ""
            if (answer.status == 206) is not (part is not None) or not re.fullmatch(r"[0-9]{1,18}", length):
                raise DataError(
                    "the server does not say how long it is\n  download the file, and give its path", file=path
                )
            return _Found(int(length), _tag(answer), part is not None)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not _NOTHING.fullmatch(error.headers.get("Content-Range") or ""):
            raise
        return _Found(0, error.headers.get("ETag") or "", False)


def _part(path: str, start: int, length: int, found: _Found) -> bytes:
    same = {"If-Match": found.tag} if found.tag.startswith('"') else {}
    with _ask(path, {"Range": f"bytes={start}-{start + length - 1}", **same}) as answer:
        part = _PART.fullmatch(answer.headers.get("Content-Range") or "")
        if answer.status != 206 or not part or (int(part[1]), int(part[2])) != (start, start + length - 1):
            raise DataError(
                f"the server was asked for the bytes from {start:,} on and gives others\n"
                "  download the file, and give its path",
                file=path,
            )
        if int(part[3]) != found.size or _tag(answer) != found.tag:
            raise _changed(path)
        data = answer.read(length)
    if len(data) < length:
        raise http.client.IncompleteRead(data, length - len(data))
    return data


def _downloaded(path: str, found: _Found) -> BinaryIO:
    file = tempfile.TemporaryFile(prefix="dolma-")
    try:
        with _ask(path) as answer:
            if _tag(answer) != found.tag:
                raise _changed(path)
            left = found.size
            while part := answer.read(min(_PART_BYTES, left + 1)):
                left -= len(part)
                if left < 0:
                    raise _changed(path)
                file.write(part)
            if left:
                raise http.client.IncompleteRead(b"", left)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast(BinaryIO, file)


def _changed(path: str) -> DataError:
    return DataError(
        "changed on the server while it was being read\n"
        "  nothing was finished from it; run the same command again when nothing else writes it",
        file=path,
    )


def _tag(answer: http.client.HTTPResponse) -> str:
    """What is another one when the file is: its ETag, else its time."""
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


# --- requests --------------------------------------------------------------------------------------------------------


def _ask(path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    sent = {"User-Agent": "dolma", "Accept-Encoding": "identity", **(headers or {})}
    answer = cast(http.client.HTTPResponse, _opener.open(urllib.request.Request(path, headers=sent), None, _seconds()))
    coding = (answer.headers.get("Content-Encoding") or "identity").strip().lower().removeprefix("x-")
    if coding != "identity" and not urllib.parse.urlsplit(path).path.endswith(_BY_SUFFIX.get(coding, "\0")):
        answer.close()
        raise DataError(
            f"the server sends it compressed ({printable(coding)}), although it was asked not to"
            "\n  download the file, and give its path",
            file=path,
        )
    return answer


def _seconds() -> float:
    return ANSWER_SECONDS


class _Paced(io.RawIOBase):
    """What a socket receives. A byte now and then is as little of an answer as none, and headers may go on for ever."""

    def __init__(self, received: io.RawIOBase, connection: socket.socket) -> None:
        self._received, self._connection = received, connection
        self._deadline, self._awaited = time.monotonic() + _seconds(), 0  # of the headers: all of them

    def begin_body(self) -> None:
        self._deadline, self._awaited = time.monotonic() + _seconds(), PACE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            n_bytes = cast(int | None, self._received.readinto(buffer))  # type: ignore[attr-defined]
        except TimeoutError:
            raise TimeoutError("the server answers too slowly") from None
        if self._awaited:
            self._awaited -= n_bytes or 0
            if self._awaited <= 0:
                self.begin_body()
        return n_bytes

    def close(self) -> None:
        self._received.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._paced = _Paced(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        super().begin()
        self._paced.begin_body()


class _Connection(http.client.HTTPConnection):
    response_class = _Answer


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Answer


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _opener_of() -> urllib.request.OpenerDirector:
    """Asks web servers only, wherever they lead: neither files nor FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(),
        _Https(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


_opener = _opener_of()
