"""Word segments as UAX #29 defines them (Unicode 16.0), counted by an automaton: all of them, and those not blank.

A rule that looks ahead ("can't": no boundary at the apostrophe if a letter follows) is turned round: the boundary is
counted, and taken back when the letter comes. https://www.unicode.org/reports/tr29/tr29-45.html#Word_Boundary_Rules
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from dolma.kernels.automata import Automaton, automaton
from dolma.kernels.code_points import table_of
from dolma.kernels.unicode import SPACE, character_classes
from dolma.taggers.dolma1 import unicode_tables as tables
from dolma.taggers.dolma1.unicode_tables import (
    ALETTER,
    CR,
    DOUBLE_QUOTE,
    EXTEND,
    EXTEND_NUM_LET,
    FORMAT,
    HEBREW_LETTER,
    KATAKANA,
    LF,
    MID_LETTER,
    MID_NUM,
    MID_NUM_LET,
    NEWLINE,
    NUMERIC,
    REGIONAL_INDICATOR,
    SINGLE_QUOTE,
    W_SEG_SPACE,
    WORD_BREAK,
    ZWJ,
)

_OTHER, _START = 0, -1
# What came before, where that is more than one character.
_LETTER_MID, _HEBREW_SINGLE, _HEBREW_DOUBLE, _NUMBER_MID = range(100, 104)

_IGNORED = frozenset([EXTEND, FORMAT, ZWJ])
_NEWLINES = frozenset([CR, LF, NEWLINE])
_LETTERS = frozenset([ALETTER, HEBREW_LETTER])
_JOINED = frozenset([*_LETTERS, NUMERIC, KATAKANA, EXTEND_NUM_LET])
_PROVISIONAL = {_LETTER_MID: _LETTERS, _HEBREW_DOUBLE: frozenset([HEBREW_LETTER]), _NUMBER_MID: frozenset([NUMERIC])}
_KEPT = frozenset([*_JOINED, W_SEG_SPACE, REGIONAL_INDICATOR, *_NEWLINES])


class _State(NamedTuple):
    """`before`: the class before, or one of the above; `joiner`: a ZWJ came last; `blank`: the segment so far."""

    before: int
    joiner: bool
    blank: bool


@functools.cache
def segments() -> Automaton:
    """First count: segments; second: segments that are not blank (`str.isspace`)."""
    spaces = (character_classes() & SPACE).astype(bool)
    kinds, classes = np.unique(table_of(WORD_BREAK) | np.where(spaces, np.uint8(64), np.uint8(0)), return_inverse=True)

    def step(state: _State, cls: int) -> tuple[_State, int, int]:
        kind = int(kinds[cls])
        return _step(state, kind & 31, pictographic=bool(kind & tables.PICTOGRAPHIC), blank=bool(kind & 64))

    start = _State(_START, joiner=False, blank=True)
    return automaton(classes.astype(np.uint8), step, start=start, n_classes=len(kinds))


def _step(state: _State, cls: int, *, pictographic: bool, blank: bool) -> tuple[_State, int, int]:
    before, joiner = state.before, cls == ZWJ
    at_start = before == _START or before in _NEWLINES
    if cls in _IGNORED and not at_start:  # WB4
        kept = _OTHER if before == W_SEG_SPACE else before
        return _State(kept, joiner, state.blank and blank), 0, int(state.blank and not blank)
    after = _after(before, cls)
    if cls in _PROVISIONAL.get(before, ()):  # WB7, WB7c, WB11: no boundary before the middle, nor after it
        return _State(after, joiner, blank=False), -1, -1
    if _is_joined(before, cls) or (state.joiner and pictographic):  # WB3c
        return _State(after, joiner, state.blank and blank), 0, int(state.blank and not blank)
    return _State(after, joiner, blank), 1, int(not blank)


def _is_joined(before: int, cls: int) -> bool:
    """Whether there is no boundary between the two, by what came before alone."""
    return (
        (before == CR and cls == LF)  # WB3
        or (before == cls == W_SEG_SPACE)  # WB3d
        or (before in _LETTERS and cls in _LETTERS)  # WB5
        or (before == HEBREW_LETTER and cls == SINGLE_QUOTE)  # WB7a
        or (before == _HEBREW_SINGLE and cls in _LETTERS)  # WB7
        or (before in _LETTERS | {NUMERIC} and cls == NUMERIC)  # WB8, WB9
        or (before == NUMERIC and cls in _LETTERS)  # WB10
        or (before == cls == KATAKANA)  # WB13
        or (EXTEND_NUM_LET in (before, cls) and before in _JOINED and cls in _JOINED)  # WB13a, WB13b
        or (before == cls == REGIONAL_INDICATOR)  # WB15, WB16
    )


def _after(before: int, cls: int) -> int:
    """What the next character has before it."""
    quote_or_dot = cls in (MID_NUM_LET, SINGLE_QUOTE)
    if before == HEBREW_LETTER and cls in (SINGLE_QUOTE, DOUBLE_QUOTE):
        return _HEBREW_SINGLE if cls == SINGLE_QUOTE else _HEBREW_DOUBLE
    if before in _LETTERS and (cls == MID_LETTER or quote_or_dot):
        return _LETTER_MID
    if before == NUMERIC and (cls == MID_NUM or quote_or_dot):
        return _NUMBER_MID
    if before == cls == REGIONAL_INDICATOR:
        return _OTHER  # a flag is complete
    return cls if cls in _KEPT else _OTHER
