"""A checkpoint's `.metadata`, a pickle: read, or refused with an error of ours; nothing that it names ever runs.

Made for pickles that name a function of another module through a dotted name.
"""

from __future__ import annotations

import functools
import pickletools
import struct
import tempfile
from pathlib import Path

import torch

from dolma.errors import DataError
from dolma.training import dcp
from tests.fuzz.choices import Choices

CODE = ("dolma/training/dcp.py", "dolma/training/unpickle.py")
STRINGS = (
    *("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem", "os", "posix", "builtins"),
    *(
        "Metadata",
        "_StorageInfo",
        "MetadataIndex",
        "os.system",
        "system",
        "eval",
        "getattr",
        "torch",
        "Size",
        "float32",
    ),
    *(
        "collections",
        "OrderedDict",
        "id",
        "pathlib",
        "PosixPath",
        "os.path.os.system",
        "__class__",
        "a",
        "storage_meta",
    ),
    *("torch.serialization", "_get_layout", "torch.strided", "state_dict_metadata", "__reduce__", "/etc/passwd", "set"),
)
_OPCODES = bytes(sorted(ord(opcode.code) for opcode in pickletools.opcodes))
_BUILDING = (b"(", b")", b"t", b"\x85", b"\x86", b"R", b"\x81", b"b", b"}", b"u", b"s", b"o", b"\x94")


def check(choices: Choices, folder: Path) -> None:
    """Read a changed `.metadata`, or a program of opcodes."""
    content = choices.changed(prepare()) if choices.chance(2) else _program(choices)
    (folder / dcp.METADATA).write_bytes(content)
    try:
        metadata = dcp.read_metadata(str(folder))
    except DataError:
        return
    for key, entry in metadata.state_dict_metadata.items():
        assert isinstance(key, str)
        assert type(entry).__module__ == "torch.distributed.checkpoint.metadata"


def _program(choices: Choices) -> bytes:
    """Opcodes in any order; often those of a call, which is what does harm."""
    out = bytearray(b"\x80" + bytes([choices.below(6)]))
    while choices.left and len(out) < 4096:
        kind = choices.below(6)
        if kind == 0:
            out += _named(choices) + b"(" + _text(choices) * choices.below(3) + b"t" + choices.pick([b"R", b"\x81"])
        elif kind == 1:
            out += _named(choices)
        elif kind == 2:
            out += _text(choices)
        elif kind == 3:
            out += choices.pick(_BUILDING)
        else:
            out += bytes([choices.pick(_OPCODES)]) + choices.take(choices.below(4))
    return bytes(out + b".")


def _named(choices: Choices) -> bytes:
    if choices.chance(2):
        return b"c" + choices.pick(STRINGS).encode() + b"\n" + choices.pick(STRINGS).encode() + b"\n"
    return _text(choices) + _text(choices) + b"\x93"


def _text(choices: Choices) -> bytes:
    text = choices.pick(STRINGS).encode()
    return b"\x8c" + bytes([len(text)]) + text


@functools.cache
def prepare() -> bytes:
    """The `.metadata` of a real checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        dcp.write(folder, {"model.w": torch.zeros(2, 3), "optim.step": 1, "optim.betas": (0.9, struct.calcsize("d"))})
        return Path(folder, dcp.METADATA).read_bytes()
