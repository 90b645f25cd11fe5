"""Text of the user's as it may be printed: what would move a cursor, colour, reorder or hide is written as an escape.

Ids, sources, rules, file names and the messages of other packages come from anywhere, and a terminal obeys what is in
them. The escapes are those of a Python string: `\\n`, `\\x1b`, `\\u202e`, `\\U000e0041`. A backslash stays as it is, so
that paths and regular expressions can be read; the exact text is in what `--json` prints.
"""

from __future__ import annotations

import json
import re
import unicodedata

# Controls (C0, C1, DEL), formats (bidirectional, zero-width, tags), lone surrogates, line and paragraph separators.
_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Letters and marks that fonts show as nothing: joiners, fillers of Hangul, inherent vowels of Khmer, a Mongolian mark.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_BEGINNING, _END = 1_500, 500  # characters of a line that are shown
_LINE_OF_OURS = re.compile(r"\n(?=  )")


def printable(value: object) -> str:
    """A text, path or other value on one line, with escapes for what is not seen or does something.

    >>> print(printable("a\\x1b[2Jb\\nc\\u202ed"))
    a\\x1b[2Jb\\nc\\u202ed
    >>> printable("C:\\\\new, größer, 日本")
    'C:\\\\new, größer, 日本'
    """
    text = text_of(value)
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def text_of(value: object) -> str:
    """The value's `str`; where that raises, as an exception's of the user's may, which exception did.

    >>> text_of(ValueError("x"))
    'x'
    """
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - of whoever wrote the class
        return f"({type(value).__name__} whose text raises {type(error).__name__})"


def printable_message(message: str) -> str:
    """A message of ours: its further lines, which all are indented, stay lines.

    >>> print(printable_message("no tagger\\n  `dolma list` shows all"))
    no tagger
      `dolma list` shows all
    """
    return "\n".join(_shortened(printable(line)) for line in _LINE_OF_OURS.split(message))


def _shortened(line: str) -> str:
    """The line; of a long one, which quotes a text that nobody would read, its beginning and end."""
    left_out = len(line) - _BEGINNING - _END
    if left_out <= _END:
        return line
    return f"{line[:_BEGINNING]} ... ({left_out:,} characters) ... {line[-_END:]}"


def printable_json(text: str) -> str:
    r"""JSON that says the same, with escapes for what `printable` would escape; its line breaks stay.

    >>> print(printable_json('{"id": "a\u202eb"}'))
    {"id": "a\u202eb"}
    """
    return "\n".join(
        line if line.isprintable() else "".join(json.dumps(c)[1:-1] if _is_hidden(c) else c for c in line)
        for line in text.split("\n")
    )


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _CATEGORIES or character in _BLANK


def _shown(character: str) -> str:
    return ascii(character)[1:-1] if _is_hidden(character) else character


def counted(n: int, noun: str) -> str:
    """A number and its noun, which is given for one.

    >>> counted(1, "document"), counted(2000, "bad record")
    ('1 document', '2,000 bad records')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
