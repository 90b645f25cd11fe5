"""What the file system says of an output, as an error that tells what to do."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from dolma.errors import WriteError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Makes what the file system says inside of the block an error about the output at `path`.

    Raises:
        WriteError: says what to do about it.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(error, path) from error


def unwritable(error: OSError, path: str) -> WriteError:
    """The error about an output that the file system does not take."""
    where = f", by way of {tempfile.gettempdir()}" if "://" in path else ""
    if error.errno in FULL:
        hint = "make room, or have it written elsewhere; then run the same command again: finished files are kept"
    elif error.errno in _FORBIDDEN:
        hint = "let this user write there, or have it written elsewhere; then run the same command again"
    else:
        hint = "have it written elsewhere, or put right what is in the way; then run the same command again"
    return WriteError(f"cannot be written{where}: {error.strerror or error}\n  {hint}", file=path)
