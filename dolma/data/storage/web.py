"""Files on web servers, for reading: `https://...`, `http://...`.

They are read by ranges. A server that knows none gives the whole file, which is kept in a temporary file meanwhile.
"""

from __future__ import annotations

import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
from functools import partial
from typing import BinaryIO, cast

from dolma.data.storage.remote import ANSWER_SECONDS, Remote, Trouble, by_status
from dolma.data.storage.storage import Entry
from dolma.errors import DataError

_WITHOUT_HEAD = (403, 405, 501)  # signed URLs are for one method


class Web(Remote):
    lists = False
    writes = False
    advice = {
        "transient": "see whether `curl -I {path}` works; HTTPS_PROXY names a proxy",
        "credentials": "give a signed URL, or download the file",
        "denied": "give a signed URL, or download the file",
    }

    def open(self, path: str) -> BinaryIO:
        entry = self.entry(path)
        if entry is None:
            raise FileNotFoundError(path)
        if entry.size and not self.asked("read", path, partial(_knows_ranges, path)):
            return self.asked("read", path, partial(_downloaded, path))
        return super().open(path)

    def _entry(self, path: str) -> Entry | None:
        try:
            with _ask(path, method="HEAD") as answer:
                length = answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            if error.code not in _WITHOUT_HEAD:
                raise
            length = None
        if length is None:
            with _ask(path, {"Range": "bytes=0-0"}) as answer:
                length = (answer.headers.get("Content-Range") or "").partition("/")[2]
                length = answer.headers.get("Content-Length") if answer.status == 200 else length
        if length is None or not length.isdigit():
            raise DataError("the server does not say how long it is\n  download the file, and give its path", file=path)
        return Entry(path, int(length), _strong(answer))

    def _range(self, path: str, start: int, length: int, version: str) -> bytes:
        same = {"If-Match": version} if version else {}
        with _ask(path, {"Range": f"bytes={start}-{start + length - 1}", **same}) as answer:
            data = answer.read(length)
        if len(data) < length:
            raise http.client.IncompleteRead(data, length - len(data))
        return data

    def _failures(self) -> tuple[type[Exception], ...]:
        return OSError, http.client.HTTPException, ValueError  # the last: of what is no URL

    def _trouble(self, error: Exception) -> Trouble:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            return by_status(error.code, f"the server answers {error.code} {error.reason}")
        if isinstance(error, http.client.InvalidURL | ValueError):
            return Trouble("other", str(error))
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return Trouble("transient", str(reason) or type(reason).__name__)


def _ask(path: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> http.client.HTTPResponse:
    sent = {"User-Agent": "dolma", "Accept-Encoding": "identity", **(headers or {})}
    request = urllib.request.Request(path, headers=sent, method=method)
    return cast(http.client.HTTPResponse, urllib.request.urlopen(request, timeout=ANSWER_SECONDS))


def _strong(answer: http.client.HTTPResponse) -> str:
    tag = answer.headers.get("ETag") or ""
    return "" if tag.startswith("W/") else tag


def _knows_ranges(path: str) -> bool:
    with _ask(path, {"Range": "bytes=0-0"}) as answer:
        return answer.status == 206


def _downloaded(path: str) -> BinaryIO:
    file = tempfile.TemporaryFile(prefix="dolma-")
    try:
        with _ask(path) as answer:
            shutil.copyfileobj(answer, file, 1 << 20)
            if answer.length:  # of what was promised, these are missing
                raise http.client.IncompleteRead(b"", answer.length)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast(BinaryIO, file)
