"""Write `dolma/kernels/pretoken_classes.py`: what `tokenizers` takes each code point for, by its version of Unicode.

    python -m tests.goldens.make_pretoken_classes ask 16.json      # where tokenizers 0.23 is installed
    python -m tests.goldens.make_pretoken_classes ask 17.json      # where tokenizers 1.0 is installed
    python -m tests.goldens.make_pretoken_classes write 16.json 17.json

The library is asked about each code point by texts of two or three characters. Each takes a minute at most.
"""

from __future__ import annotations

import json
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.composed import FOLLOWS, STANDS, UNASSIGNED
from dolma.kernels.pretokens import (
    CL100K,
    GPT2,
    LETTER,
    LIKE_S,
    LOWER,
    NEWLINE,
    NUMBER,
    O200K,
    SPACE,
    UPPER,
    pattern_of,
)
from dolma.models.tokenizer_file import BYTE_SYMBOLS
from tests.goldens.make_unicode_tables import literal, packed

TARGET = Path(__file__).parents[2] / "dolma" / "kernels" / "pretoken_classes.py"

HEAD = '''"""What the `tokenizers` library takes each code point for; made by `tests/goldens/make_pretoken_classes.py`.

A class has the bits of `dolma/kernels/pretokens.py`. Each table is read by `dolma.kernels.code_points`. Derived from
the Unicode Character Database, (c) Unicode, Inc., under the Unicode License v3 (`taggers/dolma1/LICENCE-unicode.txt`).
"""

'''


def joined_by(form: int, *, before: str = "", behind: str = "") -> Callable[[str], bool]:
    """A function that says whether one of the characters `before` is in a pre-token with the next character of a text,
    or one of those `behind` with the one before it."""
    import tokenizers

    vocabulary = {symbol: i for i, symbol in enumerate(BYTE_SYMBOLS)}
    merges = [(first, symbol) for first in before for symbol in BYTE_SYMBOLS]
    merges += [(symbol, second) for second in behind for symbol in BYTE_SYMBOLS]
    vocabulary |= {first + second: len(vocabulary) + i for i, (first, second) in enumerate(merges)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern_of(form, digits=3)}, "behavior": "Isolated", "invert": False}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(json.dumps(content).encode())
        file.flush()
        tokenizer: Any = tokenizers.Tokenizer.from_file(file.name)
    return lambda text: len(tokenizer.encode(text).ids) < len(text.encode())


def classes() -> npt.NDArray[np.uint8]:
    """The class of each code point by the library that is installed; uint8, shape `(0x110000,)`."""
    gpt2, o200k = joined_by(GPT2, before="a1!"), joined_by(O200K, before="a")
    behind_o200k, behind_cl100k = joined_by(O200K, behind="A"), joined_by(CL100K, behind="A")
    found = np.zeros(0x110000, np.uint8)
    for point in range(0x110000):
        if 0xD800 <= point < 0xE000:
            continue
        one = chr(point)
        if gpt2("a" + one):
            lower = o200k("a" + one)
            upper = not lower or behind_o200k(one + "Aa")
            found[point] = LETTER | (LOWER if lower else 0) | (UPPER if upper else 0)
        elif gpt2("1" + one):
            found[point] = NUMBER
        elif not gpt2("!" + one):
            found[point] = SPACE | (NEWLINE if one in "\r\n" else 0)
        elif o200k("a" + one):
            found[point] = LOWER | UPPER  # a mark
    if not behind_cl100k("'\u017fA"):
        found[0x17F] |= LIKE_S
    return found


def composed() -> npt.NDArray[np.uint8]:
    """What each code point is in NFC, by this Python's Unicode: the classes of `dolma/kernels/composed.py`."""
    found = np.zeros(0x110000, np.uint8)
    seconds = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    for point in range(0x110000):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.is_normalized("NFC", chr(point)):
            seconds.add(int(parts[1], 16))
    for point in range(0x110000):
        one = chr(point)
        if unicodedata.category(one) in ("Cn", "Cs"):
            found[point] = UNASSIGNED
        elif point not in seconds and unicodedata.is_normalized("NFC", one):
            found[point] = FOLLOWS if unicodedata.combining(one) else STANDS
    return found


def main(command: str, *files: str) -> None:
    """Ask the library, or write the module from two answers."""
    if command == "ask":
        Path(files[0]).write_text(json.dumps(classes().tolist()))
        return
    text = HEAD
    for name, file in zip(("UNICODE_16", "UNICODE_17"), files, strict=True):
        found = json.loads(Path(file).read_text())
        text += literal(name, f"Classes by Unicode {name[-2:]}.", packed(found.__getitem__)) + "\n"
    meaning = f"Classes of `composed.py`, by Unicode {unicodedata.unidata_version}; no later version changes one but 3."
    text += literal("NFC", meaning, packed(composed().__getitem__))
    TARGET.write_text(text.rstrip("\n") + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
