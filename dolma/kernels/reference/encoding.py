"""`dolma.kernels.encoding` of one text: its definitions, by Python's own codecs."""

from __future__ import annotations

import itertools
import unicodedata

KINDS = (
    "ordinary",
    "replacement_characters",
    "c1_controls",
    "other_controls",
    "private_use",
    "noncharacters",
    "unassigned",
    "zero_width",
    "bidi_controls",
    "byte_order_marks",
    "soft_hyphens",
)
"""Every code point is of one of these kinds."""

DAMAGED = frozenset({"replacement_characters", "c1_controls", "other_controls", "noncharacters"})
"""Kinds that are damage wherever they stand."""

_ZERO_WIDTH = frozenset("\u180e\u200b\u200c\u200d\u2060")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SINGLE = {
    "\ufffd": "replacement_characters",
    "\ufeff": "byte_order_marks",
    "\xad": "soft_hyphens",
    **dict.fromkeys("\t\n\v\f\r", "ordinary"),
    **dict.fromkeys(_ZERO_WIDTH, "zero_width"),
    **dict.fromkeys(_BIDI, "bidi_controls"),
}

AFTER_LETTERS = "…‘’“”•–—\xa0«»‹›·\xad¹²³™®©°šžŠŽ"
"""Continuation bytes that, as characters, often follow a letter in sound text: evidence 0."""
RARE_AFTER_LETTERS = "‚„†‡ŒœŸ¡¿ªº´±"
"""Those that follow one in some languages, or seldom: evidence 1. All others: 2."""


def kind_of(character: str) -> str:
    """The kind of a character, one of `KINDS`; by the version of Unicode that this Python knows.

    >>> kind_of("\\x85"), kind_of("\\ufdd0"), kind_of("é")
    ('c1_controls', 'noncharacters', 'ordinary')
    """
    if character in _SINGLE:
        return _SINGLE[character]
    code_point = ord(character)
    if 0x80 <= code_point < 0xA0:
        return "c1_controls"
    if code_point & 0xFFFE == 0xFFFE or 0xFDD0 <= code_point < 0xFDF0:
        return "noncharacters"
    return {"Cc": "other_controls", "Co": "private_use", "Cn": "unassigned"}.get(
        unicodedata.category(character), "ordinary"
    )


def byte_of(character: str) -> int:
    """The byte beyond ASCII that CP1252, or else Latin-1, reads as this character; 0 if there is none.

    >>> hex(byte_of("€")), hex(byte_of("\\x81")), byte_of("Ж")
    ('0x80', '0x81', 0)
    """
    try:
        byte = character.encode("cp1252")[0]
    except UnicodeEncodeError:
        byte = ord(character) if ord(character) < 0x100 else 0
    return byte if byte >= 0x80 else 0


def evidence_of(character: str) -> int:
    """How little a continuation byte, read as this character, is expected after a letter: 0, 1 or 2."""
    return 0 if character in AFTER_LETTERS else 1 if character in RARE_AFTER_LETTERS else 2


def mojibake(text: str) -> list[tuple[int, int, int, int]]:
    """Runs of UTF-8 read as CP1252: start, end (code points), sequences, and how many of these were so read twice.

    >>> mojibake("cafÃ© â€œxâ€")
    [(3, 5, 1, 0), (6, 9, 1, 0), (10, 12, 1, 0)]
    """
    runs, i = [], 0
    while i < len(text):
        run_end, decoded, sound = i, "", False
        while True:
            end, character, convinces = _sequence(text, run_end)
            if end == run_end:
                break
            run_end, decoded, sound = end, decoded + character, sound or convinces
        if sound or len(decoded) > 1:
            pairs = itertools.pairwise(decoded)
            twice = sum(0xC2 <= ord(a) <= 0xF4 and 0x80 <= byte_of(b) < 0xC0 for a, b in pairs)
            runs.append((i, run_end, len(decoded), twice))
        i = max(run_end, i + 1)
    return runs


def _sequence(text: str, i: int) -> tuple[int, str, bool]:
    """Where a sequence at `i` ends (`i` if none is there), the character it stands for, and whether it convinces."""
    lead = ord(text[i]) if i < len(text) else 0
    if not 0xC2 <= lead <= 0xF4:
        return i, "", False
    before = text[i - 1] if i else " "
    end = i + (2 if lead < 0xE0 else 3 if lead < 0xF0 else 4)
    try:
        character = bytes([lead, *map(byte_of, text[i + 1 : end])]).decode("utf-8")
    except UnicodeDecodeError:
        return _broken(text, i, before)
    after = text[end] if end < len(text) else " "
    evidence = [evidence_of(c) for c in text[i + 1 : end]]
    if lead >= 0xE0:
        return end, character, sum(evidence) + (lead == 0xE2) >= 2
    if lead in b"\xd7\xd8\xdf":
        return end, character, False
    if lead in b"\xc2\xc3":
        return end, character, max(evidence) == 2 or not before.isupper() or after.islower()
    return end, character, max(evidence) == 2 or before.islower()


def _broken(text: str, i: int, before: str) -> tuple[int, str, bool]:
    """Sequences whose last byte was lost, or whose no-break space became a space."""
    if text[i : i + 2] == "â€":
        return i + 2, "\ufffd", True
    if text[i : i + 2] in ("Ã ", "Â ") and (
        before.islower() or (text[i] == "Â" and before != " " and not before.isalpha())
    ):
        return i + 2, "\ufffd", True
    return i, "", False
