"""`pytest tests/data/test_manifest.py`: the record beside a file set, and what it notices."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dolma.data import streams
from dolma.data.manifest import (
    FileSet,
    InputFile,
    OutputFile,
    fingerprint,
    input_content,
    input_file,
    manifest_of,
    read_manifest,
    write_manifest,
)
from dolma.errors import DataError


def file_set(folder: Path, **config: object) -> FileSet:
    inputs = [InputFile(name="a", size=1, checksum="c")]
    return FileSet(folder=str(folder), stage="tag", name="length", config=config, inputs=inputs)


def finished(folder: Path, names: list[str]) -> list[Path]:
    """A file set of these files, with its manifest."""
    outputs = []
    for name in names:
        with streams.open_output(str(folder / name)) as out:
            out.write(b"finished text")
        assert out.written is not None
        written = out.written
        outputs.append(OutputFile(set=str(folder), path=name, bytes=written.bytes, checksum=written.checksum))
    write_manifest(str(folder), manifest_of(file_set(folder), outputs=outputs, ledger={}, notes={}))
    return [folder / name for name in names]


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    finished(tmp_path, ["b", "a/x.gz"])
    manifest = read_manifest(str(tmp_path))
    assert manifest is not None
    assert [(out.set, out.path) for out in manifest.outputs] == [("", "a/x.gz"), ("", "b")]
    assert manifest.fingerprint == file_set(tmp_path).fingerprint


def test_the_same_run_writes_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    for name in "xy":
        finished(tmp_path / name, ["a", "b"])
    assert (tmp_path / "x/_manifest.json").read_bytes() == (tmp_path / "y/_manifest.json").read_bytes()


def test_no_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(str(tmp_path)) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"manifest_version": 3, "name": "extension"}'])
def test_another_program_s_manifest_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"/manifest\.json: not a manifest: "):
        read_manifest(str(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "mix"},
        {"name": "other"},
        {"config": {"k": 2}},
        {"inputs": []},
        {"inputs": [InputFile(name="a", size=1, checksum="d")]},
    ],
)
def test_all_that_decides_the_bytes_is_in_the_fingerprint(tmp_path: Path, change: dict[str, object]) -> None:
    base = file_set(tmp_path, k=1)
    assert msgspec.structs.replace(base, **change).fingerprint != base.fingerprint


def test_where_it_lies_is_not_in_the_fingerprint(tmp_path: Path) -> None:
    assert file_set(tmp_path / "a").fingerprint == file_set(tmp_path / "b").fingerprint


@pytest.mark.golden
def test_fingerprints_are_held() -> None:
    assert fingerprint({"b": [1, "ä", None], "a": 0.5}) == "60ea08039e626a84deeeaf89e89b7d51"


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_a_file_of_nobody_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"text")
    expected = InputFile(name="a", size=4, checksum=streams.checksum(str(path)))
    assert input_file("a", input_content(str(path))) == expected


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/a\.jsonl: no such file\n"):
        input_content(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "documents/deep/a.jsonl", "x.parquet"])
def test_a_finished_file_is_taken_as_long_as_it_is_what_was_written(tmp_path: Path, name: str) -> None:
    (path,) = finished(tmp_path, [name])
    assert input_content(str(path)).checksum == streams.checksum(str(path))
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole + b"x", bytes([whole[0] ^ 1]) + whole[1:], b""):
        path.write_bytes(damaged)
        with pytest.raises(
            DataError,
            match=rf"{name}: changed since it was written: .* its manifest says {len(whole)} bytes, xxh3 \w+\n"
            rf"  run `dolma verify {tmp_path}`",
        ):
            input_content(str(path))


def test_a_relative_path_finds_its_manifest_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "set", ["a.jsonl"])
    monkeypatch.chdir(tmp_path / "set")
    Path("a.jsonl").write_bytes(b"changed")
    with pytest.raises(DataError, match=r"a\.jsonl: changed since it was written"):
        input_content("a.jsonl")


def test_a_rewritten_manifest_counts_at_once(tmp_path: Path) -> None:
    (path,) = finished(tmp_path, ["a.jsonl"])
    input_content(str(path))
    path.write_bytes(b"other")
    write_manifest(
        str(tmp_path),
        manifest_of(
            file_set(tmp_path),
            outputs=[OutputFile(set="", path="a.jsonl", bytes=5, checksum=streams.checksum(str(path)))],
            ledger={},
            notes={},
        ),
    )
    assert input_content(str(path)).size == 5


def test_a_manifest_of_another_program_above_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b'{"name": "extension"}')
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert input_content(str(tmp_path / "a.jsonl")).size == 0


def test_a_file_among_those_of_a_manifest_that_does_not_name_it_is_refused(tmp_path: Path) -> None:
    finished(tmp_path, ["documents/a.jsonl"])
    (tmp_path / "documents/b.jsonl").write_bytes(b"x")
    with pytest.raises(DataError, match=r"b\.jsonl: is none of the files of the finished output in .*\n  move it away"):
        input_content(str(tmp_path / "documents/b.jsonl"))
    (tmp_path / "c.jsonl").write_bytes(b"x")
    assert input_content(str(tmp_path / "c.jsonl")).size == 1


def test_an_edited_manifest_stops_what_reads_its_files(tmp_path: Path) -> None:
    (path,) = finished(tmp_path, ["a.jsonl"])
    manifest = tmp_path / "_manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"stage": "', b'"stage": "x'))
    with pytest.raises(DataError, match=r"manifest\.json: is not as a stage of this version of dolma wrote it"):
        input_content(str(path))
    whole = manifest.read_bytes()
    for damaged in (whole[:-20], whole.replace(b"{", b'{"other": "\xbc",', 1)):
        manifest.write_bytes(damaged)
        with pytest.raises(DataError, match=r"manifest\.json: not a manifest"):
            input_content(str(path))


@pytest.mark.parametrize("path", ["../a", "/a", "x/../../a"])
def test_a_manifest_names_no_file_outside_of_its_folder(tmp_path: Path, path: str) -> None:
    outputs = [OutputFile(set="", path=path, bytes=1, checksum="")]
    write_manifest(str(tmp_path), manifest_of(file_set(tmp_path), outputs=outputs, ledger={}, notes={}))
    with pytest.raises(DataError, match="is not as a stage"):
        read_manifest(str(tmp_path))
