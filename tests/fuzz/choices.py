"""Bytes as a row of decisions, so that one input works for any fuzzing engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Decisions drawn from bytes; when these are used up, every decision is the first one.

    >>> choices = Choices(bytes([2, 0]))
    >>> choices.pick("abc"), choices.pick("abc"), choices.pick("abc")
    ('c', 'a', 'a')
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes that are not used yet."""
        return len(self._data) - self._at

    def below(self, n: int) -> int:
        """A number from 0 to n - 1, for n up to 2**64."""
        value = int.from_bytes(self.take(1 if n <= 256 else (n.bit_length() + 7) // 8), "little")
        return value % n

    def pick(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[self.below(len(options))]

    def chance(self, one_in: int) -> bool:
        """True for one of `one_in` values, and never once the bytes are used up."""
        return self.left > 0 and self.below(one_in) == one_in - 1

    def take(self, n: int) -> bytes:
        """The next bytes; fewer at the end."""
        found = self._data[self._at : self._at + n]
        self._at += len(found)
        return found

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.left)

    def changed(self, content: bytes, words: Sequence[bytes] = ()) -> bytes:
        """The content after up to eight edits: bytes replaced, put in, cut out, or a part given twice."""
        out = bytearray(content)
        for _ in range(self.below(8)):
            at = self.below(len(out) + 1)
            how = self.below(4)
            if how == 0 and out:
                out[at : at + 1] = self.take(1)
            elif how == 1:
                out[at:at] = self.pick(words) if words else self.take(self.below(8))
            elif how == 2:
                del out[at : at + self.below(256)]
            else:
                out[at:at] = out[at : at + self.below(64)]
        return bytes(out)
