"""`pytest tests/data/test_streams.py`: bytes in and out, whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash
import zstandard

from dolma.data import streams
from dolma.data.parquet import ParquetOutput
from dolma.errors import ConfigError, DataError, WriteError

SUFFIXES = ("", ".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
compressed = pytest.mark.parametrize("suffix", COMPRESS)
TEXT = random.Random(5).randbytes(300_000).hex().encode()


def read(path: Path) -> bytes:
    return b"".join(streams.read_chunks(str(path)))


def put(folder: Path, suffix: str, data: bytes) -> Path:
    path = folder / f"a.jsonl{suffix}"
    path.write_bytes(data)
    return path


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", TEXT, b"a" * 5_000_000], ids=["empty", "byte", "random", "repeated"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = str(tmp_path / f"a.jsonl{suffix}")
    with streams.open_output(path) as out:
        for at in range(0, len(data), 70_000):
            out.write(data[at : at + 70_000])
    chunks = list(streams.read_chunks(path))
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= streams.CHUNK_BYTES for chunk in chunks)


@compressed
def test_other_programs_read_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with streams.open_output(str(path)) as out:
        out.write(TEXT)
    decompress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.decompress,
        ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
        ".bz2": bz2.decompress,
        ".xz": lzma.decompress,
    }
    assert decompress[suffix](path.read_bytes()) == TEXT


@compressed
def test_every_member_of_a_file_is_read(tmp_path: Path, suffix: str) -> None:
    compress = COMPRESS[suffix]
    parts = [TEXT[:100_000], b"", b"\n", TEXT[100_000:]]
    assert read(put(tmp_path, suffix, b"".join(map(compress, parts)))) == b"".join(parts)


def test_skippable_zstd_frames_are_skipped(tmp_path: Path) -> None:
    frame, skippable = COMPRESS[".zst"](b"ab"), b"\x50\x2a\x4d\x18\x03\x00\x00\x00xyz"
    assert read(put(tmp_path, ".zst", skippable + frame + skippable + frame)) == b"abab"


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_zero_padding_is_no_member(tmp_path: Path, suffix: str) -> None:
    member = COMPRESS[suffix](b"ab")
    assert read(put(tmp_path, suffix, member + bytes(8) + member + bytes(4))) == b"abab"


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.0001])
@compressed
def test_a_cut_file_is_truncated_not_short(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = COMPRESS[suffix](TEXT)
    path = put(tmp_path, suffix, whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=r"a\.jsonl\.\w+: truncated \w+: .* \(byte \d+\)") as caught:
        read(path)
    assert caught.value.offset is not None and caught.value.offset < len(TEXT)


@compressed
def test_a_file_cut_in_its_second_member_names_the_byte_after_the_first(tmp_path: Path, suffix: str) -> None:
    member = COMPRESS[suffix](TEXT)
    path = put(tmp_path, suffix, member + member[:9])
    with pytest.raises(DataError, match=rf"truncated .*\(byte {len(TEXT)}\)"):
        read(path)


@compressed
def test_whole_text_before_a_break_is_given_out_first(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, suffix, COMPRESS[suffix](TEXT) + COMPRESS[suffix](TEXT)[:-20])
    got = bytearray()
    with pytest.raises(DataError) as caught:
        for chunk in streams.read_chunks(str(path)):
            got += chunk
    assert len(got) == caught.value.offset
    assert (TEXT + TEXT).startswith(bytes(got)) and len(got) >= len(TEXT)


@compressed
def test_a_flipped_byte_is_an_error(tmp_path: Path, suffix: str) -> None:
    whole = bytearray(COMPRESS[suffix](TEXT))
    whole[len(whole) // 2] ^= 0x10
    with pytest.raises(DataError, match=r"a\.jsonl\.\w+: (corrupt|truncated) .*\(byte \d+\)"):
        read(put(tmp_path, suffix, bytes(whole)))


@compressed
def test_what_follows_a_member_and_is_none_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, suffix, COMPRESS[suffix](TEXT) + b"not a member at all")
    with pytest.raises(DataError, match=rf"(corrupt|truncated) .*\(byte {len(TEXT)}\)"):
        read(path)


@compressed
def test_a_compressed_file_of_no_bytes_is_truncated(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match=r"the file is empty, not even a header \(byte 0\)"):
        read(put(tmp_path, suffix, b""))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/nowhere\.jsonl\.gz: no such file\n"):
        read(tmp_path / "nowhere.jsonl.gz")


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read: Is a directory"):
        read(tmp_path)


def test_a_range_of_a_plain_file(tmp_path: Path) -> None:
    path = put(tmp_path, "", TEXT)
    assert b"".join(streams.read_chunks(str(path), start=10, end=20)) == TEXT[10:20]
    assert b"".join(streams.read_chunks(str(path), start=10)) == TEXT[10:]


def test_a_range_beyond_the_end_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"truncated file|3 bytes are missing"):
        list(streams.read_chunks(str(put(tmp_path, "", b"abcd")), start=2, end=7))


def test_a_gzip_file_has_no_ranges(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gzip files are read whole"):
        list(streams.read_chunks(str(put(tmp_path, ".gz", gzip.compress(b"ab"))), start=1))


def test_reading_by_size(tmp_path: Path) -> None:
    with streams.open_input(str(put(tmp_path, ".gz", gzip.compress(TEXT)))) as source:
        assert source.read(5) == TEXT[:5]
        assert source.read() == TEXT[5:]
        assert source.read(1) == b""


# --- zstd frames -----------------------------------------------------------------------------------------------------


def test_frame_offsets_are_where_frames_begin(tmp_path: Path) -> None:
    frames = [
        zstandard.ZstdCompressor(level=1, write_checksum=True).compress(TEXT[:5]),
        b"\x51\x2a\x4d\x18\x02\x00\x00\x00xy",
        zstandard.ZstdCompressor(write_content_size=False).compress(TEXT),
        zstandard.ZstdCompressor().compress(b"a" * 1_000_000),
        zstandard.ZstdCompressor().compress(b""),
    ]
    path = put(tmp_path, ".zst", b"".join(frames))
    starts = [sum(map(len, frames[:i])) for i in range(len(frames))]
    assert streams.zstd_frame_offsets(str(path)) == starts
    assert b"".join(streams.read_chunks(str(path), start=starts[2], end=starts[3])) == TEXT


def test_long_outputs_have_several_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ZSTD_FRAME_BYTES", 1000)
    path = str(tmp_path / "a.zst")
    with streams.open_output(path) as out:
        for at in range(0, 5000, 500):
            out.write(TEXT[at : at + 500])
    assert len(streams.zstd_frame_offsets(path)) == 5
    assert read(tmp_path / "a.zst") == TEXT[:5000]


def test_waste_between_frames_is_an_error(tmp_path: Path) -> None:
    frame = COMPRESS[".zst"](b"ab")
    path = put(tmp_path, ".zst", frame + b"waste" + frame)
    with pytest.raises(DataError, match=rf"corrupt zstd: no frame header \(byte {len(frame)}\)"):
        streams.zstd_frame_offsets(str(path))


# --- lz4, whose frames need not have checksums -----------------------------------------------------------


def test_other_programs_read_lz4(tmp_path: Path) -> None:
    with streams.open_output(str(tmp_path / "a.lz4")) as out:
        out.write(TEXT)
    assert pa.decompress((tmp_path / "a.lz4").read_bytes(), len(TEXT), codec="lz4", asbytes=True) == TEXT


def test_an_empty_lz4_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="truncated lz4: the file is empty"):
        read(put(tmp_path, ".lz4", b""))


def test_lz4_frames_follow_each_other(tmp_path: Path) -> None:
    frame = pa.compress(TEXT, codec="lz4", asbytes=True)
    assert read(put(tmp_path, ".lz4", frame + frame)) == TEXT * 2


@pytest.mark.parametrize("share", [0.00001, 0.5, 0.999])
@pytest.mark.parametrize("n_frames", [1, 2])
def test_a_cut_lz4_file_is_an_error(tmp_path: Path, share: float, n_frames: int) -> None:
    frame = pa.compress(TEXT, codec="lz4", asbytes=True)
    data = frame * (n_frames - 1) + frame[: int(len(frame) * share) + 1]
    with pytest.raises(DataError, match=r"(truncated|corrupt) lz4"):
        read(put(tmp_path, ".lz4", data))


def test_what_follows_an_lz4_frame_and_is_none_is_an_error(tmp_path: Path) -> None:
    frame = pa.compress(TEXT, codec="lz4", asbytes=True)
    with pytest.raises(DataError, match="corrupt lz4"):
        read(put(tmp_path, ".lz4", frame + b"waste of more than a few bytes"))


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_size_and_checksum_of_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with streams.open_output(str(path)) as out:
        out.write(TEXT)
    on_disk = path.read_bytes()
    checksum = xxhash.xxh3_128_hexdigest(on_disk)
    assert out.written == streams.Written(path=str(path), bytes=len(on_disk), checksum=checksum)
    assert streams.checksum(str(path)) == checksum


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_exception_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(KeyError, match="mine"), streams.open_output(str(tmp_path / f"a{suffix}")) as out:
        out.write(TEXT)
        raise KeyError("mine")
    assert out.written is None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_exception_leaves_an_earlier_file_as_it_was(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(KeyError), streams.open_output(str(path)) as out:
        out.write(TEXT)
        raise KeyError
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == [path.name]


class Full(OSError):
    """What a full disk raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_at_the_end_leaves_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise Full("no space")

    with pytest.raises(Full), streams.open_output(str(tmp_path / f"a{suffix}")) as out:
        out.write(TEXT)
        monkeypatch.setattr(streams.RawOutput, "write", full)
    assert os.listdir(tmp_path) == []


def test_bytes_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append("replace"), replace(old, new))[1])
    streams.write_bytes(str(tmp_path / "a"), b"x")
    assert order == ["fsync", "replace"]


def test_nothing_lies_at_the_path_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with streams.open_output(str(path)) as out:
        out.write(b"x")
        assert not path.exists()
    assert path.exists()


def test_leftovers_of_a_crash_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in (".a.jsonl.gz.123-0.tmp", "b/.x.77-12.tmp", "a.tmp", ".mine", "b/x.77-12.tmp"):
        (tmp_path / name).write_bytes(b"")
    streams.remove_temporaries(streams.list_files(str(tmp_path)))
    assert [path.removeprefix(f"{tmp_path}/") for path in streams.list_files(str(tmp_path))] == [
        ".mine",
        "a.tmp",
        "b/x.77-12.tmp",
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_finished_parts_are_put_together(tmp_path: Path, suffix: str) -> None:
    parts = [TEXT[:1000], b"", TEXT[1000:]]
    paths = [str(tmp_path / f"{i}{suffix}") for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        with streams.open_output(path) as out:
            out.write(part)
    written = streams.concatenate(paths, str(tmp_path / f"all{suffix}"))
    assert read(tmp_path / f"all{suffix}") == TEXT
    assert written.checksum == streams.checksum(written.path)
    assert written.bytes == streams.size(written.path)


def test_same_bytes_at_any_time(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        for name in "ab":
            with streams.open_output(str(tmp_path / f"{name}{suffix}")) as out:
                out.write(TEXT)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    with pytest.raises(
        ConfigError, match=r"no storage is known for gopher://\n  expected a path, or one of s3://, gs:"
    ):
        streams.read_bytes("gopher://x/a.jsonl")


@pytest.mark.parametrize("read", [streams.read_bytes, streams.read_decompressed, streams.checksum])
def test_a_device_or_a_pipe_is_refused_before_it_is_opened(read: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe")):
        with pytest.raises(DataError, match="is a device or a pipe, expected a file that can be read again"):
            read(path)


def test_a_file_that_is_read_whole_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a" * 1000))
    (tmp_path / "a").write_bytes(b"a" * 1000)
    assert streams.read_decompressed(str(tmp_path / "a.gz"), limit=1000) == b"a" * 1000
    for name, read in (("a.gz", streams.read_decompressed), ("a", streams.read_bytes)):
        with pytest.raises(DataError, match="has more than 999 bytes"):
            read(str(tmp_path / name), limit=999)


# --- disks that are full ---------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """No file of this process may get longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_text(path: str) -> None:
    with streams.open_output(path) as out:
        for _ in range(30):
            out.write(os.urandom(10_000))


def write_table(path: str) -> None:
    table = pa.table({"a": [os.urandom(10_000) for _ in range(10)]})
    with ParquetOutput(path, table.schema) as out:
        for _ in range(3):
            out.write(table)


def test_a_small_parquet_file_is_written_in_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, write = [], streams.RawOutput.write

    def counting(self: streams.RawOutput, data: Any) -> int:
        sizes.append(len(data))
        return write(self, data)

    monkeypatch.setattr(streams.RawOutput, "write", counting)
    table = pa.table({name: [1] for name in "abcdefgh"})
    with ParquetOutput(str(tmp_path / "a.parquet"), table.schema) as out:
        out.write(table)
    assert sizes == [os.path.getsize(tmp_path / "a.parquet")]


def write_whole(path: str) -> None:
    streams.write_bytes(path, os.urandom(300_000))


@pytest.mark.parametrize("limit", [0, 1, 100_000, 299_000])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", write_text),
        ("a.jsonl.gz", write_text),
        ("a.jsonl.zst", write_text),
        ("a.jsonl.bz2", write_text),
        ("a.jsonl.xz", write_text),
        ("a.parquet", write_table),
        ("a.json", write_whole),
    ],
)
def test_a_disk_that_is_full_at_any_write_names_the_output_and_leaves_nothing(
    tmp_path: Path, name: str, write: Callable[[str], None], limit: int
) -> None:
    path = str(tmp_path / name)
    with files_of_at_most(limit), pytest.raises(WriteError, match=r"cannot be written: .*\n  make room") as caught:
        write(path)
    assert caught.value.file == path
    assert os.listdir(tmp_path) == []
    write(path)
    assert os.listdir(tmp_path) == [name]


def test_an_output_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match=r"file/a\.jsonl: cannot be written: "):
        streams.write_bytes(f"{tmp_path}/file/a.jsonl", b"x")


def test_an_output_where_a_folder_is_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(WriteError, match=r"a\.jsonl: cannot be written: Is a directory"):
        streams.write_bytes(f"{tmp_path}/a.jsonl", b"x")
    assert os.listdir(tmp_path) == ["a.jsonl"]


# --- zstd, some blocks at a time -------------------------------------------------------------------------------------


def zstd_frames() -> bytes:
    """Frames of all kinds: blocks that repeat a byte, with a size and a checksum or without, a skippable one."""
    bomb, text = bytes(8 << 20), b"".join(b'{"n": %d}\n' % n for n in range(200_000))
    known = zstandard.ZstdCompressor(write_checksum=True).compress(bomb)
    streamed = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    unknown = streamed.compress(text) + streamed.flush()
    skippable = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"waste"
    return known + unknown + zstandard.ZstdCompressor().compress(b"") + skippable + known


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000, 1 << 16, 1 << 30])
def test_zstd_is_cut_after_some_blocks_and_stays_the_same_bytes(chunk_bytes: int) -> None:
    data = zstd_frames()
    chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    assert b"".join(streams._zstd_blocks(iter(chunks))) == data


@pytest.mark.parametrize("chunk_bytes", [1000, 1 << 30])
def test_what_zstd_is_cut_to_stands_for_few_megabytes(chunk_bytes: int) -> None:
    data = zstd_frames()
    chunks = iter([data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)])
    whole, most, member = 0, 0, zstandard.ZstdDecompressor().decompressobj()
    for piece in streams._zstd_blocks(chunks):
        while piece:
            out = member.decompress(piece)
            whole, most, piece = whole + len(out), max(most, len(out)), member.unused_data if member.eof else b""
            member = zstandard.ZstdDecompressor().decompressobj() if member.eof else member
    assert whole == 2 * (8 << 20) + len(b"".join(b'{"n": %d}\n' % n for n in range(200_000)))
    assert most <= 17 * (128 << 10)


def test_what_is_no_zstd_is_passed_on() -> None:
    data = bytes(range(256)) * 1000
    assert b"".join(streams._zstd_blocks(iter([data[:10], data[10:]]))) == data
