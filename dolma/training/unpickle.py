"""Pickles read as data: what they name is neither imported nor called.

torch's checkpoints hold pickles, and checkpoints are passed around; `pickle` calls whatever such a file names. Here a
small machine builds plain values, and for each object a `Record` of what was said about it. It knows the opcodes that
torch's files have and no others, and the names that its caller lists, compared as a whole. Memory and time are at most
proportional to the input: about 40 bytes, and 0.4 µs, per byte. Opcodes: CPython's `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from dolma.errors import DataError

_MAX_STACK = 1 << 16  # picklers hand over lists and dictionaries in parts of 1,000
_MAX_OPCODES = 1 << 24  # some ten seconds


class Name(NamedTuple):
    """A class or function that a pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return repr(f"{self.module[:100]}.{self.name[:100]}")[1:-1]


PERSISTENT = Name("", "persistent id")
"""What the record of a reference is of, to something that is kept outside of the pickle."""


@dataclass(slots=True, eq=False)
class Record:
    """An object as a pickle describes it: to be made by calling `kind` with `args`, then given `state`."""

    kind: Name
    args: tuple[Any, ...]
    state: Any = None


def load(data: bytes, *, names: Set[tuple[str, str]], what: str, file: str) -> Any:
    """The value that a pickle describes, of None, bool, int, float, str, tuple, list, dict, `Name` and `Record`.

    A dictionary's keys are strings, whole numbers or records. A value may be part of several others, or of itself.
    `what` it is expected to be is said in errors.

    >>> import collections, pickle
    >>> load(pickle.dumps({"a": [1, 2.5]}), names=set(), what="list of numbers", file="a.pkl")
    {'a': [1, 2.5]}
    >>> data = pickle.dumps(collections.OrderedDict())
    >>> load(data, names={("collections", "OrderedDict")}, what="dictionary", file="a.pkl")
    Record(kind=Name(module='collections', name='OrderedDict'), args=(), state=None)

    Raises:
        DataError: it is no pickle, is cut off, has an opcode that is not needed, or a name that is not in `names`.
    """
    machine = _Machine(data, names)
    try:
        return machine.run()
    except _BadPickleError as error:
        raise DataError(
            f"is no {what}: {error}\n  copy or download the checkpoint again", file=file, offset=machine.began
        ) from error


class _BadPickleError(Exception):
    """What is wrong with a pickle."""


class _Machine:
    """`at` is the next byte to read, `began` the opcode at work; `marks` are heights of the stack."""

    def __init__(self, data: bytes, names: Set[tuple[str, str]]) -> None:
        self.data, self.names = data, names
        self.at = self.began = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []

    def run(self) -> Any:
        for _ in range(_MAX_OPCODES):
            self.began = self.at
            code = self.take(1)[0]
            if code == _STOP:
                break
            act = _ACTIONS.get(code)
            if act is None:
                raise _BadPickleError(f"the opcode {code:#04x} is not one that a checkpoint needs")
            act(self)
            if len(self.stack) > _MAX_STACK:
                raise _BadPickleError(f"more than {_MAX_STACK:,} values wait for what they are part of")
        else:
            raise _BadPickleError(f"has more than {_MAX_OPCODES:,} opcodes, which no checkpoint needs")
        if len(self.stack) != 1 or self.marks or self.at != len(self.data):
            raise _BadPickleError("its end is not where it should be")
        return self.stack[0]

    # --- the input and the stack ----------------------------------------------------------------------------------

    def take(self, n: int) -> bytes:
        end = self.at + n
        if end > len(self.data):
            raise _BadPickleError("ends too early")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, format: str, size: int) -> Any:
        return struct.unpack(format, self.take(size))[0]

    def text(self, n: int) -> str:
        try:
            return self.take(n).decode()
        except UnicodeDecodeError as error:
            raise _BadPickleError("has text that is not UTF-8") from error

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 256)
        if end < 0:
            raise _BadPickleError("has a name without an end")
        found = self.text(end - self.at)
        self.at += 1
        return found

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, kind: type | None = None) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _BadPickleError("takes a value that is not there")
        value = self.stack.pop()
        if kind is not None and type(value) is not kind:
            raise _BadPickleError(f"has a {type(value).__name__}, expected a {kind.__name__}")
        return value

    def pop_all(self) -> list[Any]:
        """What was pushed since the last mark."""
        if not self.marks:
            raise _BadPickleError("takes a mark that is not there")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    # --- what opcodes do ------------------------------------------------------------------------------------------

    def protocol(self) -> None:
        if not 2 <= self.take(1)[0] <= 5:
            raise _BadPickleError("is not of one of the protocols 2 to 5")

    def mark(self) -> None:
        if len(self.marks) == _MAX_STACK:
            raise _BadPickleError(f"more than {_MAX_STACK:,} marks stand open")
        self.marks.append(len(self.stack))

    def small_integer(self) -> None:
        self.push(int.from_bytes(self.take(self.take(1)[0]), "little", signed=True))

    def tuple_of(self, n: int) -> None:
        values = [self.pop() for _ in range(n)]
        self.push(tuple(reversed(values)))

    def append(self, values: list[Any]) -> None:
        found = self.pop(list)
        found.extend(values)
        self.push(found)

    def set_items(self, values: list[Any]) -> None:
        found = self.pop(dict)
        if len(values) % 2:
            raise _BadPickleError("has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, int, Record):
                raise _BadPickleError(f"has a key that is a {type(key).__name__}")
            if type(key) is int and key.bit_length() > 64:  # any number of longer ones may have the same hash
                raise _BadPickleError("has a key that is a whole number of more than 64 bits")
            found[key] = value
        self.push(found)

    def get(self, index: int) -> None:
        if index >= len(self.memo):
            raise _BadPickleError("goes back to a value that is not there")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        # Picklers number what they remember in order; numbers with gaps would let a few bytes ask for any memory.
        if index != len(self.memo):
            raise _BadPickleError("remembers values out of order")
        value = self.pop()
        self.memo.append(value)
        self.push(value)

    def named(self, module: str, name: str) -> None:
        if (module, name) not in self.names:
            raise _BadPickleError(f"it names {Name(module, name)}, which no checkpoint needs")
        self.push(Name(module, name))

    def stack_named(self) -> None:
        name, module = self.pop(str), self.pop(str)
        self.named(module, name)

    def make(self) -> None:
        args, kind = self.pop(tuple), self.pop(Name)
        self.push(Record(kind, args))

    def build(self) -> None:
        state, record = self.pop(), self.pop(Record)
        if record.state is not None:
            raise _BadPickleError("gives an object its state twice")
        record.state = state
        self.push(record)


def _pushing(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(make(machine))


_STOP = ord(".")
_ACTIONS: dict[int, Callable[[_Machine], None]] = {
    ord(code): act
    for code, act in {
        b"\x80": _Machine.protocol,
        b"\x95": lambda m: m.number("<Q", 8),  # the length of a frame, which says nothing more
        b"(": _Machine.mark,
        b"N": _pushing(lambda m: None),
        b"\x88": _pushing(lambda m: True),
        b"\x89": _pushing(lambda m: False),
        b"K": _pushing(lambda m: m.take(1)[0]),
        b"M": _pushing(lambda m: m.number("<H", 2)),
        b"J": _pushing(lambda m: m.number("<i", 4)),
        b"\x8a": _Machine.small_integer,
        b"G": _pushing(lambda m: m.number(">d", 8)),
        b"\x8c": _pushing(lambda m: m.text(m.take(1)[0])),
        b"X": _pushing(lambda m: m.text(m.number("<I", 4))),
        b")": _pushing(lambda m: ()),
        b"\x85": lambda m: m.tuple_of(1),
        b"\x86": lambda m: m.tuple_of(2),
        b"\x87": lambda m: m.tuple_of(3),
        b"t": _pushing(lambda m: tuple(m.pop_all())),
        b"]": _pushing(lambda m: []),
        b"a": lambda m: m.append([m.pop()]),
        b"e": lambda m: m.append(m.pop_all()),
        b"}": _pushing(lambda m: {}),
        b"s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
        b"u": lambda m: m.set_items(m.pop_all()),
        b"h": lambda m: m.get(m.take(1)[0]),
        b"j": lambda m: m.get(m.number("<I", 4)),
        b"q": lambda m: m.put(m.take(1)[0]),
        b"r": lambda m: m.put(m.number("<I", 4)),
        b"\x94": lambda m: m.put(len(m.memo)),
        b"c": lambda m: m.named(m.line(), m.line()),
        b"\x93": _Machine.stack_named,
        b"\x81": _Machine.make,
        b"R": _Machine.make,
        b"b": _Machine.build,
        b"Q": _pushing(lambda m: Record(PERSISTENT, (m.pop(),))),
    }.items()
}
