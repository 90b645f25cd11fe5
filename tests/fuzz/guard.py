"""What no input may make the code do: start a program, open a connection, write or remove outside its folder."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NEVER = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.kill",
    "subprocess.Popen",
    "socket.connect",
    "socket.bind",
    "ctypes.dlopen",
    "builtins.input",
)
_ONE_PATH = ("os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "shutil.rmtree")
_TWO_PATHS = ("os.rename", "shutil.move")
_SECOND_PATH = ("os.link", "os.symlink", "shutil.copyfile")
_folder: str | None = None
_installed = False


class Escape(BaseException):
    """The code did what no input may make it do. No `except Exception` catches it."""


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Raise `Escape` where the block does one of these things."""
    global _folder, _installed
    if not _installed:
        sys.addaudithook(_look)  # hooks cannot be removed: outside of blocks it does nothing
        _installed = True
    _folder = os.path.realpath(folder)
    before, tempfile.tempdir = tempfile.tempdir, _folder
    try:
        yield
    finally:
        _folder, tempfile.tempdir = None, before


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _folder is None:
        return
    if event in _NEVER:
        raise Escape(f"{event}{arguments!r}")
    if event in _ONE_PATH + _TWO_PATHS + _SECOND_PATH:
        _inside(event, arguments[event in _SECOND_PATH : 1 if event in _ONE_PATH else 2])
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        _inside(event, arguments[:1])


def _inside(event: str, paths: tuple[Any, ...]) -> None:
    for path in paths:
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if name and not os.path.realpath(name).startswith((str(_folder), "/dev/")) and "__pycache__" not in name:
            raise Escape(f"{event} {name}")
