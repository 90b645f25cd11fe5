"""Reading models of the fastText library: `.bin` and `.ftz`, format versions 11 and 12, classifiers only.

The file, little-endian: magic and version (int32); twelve int32 and a double of arguments; the dictionary (sizes, then
each entry with a NUL behind it, its count and its type; then the index of n-grams that pruning left); a byte and the
input matrix; a byte and the output matrix. A matrix is rows of float32, or quantised by product quantisation: a code
per row and group of columns, 256 centroids per group, and perhaps the same once more for the norms of rows.

The file is mapped, not read: a model of gigabytes is in memory once however many processes use it. Quantised matrices
of up to `EXPANDED_BYTES` are expanded, which makes them as fast as they would have been.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.errors import ConfigError
from dolma.kernels.compiled import read_only
from dolma.kernels.fasttext import HIERARCHICAL, NEGATIVE, ONE_VS_ALL, SOFTMAX, Bytes, Int64, Matrix, Model

MAGIC = 793712314
VERSIONS = (11, 12)
EXPANDED_BYTES = 1 << 26

_ARGUMENTS = struct.Struct("<12id")
_KINDS = {1: "cbow", 2: "skipgram", 3: "supervised"}
_SUPERVISED = 3
_LOSSES = (HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL)
_LABEL = "__label__"
_WORD_TYPE, _LABEL_TYPE = 0, 1
_CENTROIDS = 256
_LONGEST = 1000


def read_model(path: str | Path) -> Model:
    """The model in the file.

    Raises:
        ConfigError: there is no such file, or it is no fastText classifier: says what was expected, and where.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"there is no fastText model {os.fspath(path)!r}\n  give the path of a `.bin` or `.ftz` file")
    with open(path, "rb") as file:
        if os.path.getsize(path) == 0:
            raise ConfigError(
                f"{os.fspath(path)!r} is not a fastText model: it is empty"
                "\n  download it again, with `dolma fetch` if it is in `dolma fetch --list`"
            )
        return _Reader(os.fspath(path), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).model()


class _Reader:
    """A place in a mapped file."""

    def __init__(self, path: str, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0
        self.bytes: Bytes = read_only(np.frombuffer(data, dtype=np.uint8), np.uint8)

    def model(self) -> Model:
        magic, version = self.unpack("<2i", "magic and version")
        self.check(magic == MAGIC, f"it begins with {magic}, expected {MAGIC}")
        self.check(version in VERSIONS, f"its format has version {version}, expected {VERSIONS[0]} or {VERSIONS[1]}")
        arguments = self.unpack(_ARGUMENTS.format, "arguments")
        dim, word_ngrams, loss, kind, bucket, min_chars, max_chars = (arguments[i] for i in (0, 5, 6, 7, 8, 9, 10))
        self.check(
            kind == _SUPERVISED,
            f"it is a model of kind {_KINDS.get(kind, kind)!r}, expected a classifier (supervised)",
        )
        self.check(loss in _LOSSES, f"its loss is {loss}, expected one of {_LOSSES}")
        self.check(dim > 0 and bucket >= 0, f"it has {dim} dimensions and {bucket} buckets")
        self.check(
            word_ngrams <= _LONGEST and max_chars <= _LONGEST,
            f"it has n-grams of {word_ngrams} words and {max_chars} characters, expected at most {_LONGEST}",
        )
        max_chars = 0 if version == VERSIONS[0] else max_chars  # the library ignores n-grams of its older classifiers
        dictionary = self._dictionary()
        pruned: npt.NDArray[np.int32] | None = dictionary.pop("pruned")
        inputs, outputs = self._matrix("input"), self._matrix("output")
        self.check(self.at == len(self.data), f"it goes on for {len(self.data) - self.at} bytes behind its end")
        hashed = max_chars > 0 or word_ngrams > 1
        self.check(bucket > 0 or not hashed, "it has n-grams and no buckets for them")
        expected = dictionary["n_words"] + (bucket if hashed else 0)
        if pruned is not None:
            expected = dictionary["n_words"] + int(pruned[:, 1].max(initial=-1)) + 1
        self.check(inputs.n_rows >= expected, f"it has {inputs.n_rows} input rows, expected {expected}")
        n_labels = len(dictionary["labels"])
        self.check(outputs.n_rows == n_labels > 0, f"it has {outputs.n_rows} output rows and {n_labels} labels")
        self.check(inputs.n_columns == outputs.n_columns == dim, f"its rows are not all of {dim} columns")
        return Model(
            loss=loss,
            word_ngrams=word_ngrams,
            min_chars=min_chars,
            max_chars=max_chars,
            bucket=bucket,
            pruned=pruned,
            inputs=inputs,
            outputs=outputs,
            **dictionary,
        )

    def _dictionary(self) -> dict[str, Any]:
        size, n_words, n_labels, _, n_pruned = self.unpack("<3i2q", "sizes of the dictionary")
        self.check(
            size == n_words + n_labels and min(n_words, n_labels) >= 0,
            f"its dictionary has {size} entries, {n_words} words and {n_labels} labels",
        )
        starts, ends, counts = self._entries(size, n_words)
        labels = [self.data[starts[i] : ends[i]].decode("utf-8", "backslashreplace") for i in range(n_words, size)]
        pruned = None
        if n_pruned >= 0:
            flat = self.array("<i4", 2 * n_pruned, "index of n-grams")
            pruned = read_only(flat.reshape(-1, 2), np.int32)
            self.check((pruned >= 0).all(), "its index of n-grams has negative numbers")
        return {
            "n_words": n_words,
            "labels": tuple(label.removeprefix(_LABEL) for label in labels),
            "label_counts": counts[n_words:],
            "names": self.bytes,
            "name_starts": read_only(starts, np.int64),
            "name_ends": read_only(ends, np.int64),
            "pruned": pruned,
        }

    def _entries(self, size: int, n_words: int) -> tuple[Int64, Int64, Int64]:
        """Where each entry begins and ends in the file, and its count."""
        self.check(size <= len(self.data) - self.at, f"it ends within its dictionary of {size} entries")
        starts, ends, counts = np.zeros((3, size), dtype=np.int64)
        data, at, entry = self.data, self.at, struct.Struct("<qb")
        for i in range(size):
            end = data.find(b"\0", at)
            self.check(0 <= end <= len(data) - 10, f"it ends within entry {i} of its dictionary of {size}")
            starts[i], ends[i] = at, end
            counts[i], kind = entry.unpack_from(data, end + 1)
            self.check(kind == (_WORD_TYPE if i < n_words else _LABEL_TYPE), f"entry {i} is of type {kind}")
            at = end + 10
        self.check((counts >= 0).all() and (counts < 10**12).all(), "it has counts out of range")
        self.at = at
        return starts, ends, counts

    def _matrix(self, name: str) -> Matrix:
        (quantised,) = self.unpack("<?", f"the {name} matrix")
        return self._quantised(name) if quantised else self._dense(name)

    def _dense(self, name: str) -> Matrix:
        n_rows, n_columns = self.unpack("<2q", f"size of the {name} matrix")
        self.check(n_rows >= 0 and n_columns > 0, f"its {name} matrix has {n_rows} rows of {n_columns} columns")
        return _dense(n_rows, n_columns, self.take(4 * n_rows * n_columns, f"the {name} matrix"))

    def _quantised(self, name: str) -> Matrix:
        has_norms, n_rows, n_columns, n_codes = self.unpack("<?2qi", f"size of the {name} matrix")
        codes = self.take(max(n_codes, 0), f"codes of the {name} matrix")
        centroids, group, n_groups = self._quantiser(n_columns, name)
        self.check(n_rows >= 0 and n_codes == n_rows * n_groups, f"its {name} matrix has {n_codes} codes")
        norms = np.empty(0, dtype=np.float32)
        if has_norms:
            norm_codes = self.take(n_rows, f"norms of the {name} matrix")
            norm_centroids, _, _ = self._quantiser(1, name)
            norms = norm_centroids[norm_codes]
        matrix = Matrix(
            n_rows=n_rows,
            n_columns=n_columns,
            floats=read_only(np.empty(0), np.uint8),
            codes=codes,
            centroids=centroids,
            norms=read_only(norms, np.float32),
            group=group,
        )
        return expanded(matrix) if 4 * n_rows * n_columns <= EXPANDED_BYTES else matrix

    def _quantiser(self, n_columns: int, name: str) -> tuple[npt.NDArray[np.float32], int, int]:
        """Centroids, columns per group and groups."""
        dim, n_groups, group, last = self.unpack("<4i", f"quantiser of the {name} matrix")
        self.check(
            dim == n_columns > 0
            and group > 0
            and n_groups == -(-dim // group)
            and last == dim - group * (n_groups - 1),
            f"its {name} matrix of {n_columns} columns is quantised by {n_groups} groups of {group} of {dim} columns",
        )
        return self.array("<f4", dim * _CENTROIDS, f"centroids of the {name} matrix"), group, n_groups

    def unpack(self, form: str, what: str) -> tuple[Any, ...]:
        size = struct.calcsize(form)
        self.check(self.at + size <= len(self.data), f"it ends within {what}, at {len(self.data)} bytes")
        self.at += size
        return struct.unpack_from(form, self.data, self.at - size)

    def take(self, size: int, what: str) -> Bytes:
        """The next bytes, mapped."""
        self.check(
            self.at + size <= len(self.data),
            f"it ends within {what}, at {len(self.data)} bytes where {self.at + size} were expected",
        )
        self.at += size
        return self.bytes[self.at - size : self.at]

    def array(self, dtype: str, n: int, what: str) -> npt.NDArray[Any]:
        """The next numbers, copied: in the file they are aligned to nothing."""
        return read_only(
            np.frombuffer(self.take(4 * n, what).tobytes(), dtype=dtype), np.dtype(dtype).newbyteorder("=")
        )

    def check(self, holds: object, message: str) -> None:
        if not holds:
            raise ConfigError(
                f"{self.path!r} is not a fastText model that can be used: {message}\n"
                "  give the path of a `.bin` or `.ftz` file of a classifier, whole"
            )


def expanded(matrix: Matrix) -> Matrix:
    """The quantised matrix with its rows written out."""
    n_groups = -(-matrix.n_columns // matrix.group)
    codes = matrix.codes.reshape(matrix.n_rows, n_groups)
    rows = np.empty((matrix.n_rows, matrix.n_columns), dtype="<f4")
    for g in range(n_groups):
        start = g * matrix.group
        width = min(matrix.group, matrix.n_columns - start)
        at = g * _CENTROIDS * matrix.group
        centroids = matrix.centroids[at : at + _CENTROIDS * width].reshape(_CENTROIDS, width)
        rows[:, start : start + width] = centroids[codes[:, g]]
    if len(matrix.norms):
        rows *= matrix.norms[:, None]
    return _dense(matrix.n_rows, matrix.n_columns, rows.reshape(-1).view(np.uint8))


def _dense(n_rows: int, n_columns: int, floats: Bytes) -> Matrix:
    empty = read_only(np.empty(0), np.float32)
    return Matrix(
        n_rows=n_rows,
        n_columns=n_columns,
        floats=read_only(floats, np.uint8),
        codes=read_only(np.empty(0), np.uint8),
        centroids=empty,
        norms=empty,
        group=1,
    )
