"""Which documents a file set was made from, by its manifest: attributes of another version of a file are refused."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence

from dolma.data.dataset import Dataset, Shard
from dolma.data.formats.table import format_of
from dolma.data.manifest import InputFile, Manifest, read_manifest
from dolma.errors import AlignmentError, DataError
from dolma.printable import printable


class Origins:
    """Which document files a file set was made from, as its manifest says."""

    def __init__(self, manifest: Manifest | None) -> None:
        self._inputs = [file for file in manifest.inputs if file.is_document] if manifest is not None else []
        self._by_last: dict[str, list[InputFile]] = {}
        for file in self._inputs:
            self._by_last.setdefault(file.name.rpartition("/")[2], []).append(file)

    def know(self, shard: Shard, checksum: str) -> bool:
        """Whether this document file, with these bytes, may be one of them; True where there is no list of inputs.

        The name tells which: a name in a dataset is the end of a path, longer or shorter by the pattern. Where several
        fit equally well, and where none does because the file was renamed, any of them will do.
        """
        path = [part for part in shard.path.split("/") if part != "documents"]
        files = self._by_last.get(path[-1], self._inputs)
        common = [_common_end(file.name.split("/"), path) for file in files]
        best = max(common, default=0)
        fit = [file for file, n in zip(files, common, strict=True) if n == best or file.name == shard.name]
        return not fit or any(file.checksum == checksum for file in fit)

    def check(self, shard: Shard, checksum: str, *, name: str, path: str) -> None:
        """Return when the attribute file `path`, of the set `name`, may be made from this document file.

        Raises:
            AlignmentError: it is of another version of it.
            DataError: the document file is truncated or corrupt, which is the better thing to say about it.
        """
        if not self.know(shard, checksum):
            format_of(shard.path).count(shard.path)
            raise AlignmentError(
                f"is not the file that {printable(path)} was made from: its bytes have changed since\n"
                f"  make the attributes {name!r} again, with `--overwrite`",
                file=shard.path,
            )


def check_origins(dataset: Dataset, files: Iterable[tuple[str, Shard, str]]) -> None:
    """Return when attribute files may be of their documents, which were hashed.

    `files` has the set, the shard and the path of each.

    Raises:
        AlignmentError, DataError: as `Origins.check`.
    """
    origins = functools.cache(_origins)
    for name, shard, path in files:
        origins(dataset.attribute_folder(name, shard)).check(shard, shard.input.checksum, name=name, path=path)


def _origins(folder: str) -> Origins:
    try:
        return Origins(read_manifest(folder))
    except DataError:  # some other program's; one of ours that is damaged was refused when the files were hashed
        return Origins(None)


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
