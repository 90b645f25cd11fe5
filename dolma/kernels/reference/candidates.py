"""`dolma.kernels.candidates` of one text, by regular expressions on its UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dolma.kernels.candidates import (
    ASSIGNED,
    CARD,
    COLONS,
    EMAIL,
    IBAN,
    IPV4,
    NUMBER,
    PAIRS,
    PHONE,
    PHONE_WORDS,
    PLUS,
    SECRET_WORDS,
    SSN_WORDS,
    TOKEN,
    slot,
)

_LOCAL = re.compile(rb"[A-Za-z0-9._%+-]*\Z")
_LABEL = re.compile(rb"\.[A-Za-z]")
_DOMAIN = re.compile(rb"@[A-Za-z0-9.-]{0,255}")
_PLUS = re.compile(rb"\+(?=[0-9])[0-9 ()./-]{1,33}")
_DIGITS = re.compile(rb"[0-9]+")
_NUMBER = re.compile(rb"[0-9]+(?:[ ()./-]{1,2}[0-9]+)*")
_JOINED, _DECIMAL = re.compile(rb"[A-Za-z0-9][-./,]\Z"), re.compile(rb"[0-9]+\.[0-9]+")
_GROUPED = re.compile(rb"[0-9]{4}([ -])(?:[0-9]{6}\1[0-9]{4,5}(?![0-9])|[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![0-9]))")
_IBAN = re.compile(rb"(?<![A-Za-z0-9])(?=([A-Z]{2}|[a-z]{2})[0-9]{2})")
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{20,}")
_WIDE_TOKEN = re.compile(rb"[A-Za-z0-9_/+-]{20,}")
_PAIRS = re.compile(rb"(?<![A-Za-z0-9_-])(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}(?![A-Za-z0-9_-])")
_COLONS = re.compile(rb"[0-9A-Fa-f:]+")
_ASSIGNMENT = re.compile(rb"[:=>][ \t]*[\"']?\Z")
_WORD = re.compile(rb"[A-Za-z0-9_]")

# Tables of its own, so that a wrong one of the kernel's does not agree with itself.
_LONGEST_LOCAL, _LONGEST_COLONS, _WORD_BEFORE, _WORD_AFTER = 64, 39, 48, 16
_STEMS = {
    PHONE_WORDS: [
        b"answ",
        b"call",
        b"cell",
        b"celu",
        b"cont",
        b"desk",
        b"dial",
        b"fax ",
        b"fax.",
        b"fax:",
        b"fone",
        b"fono",
        b"hand",
        b"home",
        b"mess",
        b"mobi",
        b"m\xc3\xb3v",
        b"offi",
        b"phon",
        b"reac",
        b"ring",
        b"sms ",
        b"tel ",
        b"tel.",
        b"tel:",
        b"tele",
        b"tlf ",
        b"t\xc3\xa9l",
        b"what",
        b"work",
        b"\xd0\xa2\xd0\xb5",
        b"\xd1\x82\xd0\xb5",
        b"\xd9\x87\xd8\xa7",
        b"\xe7\x94\xb5\xe8",
        b"\xe9\x9b\xbb\xe8",
        b"\xec\xa0\x84\xed",
    ],
    SSN_WORDS: [b"secu", b"ssn ", b"ssn#", b"ssn:"],
    SECRET_WORDS: [b"-key", b"_key", b"auth", b"cred", b"ikey", b"pass", b"secr", b"skey", b"toke"],
}
_PREFIXES = "AIz AKI ASI GOC dop eyJ gho ghp ghr ghs ghu git glp hf_ npm pyp rk_ shp sk- sk_ whs xap xox"
_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 "
    "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 "
    "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 "
    "PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 "
    "VA22 VG24 XK20 YE30"
)
_IBAN_LENGTHS = {country[:2]: int(country[2:]) for country in _IBANS.split()}

Candidate = tuple[int, int, int]


def find_candidates(text: str) -> list[Candidate]:
    """Kind, start and end, in bytes, of each candidate, ordered by kind, then start.

    >>> find_candidates("a@b.c +12345678")
    [(0, 0, 5), (2, 6, 15)]
    """
    data = text.encode()
    found = [(EMAIL, start, end) for start, end in _emails(data)]
    found += [(PLUS, m.start(), m.end()) for m in _PLUS.finditer(data) if len(re.sub(rb"[^0-9]", b"", m[0])) >= 8]
    found += [(TOKEN, m.start(), m.end()) for m in _TOKEN.finditer(data) if _is_known(m[0])]
    found += [(ASSIGNED, m.start(), m.end()) for m in _WIDE_TOKEN.finditer(data) if _is_assigned(data, m)]
    found += [(PAIRS, m.start(), m.end()) for m in _PAIRS.finditer(data) if _DIGITS.search(m[0])]
    found += [(COLONS, m.start(), m.end()) for m in _COLONS.finditer(data) if _is_chain(data, m)]
    return sorted([*found, *_runs(data), *_numbers(data), *_cards(data), *_ibans(data)])


def _emails(data: bytes) -> list[tuple[int, int]]:
    found = []
    for at in (i for i, byte in enumerate(data) if byte == ord("@")):
        local, domain = _LOCAL.search(data[:at]), _DOMAIN.match(data, at)
        assert local and domain
        if 0 < len(local[0]) <= _LONGEST_LOCAL and _LABEL.search(data, at, domain.end() + 1):
            found.append((local.start(), domain.end()))
    return found


def _runs(data: bytes) -> list[Candidate]:
    found, chain = [], 0
    runs = [match.span() for match in _DIGITS.finditer(data)]
    for k, (start, end) in enumerate(runs):
        three = runs[max(k - 2, 0) : k + 1]
        if [e - s for s, e in three] == [3, 3, 4] and all(1 <= three[j + 1][0] - three[j][1] <= 3 for j in (0, 1)):
            found.append((PHONE, three[0][0], end))
        joined = chain > 0 and runs[k - 1][1] == start - 1 and data[start - 1 : start] == b"."
        chain = 0 if end - start > 3 else chain + 1 if joined else 1
        if chain == 4:
            found.append((IPV4, runs[k - 3][0], end))
    return found


def _is_word(data: bytes, i: int) -> bool:
    return i >= 0 and _WORD.match(data, i) is not None


def _signs(data: bytes) -> int:
    """What the words may be signs of: by the table that the kernel uses, in which words may share a place."""
    lower = data.lower()
    windows = [lower[max(i - 4, 0) : i] for i in range(1, len(lower) + 1)]
    slots = {slot(int.from_bytes(window, "big")) for window in windows}
    return sum(bit for bit, words in _STEMS.items() if slots & {slot(int.from_bytes(w, "big")) for w in words})


def _numbers(data: bytes) -> Iterator[Candidate]:
    for match in _NUMBER.finditer(data):
        start, end = match.span()
        runs = [len(run) for run in _DIGITS.findall(match[0])]
        if not 7 <= sum(runs) <= 12 or _is_word(data, start - 1) or data[max(start - 1, 0) : start] == b"+":
            continue
        if _JOINED.search(data[max(start - 2, 0) : start]) or _DECIMAL.fullmatch(match[0]):
            continue
        around = data[max(start - _WORD_BEFORE, 0) : end + _WORD_AFTER]
        if match[0][:1] == b"0" or runs == [3, 2, 4] or _signs(around) & (PHONE_WORDS | SSN_WORDS):
            yield NUMBER, start, end


def _cards(data: bytes) -> Iterator[Candidate]:
    for match in _DIGITS.finditer(data):
        start, end = match.span()
        grouped = _GROUPED.match(data, start) if end - start == 4 else None
        if grouped:
            end = grouped.end()
            if len(_DIGITS.findall(grouped[0])) == 4:
                # A fifth run of three belongs to the number; one of four to six makes it something else.
                fifth = re.compile(grouped[1] + rb"([0-9]+)").match(data, end)
                if fifth and len(fifth[1]) == 3:
                    end = fifth.end()
                elif fifth and 4 <= len(fifth[1]) <= 6:
                    continue
        elif not 12 <= end - start <= 19:
            continue
        if not _is_word(data, start - 1) and not _is_word(data, end) and _luhn(data[start:end]):
            yield CARD, start, end


def _luhn(number: bytes) -> bool:
    digits = [byte - ord("0") for byte in reversed(number) if byte >= ord("0")]
    return sum(sum(divmod(2 * d, 10)) if k % 2 else d for k, d in enumerate(digits)) % 10 == 0


def _ibans(data: bytes) -> Iterator[Candidate]:
    for match in _IBAN.finditer(data):
        country = match[1].decode().upper()
        if country not in _IBAN_LENGTHS:
            continue
        some = re.compile(rb"[A-Za-z0-9]{4}(?: ?[A-Za-z0-9]){%d}(?![A-Za-z0-9])" % (_IBAN_LENGTHS[country] - 4))
        number = some.match(data, match.start())
        if number:
            text = number[0].decode().replace(" ", "")
            if int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1:
                yield IBAN, number.start(), number.end()


def _is_mixed(token: bytes) -> bool:
    return _DIGITS.search(token) is not None and not token.isdigit()


def _is_known(token: bytes) -> bool:
    slots = {slot(int.from_bytes(prefix, "big")) for prefix in map(str.encode, _PREFIXES.split())}
    return _is_mixed(token) and slot(int.from_bytes(token[:3], "big")) in slots


def _is_assigned(data: bytes, match: re.Match[bytes]) -> bool:
    before = data[max(match.start() - _WORD_BEFORE, 0) : match.start()]
    assigned = _ASSIGNMENT.search(data[: match.start()])
    return _is_mixed(match[0]) and assigned is not None and _signs(before) & SECRET_WORDS != 0


def _is_chain(data: bytes, match: re.Match[bytes]) -> bool:
    n_colons = match[0].count(b":")
    neighbours = b"::" in match[0] and _DIGITS.search(match[0])
    outline = (neighbours or n_colons in (5, 7)) and len(match[0]) <= _LONGEST_COLONS
    return bool(outline) and not _is_word(data, match.start() - 1) and not _is_word(data, match.end())
