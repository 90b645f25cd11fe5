"""Files at all other URLs that smart_open reads (`ftp://`, `sftp://`, `webhdfs://`, ...), for reading.

Such a file is copied to a temporary one when it is opened, since most of these servers know neither ranges nor sizes.
Its size is found in the same way.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import BinaryIO, cast

from dolma.data.storage.remote import Remote, Trouble
from dolma.data.storage.storage import Entry
from dolma.errors import ConfigError, DolmaError
from dolma.printable import printable


def knows(scheme: str) -> bool:
    """Whether smart_open reads URLs that begin so."""
    from smart_open.transport import SUPPORTED_SCHEMES

    return scheme in SUPPORTED_SCHEMES


class Other(Remote):
    advice = {"other": "see whether the address is right; or download the file, and give its path"}

    def open(self, path: str) -> BinaryIO:
        return self.asked("read", path, lambda: _copied(path))

    def _entry(self, path: str) -> Entry | None:
        with _copied(path) as file:
            return Entry(path, file.seek(0, 2))

    def _failures(self) -> tuple[type[Exception], ...]:
        return (Exception,)  # of whichever client smart_open asks

    def _trouble(self, error: Exception) -> Trouble:
        if isinstance(error, DolmaError):
            raise error
        if isinstance(error, FileNotFoundError):
            return Trouble("missing", str(error))
        passing = isinstance(error, ConnectionError | TimeoutError)
        return Trouble("transient" if passing else "other", f"{type(error).__name__}: {error}")


def _copied(path: str) -> BinaryIO:
    import smart_open

    try:
        source = smart_open.open(path, "rb", compression="disable")
    except ImportError as error:  # says itself what to install
        raise ConfigError(
            f"this address needs another package: {printable(error)}"
            "\n  install that package, or copy the file to a disk",
            path=path,
        ) from error
    file = tempfile.TemporaryFile(prefix="dolma-")
    try:
        with source:
            shutil.copyfileobj(source, file, 1 << 20)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast(BinaryIO, file)
