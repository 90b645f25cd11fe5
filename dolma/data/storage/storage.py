"""What a storage has to say: one module of this package each, and a line in `table.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple

from dolma.errors import ConfigError
from dolma.printable import printable


class Entry(NamedTuple):
    """A file that is there: its path, bytes, and what changes with these (ETag, generation, time; "" if unknown)."""

    path: str
    size: int
    version: str = ""


class Storage(ABC):
    """Files by path. What goes wrong is a `DataError`, on writing a `WriteError`, that names the path.

    `lists` and `writes`: whether it can tell what is there, and take files.
    """

    lists = True
    writes = True

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """The file's bytes as they are, from any position.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def entry(self, path: str) -> Entry | None:
        """The file at this very path; None if there is none. Reads none of its bytes."""

    @abstractmethod
    def paths(self, folder: str) -> Iterator[str]:
        """All files below a folder, hidden ones and temporary ones included; none if there is no such folder."""

    def below(self, folder: str) -> Iterator[Entry]:
        """The same with what is known of each, by few requests; a file that is removed meanwhile is left out."""
        return (entry for path in self.paths(folder) if (entry := self.entry(path)) is not None)

    @abstractmethod
    def remove(self, path: str) -> None:
        """Delete a file; a missing one is fine."""

    @abstractmethod
    def remove_tree(self, folder: str) -> None:
        """Delete a folder and all below it; a missing one is fine."""

    @abstractmethod
    def atomic_path(self, path: str, *, flushed: bool = True) -> AbstractContextManager[str]:
        """A temporary local path; what the block wrote there appears at `path` when it ends well, else nothing."""

    def check_writable(self, path: str) -> None:
        """Refuse an output where none can be written, whatever is there.

        Raises:
            ConfigError: files here can only be read.
        """
        if not self.writes:
            raise ConfigError(
                f"{printable(path)}: cannot write there; it is for reading only\n"
                "  give a local folder, s3://, gs:// or azure://"
            )
