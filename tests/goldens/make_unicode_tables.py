"""Write `taggers/dolma1/unicode_tables.py`: what Dolma 1.2.1 and its libraries take each code point for.

    cd /tmp && PYTHON_OF_DOLMA_1 /path/to/tests/goldens/make_unicode_tables.py

Run where Dolma 1.2.1 is installed (uniseg 0.10.1, with Unicode 16.0; regex 2026.11.15, with Unicode 17.0). Each table
is asked for by short texts, code point by code point. Takes some minutes.
"""

from __future__ import annotations

import base64
import importlib
import zlib
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "taggers" / "dolma1" / "unicode_tables.py"
BREAKS = [
    "Other",
    "CR",
    "LF",
    "Newline",
    "ALetter",
    "Hebrew_Letter",
    "Numeric",
    "Katakana",
    "ExtendNumLet",
    "MidLetter",
    "MidNum",
    "MidNumLet",
    "Single_Quote",
    "Double_Quote",
    "Extend",
    "Format",
    "ZWJ",
    "WSegSpace",
    "Regional_Indicator",
]
PICTOGRAPHIC = 32

HEAD = '''"""What Dolma 1.2.1 takes each code point for, as runs; made by `tests/goldens/make_unicode_tables.py`.

Each table is read by `dolma.kernels.code_points`. Derived from the Unicode Character Database, (c) Unicode, Inc., under
the Unicode License v3: `LICENCE-unicode.txt`. No maintained library with wheels offers Word_Break for a Unicode version
of one's choice at import; tables made at run time from `regex` or `uniseg` would change answers with their versions.
"""

from __future__ import annotations

WORD, OTHER = 1, 2
"""Classes of `TOKENS`; 0 is whitespace."""

LETTER, NUMBER, ISOLATED, SPACE = 1, 2, 3, 4
"""Classes of `PRETOKENS`; 0 is everything else."""

(
    CR,
    LF,
    NEWLINE,
    ALETTER,
    HEBREW_LETTER,
    NUMERIC,
    KATAKANA,
    EXTEND_NUM_LET,
    MID_LETTER,
    MID_NUM,
    MID_NUM_LET,
    SINGLE_QUOTE,
    DOUBLE_QUOTE,
    EXTEND,
    FORMAT,
    ZWJ,
    W_SEG_SPACE,
    REGIONAL_INDICATOR,
) = range(1, 19)
"""Classes of `WORD_BREAK`, the property of that name (UAX #29); 0 is Other."""

PICTOGRAPHIC = 32
"""Added to a class of `WORD_BREAK`: Extended_Pictographic."""

'''


def packed(class_of: Callable[[int], int]) -> str:
    """The runs of equal class, packed."""
    runs: list[list[int]] = []
    for c in range(0x110000):
        cls = 0 if 0xD800 <= c < 0xE000 else class_of(c)
        if runs and runs[-1][1] == cls:
            runs[-1][0] += 1
        else:
            runs.append([1, cls])
    while runs[-1][1] == 0:
        runs.pop()
    return base64.b85encode(zlib.compress(b"".join(leb128(n) for run in runs for n in run), 9)).decode()


def leb128(number: int) -> bytes:
    """The number in groups of seven bits, the lowest first."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def literal(name: str, meaning: str, text: str) -> str:
    """An assignment to a string of many lines, and what it holds."""
    pieces = [text[i : i + 110] for i in range(0, len(text), 110)]
    return f"{name} = (\n" + "".join(f'    "{piece}"\n' for piece in pieces) + f')\n"""{meaning}"""\n'


def main() -> None:
    """Ask, and write the module."""
    importlib.import_module("dolma.taggers")  # registers them
    registry = importlib.import_module("dolma.core.registry").TaggerRegistry
    record = importlib.import_module("dolma.core.data_types").DocumentWithMetadata
    breaks = importlib.import_module("uniseg.wordbreak")
    pictographic = importlib.import_module("uniseg.emoji").extended_pictographic

    def scores(name: str) -> Callable[[str], float]:
        tagger = registry.get(name)()
        return lambda text: (
            tagger.predict(record(id="", text=text, source="", version=None, metadata={})).spans[0].score
        )

    count, punctuation, pretokens = map(
        scores, ("whitespace_tokenizer_v1", "not_alphanum_paragraph_v1", "olmo_pretokenizer_v1")
    )

    def token(c: int) -> int:
        return {2: 1, 3: 0, 4: 2}[int(count(f"a{chr(c)}a"))]

    def pretoken(c: int) -> int:
        ch = chr(c)
        if pretokens(ch + ch) == 2:
            return 3
        if pretokens("a" + ch) == 1:
            return 1
        if pretokens("\xbd" + ch) == 1:
            return 2
        return 4 if pretokens("\0" + ch) == 2 else 0

    def word_break(c: int) -> int:
        value = breaks.word_break(chr(c))
        extended = pictographic(chr(c))
        return BREAKS.index(getattr(value, "value", value)) + PICTOGRAPHIC * bool(extended)

    tables = [
        literal("TOKENS", "What the tokens of `whitespace_tokenizer_v1` are made of (Unicode 17.0).", packed(token)),
        literal(
            "PUNCTUATION",
            "1: what a paragraph of `not_alphanum_paragraph_v1` is made of, whitespace too (Unicode 17.0).",
            packed(lambda c: int(punctuation(f"!{chr(c)}!"))),
        ),
        literal("WORD_BREAK", "Word_Break and Extended_Pictographic (Unicode 16.0).", packed(word_break)),
        literal("PRETOKENS", "What `olmo_pretokenizer_v1` tells apart (tokenizers 0.19).", packed(pretoken)),
    ]
    TARGET.write_text(HEAD + "\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
