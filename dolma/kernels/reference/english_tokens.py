"""`dolma.kernels.english_tokens` of one word, character by character."""

from __future__ import annotations

import itertools

EDGES = frozenset(
    "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧§%=—–$£€¥฿"
    "₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₴₵₶₷₸₹₺₻₼₽₾₿﷼"
)
NOT_LAST = frozenset("§=$£€%")
AFTER_DIGIT = frozenset("$£€%")
MARKS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»" + "".join(
    map(chr, (*range(9), 11, 12, *range(13, 32), *range(127, 160)))
)
"""What datatrove 0.10 takes for marks besides those that end sentences; "１" is in its table."""
NO_SENTENCE_ENDS = (
    0x61D, 0x61E, 0x837, 0x839, 0x83D, 0x83E, 0x17D4, 0x17D5, 0x17D6, 0x17D9, 0x17DA, 0x1B7D, 0x1B7E, 0x2E53, 0x2E54,
    *range(0x10F55, 0x10F5A), *range(0x10F86, 0x10F8A), 0x11944, 0x11946, 0x11EF7, 0x11EF8, 0x11F43, 0x11F44, 0x16E98,
)  # fmt: skip
"""Terminal punctuation that spaCy 3.8's sentencizer leaves out."""
_BETWEEN = frozenset(":<>=/")
_HYPHENS = frozenset("-–—~")


def english_tokens(word: str) -> int:
    """How many tokens the word makes.

    >>> [english_tokens(word) for word in ("word", "(word),", "it's", "re-use", "3.5", "...", "e.g.", "http://a.b/c,d")]
    [1, 4, 2, 3, 1, 1, 1, 1]
    """
    start, end, n = 0, len(word), 0
    while start < end and (width := _edge_width(word, start, end)):
        start += width
        n += 1
    while end > start and (width := _edge_width_before(word, start, end)):
        end -= width
        n += 1
    if start == end:
        return n
    return n + (1 if "://" in word[start:end] or word.startswith("www.", start) else _inner(word, start, end))


def tokens(word: str) -> list[str]:
    """The tokens themselves, in order.

    >>> tokens("(it's)."), tokens("re-use")
    (['(', 'it', "'s", ')', '.'], ['re', '-', 'use'])
    """
    start, end = 0, len(word)
    before, after = [], []
    while start < end and (width := _edge_width(word, start, end)):
        before.append(word[start : start + width])
        start += width
    while end > start and (width := _edge_width_before(word, start, end)):
        after.append(word[end - width : end])
        end -= width
    cuts = {start}
    if "://" not in word[start:end] and not word.startswith("www.", start):
        for at in range(start + 1, end - 1):
            more = _more(word[at - 1], word[at], word[at + 1], end - at)
            cuts |= {at, at + 1} if more == 2 else {at} if more else set()
    bounds = [*sorted(cuts), end]
    inner = [word[a:b] for a, b in itertools.pairwise(bounds)] if start < end else []
    return [*before, *inner, *reversed(after)]


def tokens_of(text: str) -> list[str]:
    """The tokens of a text."""
    return [token for word in text.split() for token in tokens(word)]


def _edge_width(word: str, start: int, end: int) -> int:
    """Code points of the token of punctuation that begins at `start`; 0 if none does."""
    if word[start] in EDGES:
        return 1
    if word[start] == "+":
        return 0 if start + 1 < end and word[start + 1].isdecimal() else 1
    at = start
    while at < end and word[at] == ".":
        at += 1
    return at - start if at - start > 1 else 0


def _edge_width_before(word: str, start: int, end: int) -> int:
    """Code points of the token of punctuation that ends at `end`; 0 if none does."""
    last = word[end - 1]
    before = word[end - 2] if end - 2 >= start else ""
    if (last in EDGES and last not in NOT_LAST) or (last in AFTER_DIGIT and before.isdecimal()):
        return 1
    if last in "sS" and before in ("'", "’") and end - 2 > start:
        return 2
    at = end
    while at > start and word[at - 1] == ".":
        at -= 1
    if end - at > 1:
        return end - at
    if end - at == 1 and at > start:
        splits = before.islower() or before.isdecimal() or before in EDGES or before in "-+"
        upper = before.isupper() and at - 2 >= start and word[at - 2].isupper()
        dotted = at - 2 >= start and word[at - 2] == "."
        return int((splits and not dotted) or upper)
    return 0


def _inner(word: str, start: int, end: int) -> int:
    """Tokens of what remains when punctuation is taken off both ends."""
    return 1 + sum(_more(word[at - 1], word[at], word[at + 1], end - at) for at in range(start + 1, end - 1))


def _more(before: str, here: str, after: str, left: int) -> int:
    """How many tokens more the character `here` makes; `left` counts it and what follows."""
    divides = (
        (here in _HYPHENS | {","} and before.isalpha() and after.isalpha())
        or (here in _BETWEEN and before.isalnum() and after.isalpha())
        or (here == "." and before.islower() and after.isupper())
        or (here in "+-*^" and before.isdecimal() and (after.isdecimal() or after == "-"))
    )
    if here in "'’" and before.isalpha() and after.isalpha() and left <= 3:
        return 1
    return 2 * divides
