"""The record beside every file set: what made it, from what, what it holds. No clock, no host: same run, same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import xxhash

from dolma import __version__
from dolma.data import streams
from dolma.data.identity import Content
from dolma.data.json_text import decode_json
from dolma.errors import DataError
from dolma.names import leads_below
from dolma.printable import printable
from dolma.stages import kind_written

FORMAT_VERSION = 1
NAME = "manifest.json"
NAMES = ("_manifest.json", NAME)
"""The first one is that of attribute sets: what reads a folder of parquet passes over names that begin with `_`."""
REFERENCES = ".references/"
"""How names begin of documents that others were only compared with; no document's own name begins with a dot."""
RECIPE = "recipe.yaml"  # the resolved recipe, for people; `verify` asks it what there must be


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read: its name in the dataset, bytes on disk, xxh3-128."""

    name: str
    size: int
    checksum: str

    @property
    def is_document(self) -> bool:
        """Whether it is one of the stage's documents; the names of what is read beside them begin otherwise."""
        return not self.name.startswith(("attributes/", "tokens/", REFERENCES))


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written, at `set`/`path`. `rows` counts documents, or 0 where that means nothing."""

    set: str
    path: str
    bytes: int
    checksum: str
    rows: int = 0


def output_file(home: str, written: streams.Written | None, *, rows: int = 0) -> OutputFile:
    """A file that was finished, below the folder `home`, as an output of the file set there."""
    assert written is not None
    below = written.path.removeprefix(home.rstrip("/") + "/")
    return OutputFile(set=home, path=below, bytes=written.bytes, checksum=written.checksum, rows=rows)


def file_there(home: str, name: str) -> OutputFile:
    """A file that lies below the folder `home`, as an output of the file set there; it is read for its checksum."""
    path = streams.join(home, name)
    return OutputFile(set=home, path=name, bytes=streams.size(path) or 0, checksum=streams.checksum(path))


class FileSet(msgspec.Struct, frozen=True, kw_only=True):
    """The outputs that share one manifest. `config` and `inputs` decide their bytes, and nothing else does.

    With `separate`, each output is of one input, is named after it and depends on no other, so that a set may grow:
    `inputs` are then those of this run, and what the set has of others stays. `root` says where inputs lie (`places`);
    `remedy` what to do where the set is of other inputs or settings.
    """

    folder: str
    stage: str
    name: str
    config: dict[str, Any]
    inputs: list[InputFile]
    separate: bool = False
    root: str = ""
    remedy: str = "`--overwrite` removes it and makes it again; or give another output folder"

    @property
    def fingerprint(self) -> str:
        """Changes when the outputs would: xxh3-128 over format version, stage, config and inputs."""
        return fingerprint([FORMAT_VERSION, self.stage, self.name, self.config, self.inputs])


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`. `outputs[].set` is "" there: a folder may be moved as a whole.

    `checksum`, xxh3-128 of all else in the file as canonical JSON, is put in when it is written.
    """

    format_version: int
    stage: str
    name: str
    code_version: str
    fingerprint: str
    config: dict[str, Any]
    inputs: list[InputFile]
    outputs: list[OutputFile]
    ledger: dict[str, Any]
    notes: dict[str, Any] = {}
    checksum: str = ""


def fingerprint(value: Any) -> str:
    """xxh3-128 of the value as canonical JSON, in hex.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(value, order="deterministic"))


def manifest_of(
    file_set: FileSet, *, outputs: list[OutputFile], ledger: dict[str, Any], notes: dict[str, Any]
) -> Manifest:
    """The manifest of a finished file set, outputs sorted by path."""
    notes = {**notes, **({"root": file_set.root} if file_set.root else {})}
    return Manifest(
        format_version=FORMAT_VERSION,
        stage=file_set.stage,
        name=file_set.name,
        code_version=__version__,
        fingerprint=file_set.fingerprint,
        config=file_set.config,
        inputs=file_set.inputs,
        outputs=sorted((msgspec.structs.replace(out, set="") for out in outputs), key=lambda out: out.path),
        ledger=ledger,
        notes=notes,
    )


def differences(where: str, **pairs: tuple[Any, Any]) -> Iterator[str]:
    """Ends of sentences about what a manifest says otherwise than `where`, by what is compared: (here, there)."""
    for key, (here, there) in pairs.items():
        if here != there:
            yield f"its {key} is {here!r}, {where} has {there!r}"


def unlike_recipe(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """The same about settings of a manifest and those of a recipe, whose tuples are the lists of JSON."""
    plain = decode_json(msgspec.json.encode(wanted))
    return differences(RECIPE, **{key: (config[key], value) for key, value in plain.items()})


def read_manifest(folder: str) -> Manifest | None:
    """The folder's manifest, as its stage wrote it; None when it has none.

    Raises:
        DataError: it is not one of ours, or not as it was written.
    """
    for name in NAMES:
        path = streams.join(folder, name)
        try:
            return _decoded(streams.read_bytes(path), path)
        except FileNotFoundError:
            continue
    return None


def name_of(stage: str) -> str:
    """What the manifest of a stage's file set is called; sets of earlier versions may have the other one of `NAMES`."""
    return NAMES[0] if kind_written(stage) == "attributes" else NAME


def manifest_path(folder: str) -> str | None:
    """The folder's manifest, ours or another program's; None when there is none."""
    return next((path for name in NAMES if streams.exists(path := streams.join(folder, name))), None)


def remove_manifest(folder: str) -> None:
    """Have the folder be that of no finished stage."""
    for name in NAMES:
        streams.remove(streams.join(folder, name))


def recipe_beside(manifest: str) -> str:
    """Where the resolved recipe lies beside a manifest."""
    folder, _, name = manifest.rpartition("/")
    return streams.join(folder, ("_" if name.startswith("_") else "") + RECIPE)


def _decoded(data: bytes, path: str) -> Manifest:
    try:
        manifest, checksum = decode_json(data, Manifest), _checksum(data)
    except msgspec.DecodeError as error:
        raise DataError(
            f"not a manifest: {printable(error)}"
            "\n  put the file back as it was; or remove its folder and run the stage that made it again",
            file=path,
        ) from error
    if manifest.checksum != checksum or not all(leads_below(out.path) for out in manifest.outputs):
        raise DataError(
            "is not as a stage of this version of dolma wrote it: its own checksum does not fit\n"
            "  put the file back as it was; or remove its folder and run the stage that made it again",
            file=path,
        )
    return manifest


def _checksum(encoded: bytes) -> str:
    content = decode_json(encoded, dict[str, Any])
    content.pop("checksum", None)
    return fingerprint(content)


class _Made(msgspec.Struct):
    """What tells a manifest of ours from other programs' files of that name."""

    format_version: int
    stage: str
    fingerprint: str


def stage_of(folder: str) -> str | None:
    """The stage that finished this folder; None where no manifest of ours lies in it."""
    for name in NAMES:
        path = streams.join(folder, name)
        if streams.exists(path):
            try:
                return decode_json(streams.read_bytes(path), _Made).stage
            except msgspec.DecodeError:
                return None
    return None


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Put the manifest there, whole or not at all."""
    sealed = msgspec.structs.replace(manifest, checksum=_checksum(msgspec.json.encode(manifest)))
    encoded = msgspec.json.format(msgspec.json.encode(sealed, order="deterministic"), indent=1)
    streams.write_bytes(streams.join(folder, name_of(manifest.stage)), encoded + b"\n")
    if name_of(manifest.stage) != NAME:  # of an earlier version
        streams.remove(streams.join(folder, NAME))


def input_file(name: str, content: Content) -> InputFile:
    """A file of this content as a manifest lists it."""
    return InputFile(name=name, size=content.size, checksum=content.checksum)


def input_content(path: str) -> Content:
    """What an input holds: hashed whole, and compared with the manifest of the stage that wrote it; see `Finished`."""
    content = streams.content(path)
    Finished().check(path, content)
    return content


class Finished:
    """Compares inputs with the manifests of the stages that wrote them, as these are at the first look."""

    def __init__(self) -> None:
        self._above: dict[str, tuple[str, str, _Outputs] | None] = {}

    def check(self, path: str, content: Content) -> None:
        """Return when this content is what was written, or no stage has written the file.

        Hashing costs about 1 % of decompressing (docs/decisions.md), and is what makes a flipped byte stop the next
        stage.

        Raises:
            DataError: it is not; or the file lies among those of a manifest that does not name it; or it is one file of
                a mix and another one is gone, which a pattern over the folder would not notice.
        """
        parent, _, name = path.rpartition("/")
        if parent not in self._above:
            self._above[parent] = _outputs_above(path)
        if (found := self._above[parent]) is None:
            return
        folder, inside, outputs = found
        below = f"{inside}/{name}" if inside else name
        if below not in outputs.files:
            raise DataError(
                f"is none of the files of the finished output in {printable(folder)}, among which it lies\n"
                "  move it away, or run the stage that made the output again with `--overwrite`",
                file=path,
            )
        if below.startswith(_DOCUMENTS):
            _check_siblings(folder, outputs)
        recorded = outputs.files[below]
        if (recorded.bytes, recorded.checksum) != (content.size, content.checksum):
            raise DataError(
                f"changed since it was written: {content.size:,} bytes, xxh3 {content.checksum}; "
                f"its manifest says {recorded.bytes:,} bytes, xxh3 {recorded.checksum}\n"
                f"  run `dolma verify {printable(folder)}` to see the extent, then make it again with `--overwrite`",
                file=path,
            )


_DOCUMENTS = "documents/"
_whole: set[int] = set()  # the tables (which live as long as the process) whose documents were all there


def _check_siblings(folder: str, outputs: _Outputs) -> None:
    if id(outputs) in _whole:
        return
    for below in outputs.files:
        path = streams.join(folder, below)
        if below.startswith(_DOCUMENTS) and not streams.exists(path):
            raise DataError(
                "gone since it was written: its manifest lists it"
                f"\n  run `dolma verify {printable(folder)}` to see the extent, "
                "then run the stage that made it again",
                file=path,
            )
    _whole.add(id(outputs))


def _outputs_above(path: str) -> tuple[str, str, _Outputs] | None:
    """The finished output that the file is of, or lies among: its folder, the file's own below it, and its files."""
    folder, below = path, ""
    for _ in range(8):
        folder, slash, last = folder.rpartition("/")
        if not slash and not last:
            break
        below = f"{last}/{below}" if below else last
        outputs = _table(folder or ".")
        if os.path.dirname(below) in outputs.folders:
            return folder or ".", os.path.dirname(below), outputs
        if not slash:
            break
    return None


class _Outputs(NamedTuple):
    """The files of a manifest by path, and the folders, in its own, that they lie in."""

    files: dict[str, OutputFile]
    folders: frozenset[str]


_tables: dict[tuple[str, int | None], _Outputs] = {}
_NONE = _Outputs({}, frozenset())


def _table(folder: str) -> _Outputs:
    for name in NAMES:
        path = streams.join(folder, name)
        if streams.is_url(folder) and not streams.exists(path):
            continue
        try:
            data = streams.read_bytes(path)
            break
        except (FileNotFoundError, NotADirectoryError):
            continue
    else:
        return _NONE
    key = (folder, xxhash.xxh3_64_intdigest(data))
    if key not in _tables:
        if b'"code_version"' not in data:
            return _NONE  # some other program's manifest.json
        files = {out.path: out for out in _decoded(data, path).outputs}
        _tables[key] = _Outputs(files, frozenset(map(os.path.dirname, files)))
    return _tables[key]
