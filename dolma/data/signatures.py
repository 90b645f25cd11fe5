"""What a file is by its first bytes, for files that are not what their suffix says."""

from __future__ import annotations

from typing import NamedTuple

LENGTH = 48  # bytes of the beginning that are looked at


class Signature(NamedTuple):
    """First bytes, what they are of, and the suffix of such a file ("" where none is read here)."""

    first: bytes
    what: str
    suffix: str = ""


SIGNATURES = (
    Signature(b"\x1f\x8b", "gzip", ".gz"),
    Signature(b"\x28\xb5\x2f\xfd", "zstd", ".zst"),
    Signature(b"BZh", "bzip2", ".bz2"),
    Signature(b"\xfd7zXZ\0", "xz", ".xz"),
    Signature(b"PAR1", "parquet", ".parquet"),
    Signature(b"ARROW1", "Arrow IPC", ".arrow"),
    Signature(b"FEA1", "Feather of version 1"),
    Signature(b"\x04\x22\x4d\x18", "lz4", ".lz4"),
    Signature(b"PK\x03\x04", "a zip archive"),
    Signature(b"version https://git-lfs.", "a pointer of Git LFS"),
    Signature(b"/annex/objects/", "a pointer of git-annex"),
    Signature(b"\xff\xfe\0\0", "UTF-32"),
    Signature(b"\0\0\xfe\xff", "UTF-32"),
    Signature(b"{\0\0\0", "UTF-32LE"),
    Signature(b"\0\0\0{", "UTF-32BE"),
    Signature(b"\xff\xfe", "UTF-16"),
    Signature(b"\xfe\xff", "UTF-16"),
    Signature(b"{\0", "UTF-16LE"),
    Signature(b"\0{", "UTF-16BE"),
)
_WHOLE = (".parquet", ".arrow")  # instead of another suffix, not after it
_ADVICE = {
    "Feather of version 1": "write it again: `pyarrow.feather.write_feather(pyarrow.feather.read_table(OLD), NEW)`",
    "a zip archive": "unpack it with `unzip`",
    "a pointer of Git LFS": "fetch the file with `git lfs pull`",
    "a pointer of git-annex": "fetch the file with `git annex get`",
}


def signature_of(head: bytes) -> Signature | None:
    """What a file is that begins so; None for anything else, text among it.

    >>> signature_of(b"PAR1...").what
    'parquet'
    """
    return next((one for one in SIGNATURES if head.startswith(one.first)), None)


def mistaken(head: bytes, path: str, *, for_: str, bare: str, inside: bool = False) -> str | None:
    """What a file is that was taken for something else, and what to type; None where its first bytes do not tell.

    `bare` is its path without suffixes of compression. `inside`: these are the first bytes after decompressing.
    """
    found = signature_of(head)
    if found is None and head.lstrip()[:1] in (b"{", b"["):
        return f"this is JSON that is not compressed ({_hex(head[:2])}), not {for_}\n  call it {bare}"
    if found is None or found.what == for_:
        return None
    said = f"this is {found.what} ({_hex(found.first)}), not {for_}"
    if found.what.startswith("UTF-"):
        return f"{said}\n  convert it: `iconv -f {found.what} -t UTF-8 {path} > converted.jsonl`"
    if not found.suffix:
        return f"{said}\n  {_ADVICE[found.what]}"
    if inside:
        return f"{said}, when decompressed\n  decompress it once, and call it by what is inside"
    if found.suffix in _WHOLE:
        return f"{said}\n  call it {bare.rpartition('.')[0] or bare}{found.suffix}"
    return f"{said}\n  call it {bare.removesuffix('.parquet')}{found.suffix}"


def _hex(some: bytes) -> str:
    return some[:8].hex(" ")
