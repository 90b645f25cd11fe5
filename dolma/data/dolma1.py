"""The Dolma 1.x attribute file: JSON lines of `{"id", "attributes": {key: [[start, end, score], ...]}, "source"}`.

Keys are `<experiment>__<tagger>__<output>`. Everything there is a span, so a number of a whole document is written as
one span over it, and what we did not write is read as spans. Our own files tell their outputs in the manifest of
their folder and are read back as the columns they were. A key that is absent has no span; so the form cannot tell
an empty list of spans from none, keeps five decimals, and has no NaN and no infinity: such a number has no span.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from dolma.data import streams
from dolma.data.columns import Columns, Output, schema_of, spans_of
from dolma.data.fields import name_of
from dolma.data.identity import Content
from dolma.data.manifest import read_manifest
from dolma.errors import DataError
from dolma.printable import printable

_Spans = list[tuple[float, float, float | int]]


class _Record(msgspec.Struct):
    id: str | int | float
    attributes: dict[str, _Spans]


def sanitise(name: str) -> str:
    """The name as it stands in a key: letters, digits and `_`.

    >>> sanitise("dolma17-quality")
    'dolma17_quality'
    """
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def key_of(output: str, *, tagger: str, experiment: str | None = None) -> str:
    """The key of an output; without an experiment the tagger's name stands in for it.

    >>> key_of("word_count", tagger="gopher")
    'gopher__gopher__word_count'
    """
    return f"{sanitise(experiment or tagger)}__{sanitise(tagger)}__{output}"


def output_of(key: str) -> str:
    """The output's name in rules: the key without experiment, and without the tagger where it is the same.

    `id` is the column that says which document a row is of, so an output of this name is `id_`.

    >>> output_of("gopher__gopher__word_count"), output_of("exp__gopher__word_count"), output_of("dups")
    ('word_count', 'gopher__word_count', 'dups')
    """
    experiment, tagger, output = parts if len(parts := key.split("__", 2)) == 3 else ("", "", key)
    name = output if experiment == tagger else f"{tagger}__{output}"
    return "id_" if name == "id" else name


class Dolma1Sink:
    """Writes the records of one file."""

    def __init__(self, path: str, outputs: Mapping[str, Output], *, tagger: str, experiment: str | None) -> None:
        self.outputs = outputs
        self._keys = {name: key_of(name, tagger=tagger, experiment=experiment) for name in outputs}
        self._out = streams.open_output(path)

    @property
    def written(self) -> streams.Written | None:
        return self._out.written

    def __enter__(self) -> Dolma1Sink:
        self._out.__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._out.__exit__(kind, value, trace)

    def write(
        self,
        ids: Sequence[str],
        columns: Columns,
        *,
        characters: Sequence[int] | None,
        sources: Sequence[str] | None,
    ) -> None:
        if characters is None:
            raise ValueError("the Dolma 1.x form needs the characters of each document")
        values = {name: columns[name].to_pylist() for name in self.outputs}
        lines = []
        for i, id in enumerate(ids):
            attributes: dict[str, list[Any]] = {}
            for name, output in self.outputs.items():
                key, spans = _spans(self._keys[name], output, values[name][i], int(characters[i]))
                if spans:
                    attributes[key] = spans
            record: dict[str, Any] = {"id": id, "attributes": attributes}
            if sources is not None:
                record["source"] = sources[i]
            lines.append(msgspec.json.encode(record))
        self._out.write(b"".join(line + b"\n" for line in lines))


def _spans(key: str, output: Output, value: Any, n_characters: int) -> tuple[str, list[Any]]:
    if value is None or (output.kind == "float" and not math.isfinite(value)):
        return key, []
    if output.kind == "spans":
        return key, [[span["start"], span["end"], round(span["score"], 5)] for span in value]
    if output.kind == "text":
        return f"{key}__{value}", [[0, n_characters, 1.0]]
    return key, [[0, n_characters, value if output.kind == "int" else round(float(value), 5)]]


def _records(path: str, *, content: Content | None = None) -> list[_Record]:
    decoder = msgspec.json.Decoder(_Record)
    data = b"".join(streams.read_chunks(path, content=content))
    try:
        return decoder.decode_lines(data)
    except msgspec.DecodeError:
        pass
    records = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                records.append(decoder.decode(line))
            except msgspec.DecodeError as error:
                raise DataError(
                    f"not an attribute record: {printable(error)}\n  measure this file again: `dolma tag --overwrite`",
                    file=path,
                    line=number,
                ) from error
    return records


def outputs_of(path: str) -> dict[str, Output]:
    """The outputs in a file: as its folder's manifest declares them, else every key that occurs, as spans."""
    declared = _declared(path)
    return _undeclared(_records(path)) if declared is None else declared.outputs


def _undeclared(records: Sequence[_Record]) -> dict[str, Output]:
    names = sorted({output_of(key) for record in records for key in record.attributes})
    return {name: Output(kind="spans", meaning="as read from a Dolma 1.x file", unit="code points") for name in names}


class _Declared(NamedTuple):
    """What a manifest of ours says of the files below it: their outputs, and what their keys begin with."""

    outputs: dict[str, Output]
    prefix: str


def _declared(path: str) -> _Declared | None:
    folder = path
    for _ in range(8):
        folder = folder.rpartition("/")[0]
        if not folder:
            return None
        manifest = read_manifest(folder)
        if manifest is not None:
            outputs = manifest.config.get("outputs")
            if outputs is None:
                return None
            prefix = key_of("", tagger=manifest.name, experiment=manifest.config.get("experiment"))
            return _Declared({name: Output(**spec) for name, spec in outputs.items()}, prefix)
    return None


def read_table(path: str, *, content: Content | None = None) -> pa.Table:
    """The file as `id` and one column per output."""
    records, declared = _records(path, content=content), _declared(path)
    if declared is None:
        outputs = _undeclared(records)
        rows = [{output_of(key): spans for key, spans in record.attributes.items()} for record in records]
    else:
        outputs, prefix = declared
        rows = [{key.removeprefix(prefix): spans for key, spans in record.attributes.items()} for record in records]
    try:
        columns = [_column(name, output, rows) for name, output in outputs.items()]
        ids = pa.array([name_of(record.id) for record in records], pa.string())
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"not an attribute file: {error}"
            "\n  give the attributes that Dolma 1.x wrote, or measure again with `dolma tag`",
            file=path,
        ) from error
    return pa.Table.from_arrays([ids, *columns], schema=schema_of(outputs))


def _column(name: str, output: Output, rows: list[dict[str, _Spans]]) -> pa.Array:
    if output.kind == "spans":
        return spans_of([[(_whole(s), _whole(e), score) for s, e, score in row.get(name, [])] for row in rows])
    if output.kind == "text":
        start = f"{name}__"
        return pa.array(
            [next((key.removeprefix(start) for key in row if key.startswith(start)), None) for row in rows],
            pa.string(),
        )
    scores = [row[name][0][2] if row.get(name) else None for row in rows]
    if output.kind == "float":
        return pa.array(scores, pa.float64())
    if output.kind == "bool":
        return pa.array([None if score is None else score != 0 for score in scores], pa.bool_())
    return pa.array([None if score is None else _whole(score) for score in scores], pa.int64())


def _whole(number: float) -> int:
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{number!r} is too large, expected at most 64 bits")
    if number != int(number):
        raise ValueError(f"{number!r} where a whole number is expected")
    return int(number)
