"""Places in text that may be personal data or a secret, found at the speed of memory.

Prose holds few digits, "@" and ":", and 64 bytes at a time are passed over that hold none. At a run of digits 64 bytes
around it, as bits by class of character, tell whether it can belong to anything that is looked for; only what is left
is looked at byte by byte and must have the outline of its kind. A caller then decides with a readable pattern on a few
dozen bytes. The time is linear in the text, whatever it holds.

The readable twin is `dolma/kernels/reference/candidates.py`. About 1,700 MB/s of mixed text on one core of a 2-core
cloud machine, 2026-11-26.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import (
    ASCII_DIGITS,
    ASCII_LETTERS,
    BLOCK,
    bits_of,
    count_bits,
    equal,
    fitting,
    inside,
    moved,
    n_high_zeros,
    padded,
)
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.views import Int64
from dolma.kernels.words64 import byte_at, first_bit

EMAIL, PHONE, PLUS, IPV4, NUMBER, CARD, IBAN, TOKEN, ASSIGNED, PAIRS, COLONS = range(11)
LONGEST_LOCAL, LONGEST_DOMAIN, LONGEST_PLUS, FEWEST_PLUS_DIGITS = 64, 255, 34, 8
FEWEST_NUMBER_DIGITS, MOST_NUMBER_DIGITS, SHORTEST_TOKEN, LONGEST_COLONS = 7, 12, 20, 39
WORD_BEFORE, WORD_AFTER = 48, 16

# What a word near a number or a token may be about, as bits, and the first four bytes of such words.
PHONE_WORDS, SSN_WORDS, SECRET_WORDS = 1, 2, 4
_STEMS = {
    PHONE_WORDS: (
        "phon tele tel: tel. tel  tél  tlf  fono fone mobi móvi celu cell handy call fax: fax. fax  sms  what dial ring"
        " reac answ mess cont desk offi home work тел Тел 电话 電話 전화 هاتف"
    ),
    SSN_WORDS: "ssn: ssn  ssn# secu",
    SECRET_WORDS: "secr toke pass _key -key ikey skey auth cred",
}
_PREFIXES = "AKI ASI ghp gho ghu ghs ghr git glp xox xap sk_ rk_ sk- AIz GOC npm hf_ dop shp pyp eyJ whs"
# The characters of a number after its country and check digits: n digits, a letters, c either (ISO 13616).
_IBAN_FORMS = (
    "AD8n12c AE19n AL8n16c AT16n AZ4a20c BA16n BE12n BG4a6n8c BH4a14c BI23n BR23n1a1c BY4c4n16c CH5n12c CR18n"
    " CY8n16c CZ20n DE18n DJ23n DK14n DO4c20n EE16n EG25n ES20n FI14n FK2a12n FO14n FR10n11c2n GB4a14n GE2a16n"
    " GI4a15c GL14n GR7n16c GT24c HN4a20n HR17n HU24n IE4a14n IL19n IQ4a15n IS22n IT1a10n12c JO4a4n18c KW4a22c"
    " KZ3n13c LB4n20c LC4a24c LI5n12c LT16n LU3n13c LV4a13c LY21n MC10n11c2n MD20c ME18n MK3n10c2n MN16n MR23n"
    " MT4a5n18c MU4a19n3a NI4a20n NL4a10n NO11n OM3n16c PK4a16c PL24n PS4a21c PT21n QA4a21c RO4a16c RS18n"
    " SA2n18c SC4a20n3a SD14n SE20n SI15n SK20n SM1a10n12c SO19n ST21n SV4a20n TL19n TN20n TR6n16c UA6n19c VA18n"
    " VG4a16n XK16n YE4a4n18c"
)
IBAN_FORMS = {form[:2]: form[2:] for form in _IBAN_FORMS.split()}

_AT, _COLON, _ZERO, _DASH, _DOT, _SLASH, _PLUS_SIGN, _LINE = (np.uint8(ord(c)) for c in "@:0-./+_")
_digits, _letters, _blanks = bits_of(ASCII_DIGITS), bits_of(ASCII_LETTERS), bits_of(b" ()")
_of_address = bits_of(b":0123456789ABCDEFabcdef")
_0, _1, _3_bits, _6_bits, _9_bits, _12_bits, _61, _62, _63 = (np.uint64(n) for n in (0, 1, 3, 6, 9, 12, 61, 62, 63))
# How many of the 64 bytes around a run of digits stand before it: more than there are in any chain of short runs.
_N_BACK = 20
_BACK, _AHEAD = np.uint64(_N_BACK), np.uint64(64 - _N_BACK)
# Where the first "-" of six pairs may stand, if the run of digits is within one of them.
_FIRST_DASHES = np.uint64(sum(1 << (_N_BACK + 2 - 3 * k - in_pair) for k in range(6) for in_pair in (0, 1)))
# Up to where a document has been searched for what runs of digits have in common, by what that is.
_TOKEN_END, _ASSIGNED_END, _PAIRS_END, _COLONS_END = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Possible places, by document; those that a run of digits decides in the order of these runs.

    `kinds`: uint8. `documents`, `starts`, `ends`: int64, bytes in the buffer, end exclusive, within the document.

    - `EMAIL`: 1 to 64 characters of `[A-Za-z0-9._%+-]`, "@", then all of `[A-Za-z0-9.-]` up to 255, a "." with a letter
      behind it among them.
    - `PHONE`: runs of three, three and four digits, with one to three other bytes between one and the next.
    - `PLUS`: "+" and up to 33 digits, spaces and `()./-`, beginning with a digit and with at least eight of them.
    - `IPV4`: four runs of one to three digits joined by "."; the first four, where there are more.
    - `NUMBER`: a maximal chain of runs of digits with one or two of ` ()./-` between, of 7 to 12 digits, if it begins
      with 0, consists of three, two and four digits, or has the stem of a word for telephones or social security in
      the 48 bytes before or the 16 behind. Not behind `+`, a letter, a digit or "_", nor behind one of `-./,` that a
      letter or digit precedes; not two runs joined by ".".
    - `CARD`: 12 to 19 digits in one run, or runs of 4-4-4-4, 4-4-4-4-3, 4-6-5, 4-6-4 with one " " or "-" between, that
      pass the Luhn test. Not behind or before a letter, a digit or "_".
    - `IBAN`: two letters of one case and two digits, then as many letters and digits as the country has, single spaces
      anywhere between, with the right check digits (ISO 7064 MOD 97-10). Not behind or before a letter or digit.
    - `TOKEN`: a maximal run of 20 or more `[A-Za-z0-9_-]`, with a digit and not of digits alone, whose first three
      bytes are those of a known kind of key.
    - `ASSIGNED`: the same of `[A-Za-z0-9_/+-]`, with the stem of a word for secrets in the 48 bytes before and one of
      `:=>` before it, but for a quotation mark and blanks between.
    - `PAIRS`: six pairs of hexadecimal digits with "-" between, not behind or before a letter, a digit or "-".
    - `COLONS`: a maximal run of `[0-9A-Fa-f:]` of up to 39 bytes with five or seven ":", or with a digit and at least
      two ":" of which two are neighbours; not behind or before a letter, a digit or "_".
    """

    kinds: npt.NDArray[np.uint8]
    documents: Int64
    starts: Int64
    ends: Int64


def find_candidates(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Candidates:
    """Where personal data and secrets may be.

    >>> found = find_candidates(np.frombuffer(b"me: a@b.example", np.uint8), np.array([0, 15]))
    >>> found.kinds.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0], [4], [15])
    """
    text, bounds = flat_text(utf8, offsets)
    # The shortest have four bytes, which at most two share; hardly any text has so many. Large arrays cost time even
    # where they stay empty: NumPy asks for pages of 2 MB, and the system clears the first of each.
    for most in (len(text) // 256 + 64, len(text) // 2 + 1):
        kinds, places, seen = np.empty(most, np.uint8), np.empty((3, most), np.int64), np.empty(4, np.int64)
        n = _candidates(padded(text), bounds, _hint_table(), _country_lengths(), kinds, places, seen)
        if n < most:
            break
    documents, starts, ends = places[:, :n]
    return Candidates(kinds=kinds[:n], documents=documents, starts=starts, ends=ends)


def stems() -> dict[int, frozenset[bytes]]:
    """The first four bytes, in lower case, of the words that stand near a number or a token, by what they are about."""
    # Two spaces stand for a stem that ends in one.
    return {
        bit: frozenset(word.replace("~", " ").encode()[:4] for word in words.replace("  ", "~ ").split())
        for bit, words in _STEMS.items()
    }


def prefixes() -> frozenset[bytes]:
    """The first three bytes of keys of known kinds."""
    return frozenset(word.encode() for word in _PREFIXES.split())


def iban_length(country: str) -> int:
    """Characters of an account number of a country, its code and check digits among them.

    >>> iban_length("DE")
    22
    """
    form = IBAN_FORMS[country]
    return 4 + sum(int(n) for n in "".join(c if c.isdigit() else " " for c in form).split())


_TABLE_BITS = 16
_MULTIPLIER = 0x9E3779B1
_PREFIX_BIT = 128


def slot(word: int) -> int:
    """Where the table of signs has a word of up to four bytes."""
    return (word * _MULTIPLIER & 0xFFFFFFFF) >> (32 - _TABLE_BITS)


@functools.cache
def _hint_table() -> npt.NDArray[np.uint8]:
    """What four bytes (or three, of a prefix) are a sign of, by `slot`; two words may share a slot."""
    table = np.zeros(1 << _TABLE_BITS, dtype=np.uint8)
    signs: Iterable[tuple[int, bytes]] = [(bit, stem) for bit, words in stems().items() for stem in words]
    for bit, word in [*signs, *((_PREFIX_BIT, prefix) for prefix in prefixes())]:
        table[slot(int.from_bytes(word, "big"))] |= bit
    return read_only(table, np.uint8)


@functools.cache
def _country_lengths() -> npt.NDArray[np.uint8]:
    """Characters of an account number by its country, `26 * first + second` letter; 0 where there are none."""
    table = np.zeros(26 * 26, dtype=np.uint8)
    for country in IBAN_FORMS:
        table[26 * (ord(country[0]) - 65) + ord(country[1]) - 65] = iban_length(country)
    return read_only(table, np.uint8)


@kernel
def _candidates(utf8: Any, offsets: Any, hints: Any, lengths: Any, kinds: Any, places: Any, ends: Any) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        first, end = offsets[doc], offsets[doc + 1]
        ends[:] = first
        digit_before = _0
        for block in range(first, end, BLOCK):
            at = fitting(utf8, block)
            within = inside(block, first, end)
            digits = moved(_digits(utf8, at), at, block) & within
            starts = digits & ~(digits << _1 | digit_before)
            digit_before = digits >> _63
            ats = moved(equal(utf8, at, _AT), at, block) & within
            colons = moved(equal(utf8, at, _COLON), at, block) & within
            # One kind of mark after the other: which kind comes next is nothing that a processor can guess.
            while ats != _0:
                start, stop = _email_bounds(utf8, block + first_bit(ats), first, end)
                if stop > 0:
                    n = _put(kinds, places, n, np.uint8(EMAIL), doc, start, stop)
                ats &= ats - _1
            while colons != _0:
                i = block + first_bit(colons)
                if _may_chain(utf8, i, first, end) and i >= ends[_COLONS_END]:
                    start, ends[_COLONS_END], good = _colons(utf8, i, first, end)
                    if good:
                        n = _put(kinds, places, n, np.uint8(COLONS), doc, start, ends[_COLONS_END])
                colons &= colons - _1
            while starts != _0:
                i = block + first_bit(starts)
                around = _around(utf8, i, first, end)
                if _may_be_number(around) or _may_be_token(around, i, ends):
                    n = _at_digits(utf8, i, doc, first, end, around, hints, lengths, kinds, places, ends, n)
                starts &= starts - _1
    return n


@inlined
def _around(utf8: Any, i: int, first: int, end: int) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Bits of the bytes from 20 before `i` up to 43 behind: digits, letters, separators, ".", `-` or `_`, `/` or `+`.

    All are zero outside of the document.
    """
    start = i - _N_BACK
    at = fitting(utf8, start)
    within = inside(start, first, end)
    dots, dashes, slashes = equal(utf8, at, _DOT), equal(utf8, at, _DASH), equal(utf8, at, _SLASH)
    separators = _blanks(utf8, at) | dots | dashes | slashes
    return (
        moved(_digits(utf8, at), at, start) & within,
        moved(_letters(utf8, at), at, start) & within,
        moved(separators, at, start) & within,
        moved(dots, at, start) & within,
        moved(dashes | equal(utf8, at, _LINE), at, start) & within,
        moved(slashes | equal(utf8, at, _PLUS_SIGN), at, start) & within,
    )


@inlined
def _may_be_number(around: Any) -> Any:
    """Whether a run of digits may decide a candidate that is no token. All tests at once, as hardly any run passes."""
    digits, letters_, separators, dots, dashes, _ = around
    ahead, recent = digits >> _BACK, digits << _AHEAD
    length = first_bit(~ahead)
    chain = (digits | separators) >> _BACK
    chain &= ~(chain + _1)
    enough = count_bits(ahead & chain) >= FEWEST_NUMBER_DIGITS
    ends_phone = (length == 4) & (n_high_zeros(recent) <= 3)
    ends_address = (length <= 3) & (n_high_zeros(~((digits | dots) << _AHEAD)) >= 6)
    # Two letters of a country and, before them, neither letter nor digit.
    account = (length >= 2) & (letters_ << _AHEAD >> _62 == _3_bits) & ((letters_ | digits) << _AHEAD >> _61 == _6_bits)
    fives = dashes & dashes >> _3_bits & dashes >> _6_bits & dashes >> _9_bits & dashes >> _12_bits
    return enough | ends_phone | ends_address | account | (fives & _FIRST_DASHES != _0)


@inlined
def _may_be_token(around: Any, i: int, ends: Any) -> Any:
    """Whether a run of digits is in as many bytes of a token as the shortest has, and in none that has been seen."""
    digits, letters_, _, _, dashes, slashes = around
    narrow = digits | letters_ | dashes
    wide = narrow | slashes
    n_narrow = first_bit(~(narrow >> _BACK)) + n_high_zeros(~(narrow << _AHEAD))
    n_wide = first_bit(~(wide >> _BACK)) + n_high_zeros(~(wide << _AHEAD))
    return ((n_narrow >= SHORTEST_TOKEN) & (i >= ends[_TOKEN_END])) | (
        (n_wide >= SHORTEST_TOKEN) & (i >= ends[_ASSIGNED_END])
    )


@kernel
def _at_digits(
    utf8: Any,
    i: int,
    doc: int,
    first: int,
    end: int,
    around: Any,
    hints: Any,
    lengths: Any,
    kinds: Any,
    places: Any,
    ends: Any,
    n: int,
) -> int:
    """Put down the candidates that a run of digits at `i` decides; how many there are now."""
    digits, _, separators, _, _, _ = around
    recent = digits << _AHEAD
    length, gap = first_bit(~(digits >> _BACK)), n_high_zeros(recent)
    stop = i + length if length < 64 - _N_BACK else _digits_end(utf8, i, end)
    before, behind = _byte(utf8, i - 1, first, end), _byte(utf8, stop, first, end)
    reach = first_bit(~((digits | separators) >> _BACK))
    if before == _PLUS_SIGN and reach >= FEWEST_PLUS_DIGITS:
        plus_end = _plus_end(utf8, i, end)
        if plus_end > 0:
            n = _put(kinds, places, n, np.uint8(PLUS), doc, i - 1, plus_end)
    if length == 4 and gap <= 3:
        start = _third_before(recent, i)
        if start >= 0:
            n = _put(kinds, places, n, np.uint8(PHONE), doc, start, stop)
    if length <= 3 and gap == 1:
        start = _fourth_before(utf8, recent, i)
        if start >= 0:
            n = _put(kinds, places, n, np.uint8(IPV4), doc, start, stop)
    if not _is_word(before):
        # With one or two separators to the run of digits before it, this one is not the first of its chain.
        joined = gap <= 2 and n_high_zeros(~((digits | separators) << _AHEAD)) > gap
        if reach >= FEWEST_NUMBER_DIGITS and not joined and before != _PLUS_SIGN:
            number_end = _number_end(utf8, i, first, end, hints)
            if number_end > 0:
                n = _put(kinds, places, n, np.uint8(NUMBER), doc, i, number_end)
        if (length == 4 and reach >= 9) or 12 <= stop - i <= 19:
            card_end = _card_end(utf8, i, stop, end)
            if card_end > 0:
                n = _put(kinds, places, n, np.uint8(CARD), doc, i, card_end)
    elif length >= 2 and i - first >= 2 and _is_letter(before):
        iban_end = _iban_end(utf8, i - 2, first, end, lengths)
        if iban_end > 0:
            n = _put(kinds, places, n, np.uint8(IBAN), doc, i - 2, iban_end)
    if _may_be_token(around, i, ends):
        if i >= ends[_TOKEN_END] and (_is_token(before) or _is_token(behind)):
            start, ends[_TOKEN_END] = _token(utf8, i, first, end, _0)
            if ends[_TOKEN_END] - start >= SHORTEST_TOKEN and _is_known(utf8, start, hints):
                n = _put(kinds, places, n, np.uint8(TOKEN), doc, start, ends[_TOKEN_END])
        if i >= ends[_ASSIGNED_END] and (_is_base64(before) or _is_base64(behind)):
            start, ends[_ASSIGNED_END] = _token(utf8, i, first, end, _1)
            named = _is_assigned(utf8, start, first)
            if named and _hints(utf8, max(start - WORD_BEFORE, first), start, hints) & SECRET_WORDS:
                n = _put(kinds, places, n, np.uint8(ASSIGNED), doc, start, ends[_ASSIGNED_END])
    if length <= 2 and i >= ends[_PAIRS_END]:
        start = _pairs_start(utf8, i, first, end)
        if start >= 0:
            ends[_PAIRS_END] = start + 17
            n = _put(kinds, places, n, np.uint8(PAIRS), doc, start, start + 17)
    return n


@inlined
def _third_before(digits: Any, i: int) -> int:
    """Where the second run of digits before `i` begins, if both have three and up to three bytes follow each; else -1.

    `digits` has the byte before `i` as its highest bit.
    """
    start = i
    for _ in range(2):
        gap = n_high_zeros(digits)
        if gap > 3 or n_high_zeros(~(digits << np.uint64(gap))) != 3:
            return -1
        digits <<= np.uint64(gap + 3)
        start -= gap + 3
    return start


@inlined
def _fourth_before(utf8: Any, digits: Any, i: int) -> int:
    """Where the third run of digits before `i` begins, if three and no more, each short, are joined by "."; else -1."""
    start, n_runs = i, 0
    while n_runs < 4 and n_high_zeros(digits) == 1 and byte_at(utf8, start - 1) == _DOT:
        length = n_high_zeros(~(digits << _1))
        if length > 3:
            break
        digits <<= np.uint64(length + 1)
        start -= length + 1
        n_runs += 1
    return start if n_runs == 3 else -1


@inlined
def _may_chain(utf8: Any, i: int, first: int, end: int) -> Any:
    """Whether the hexadecimal digits and ":" from the ":" at `i` on hold as many ":" as an address would."""
    at = fitting(utf8, i)
    within = inside(i, first, end)
    colons = moved(equal(utf8, at, _COLON), at, i) & within
    chain = moved(_of_address(utf8, at), at, i) & within
    colons &= chain & ~(chain + _1)  # up to the first byte that is neither
    n_colons = count_bits(colons)
    return (colons & colons >> _1 != _0) | (n_colons == 5) | (n_colons == 7)


@inlined
def _put(kinds: Any, places: Any, n: int, kind: Any, doc: int, start: int, stop: int) -> int:
    if n < len(kinds):
        kinds[n], places[0, n], places[1, n], places[2, n] = kind, doc, start, stop
        n += 1
    return n


@inlined
def _byte(utf8: Any, i: int, first: int, end: int) -> Any:
    """The byte at `i`, 0 outside of the document."""
    return byte_at(utf8, i) if first <= i < end else np.uint8(0)


@inlined
def _is_digit(byte: Any) -> bool:
    return (byte >= 0x30) & (byte <= 0x39)


@inlined
def _is_letter(byte: Any) -> bool:
    lower = byte | 0x20
    return (lower >= 0x61) & (lower <= 0x7A)


@inlined
def _is_word(byte: Any) -> bool:
    return _is_letter(byte) | _is_digit(byte) | (byte == 0x5F)


@inlined
def _is_token(byte: Any) -> bool:
    return _is_word(byte) | (byte == 0x2D)


@inlined
def _is_base64(byte: Any) -> bool:
    return _is_token(byte) | (byte == 0x2F) | (byte == 0x2B)


@inlined
def _is_hex(byte: Any) -> bool:
    lower = byte | 0x20
    return _is_digit(byte) | ((lower >= 0x61) & (lower <= 0x66)) | (byte == 0x3A)


@inlined
def _is_domain(byte: Any) -> bool:
    return _is_letter(byte) | _is_digit(byte) | (byte == 0x2E) | (byte == 0x2D)


@inlined
def _is_separator(byte: Any) -> bool:
    return (byte == 0x20) | ((byte >= 0x28) & (byte <= 0x29)) | ((byte >= 0x2D) & (byte <= 0x2F))


@inlined
def _digits_end(utf8: Any, i: int, end: int) -> int:
    while i < end and _is_digit(byte_at(utf8, i)):
        i += 1
    return i


@kernel
def _email_bounds(utf8: Any, at: int, first: int, end: int) -> tuple[int, int]:
    """Start and end of the address whose "@" is at `at`; `(0, 0)` if it has not the outline of one."""
    start = at
    while start > first and at - start <= LONGEST_LOCAL:
        byte = byte_at(utf8, start - 1)
        if not (_is_domain(byte) | (byte == 0x5F) | (byte == 0x25) | (byte == 0x2B)):
            break
        start -= 1
    stop, n_dots = at + 1, 0
    while stop < end and stop - at <= LONGEST_DOMAIN and _is_domain(byte_at(utf8, stop)):
        n_dots += byte_at(utf8, stop) == _DOT and _is_letter(_byte(utf8, stop + 1, first, end))
        stop += 1
    if start == at or at - start > LONGEST_LOCAL or n_dots == 0:
        return 0, 0
    return start, stop


@kernel
def _plus_end(utf8: Any, i: int, end: int) -> int:
    """The end of the digits and separators that begin at `i`, behind a "+"; 0 if there are too few digits."""
    n_digits, stop = 0, i
    while stop < end and stop - i < LONGEST_PLUS - 1:
        byte = byte_at(utf8, stop)
        if not (_is_digit(byte) | _is_separator(byte)):
            break
        n_digits += _is_digit(byte)
        stop += 1
    return stop if n_digits >= FEWEST_PLUS_DIGITS else 0


@kernel
def _number_end(utf8: Any, i: int, first: int, end: int, hints: Any) -> int:
    """The end of the candidate `NUMBER` whose first run of digits begins at `i`; 0 if there is none."""
    before = _byte(utf8, i - 1, first, end)
    if before == 0x2C or (before >= _DASH and before <= _SLASH):
        second = _byte(utf8, i - 2, first, end)
        if _is_letter(second) or _is_digit(second):
            return 0
    stop, n_digits, shape = _number(utf8, i, end)
    if not FEWEST_NUMBER_DIGITS <= n_digits <= MOST_NUMBER_DIGITS:
        return 0
    if 0x0F < shape < 0x100 and stop - i == n_digits + 1 and byte_at(utf8, i + (shape >> 4)) == _DOT:
        return 0
    if byte_at(utf8, i) == _ZERO or shape == 0x324:
        return stop
    lower, upper = max(i - WORD_BEFORE, first), min(stop + WORD_AFTER, end)
    return stop if _hints(utf8, lower, upper, hints) & (PHONE_WORDS | SSN_WORDS) else 0


@inlined
def _number(utf8: Any, i: int, end: int) -> tuple[int, int, int]:
    """The end of the runs of digits that begin at `i`, their digits, and the length of each in hexadecimal.

    Lengths beyond 15 count as 15, and of more than 15 runs the last 15 are there.
    """
    n_digits, shape = 0, 0
    while True:
        stop = _digits_end(utf8, i, end)
        n_digits += stop - i
        shape = (shape << 4 | min(stop - i, 15)) & 0xFFFFFFFFFFFFFFF
        i = stop
        while i < end and i - stop < 2 and _is_separator(byte_at(utf8, i)):
            i += 1
        if i == stop or i >= end or not _is_digit(byte_at(utf8, i)):
            return stop, n_digits, shape


@kernel
def _card_end(utf8: Any, i: int, stop: int, end: int) -> int:
    """The end of the card number that begins at `i` with a run of digits up to `stop`; 0 if there is none."""
    if stop - i == 4:
        separator = _byte(utf8, stop, i, end)
        if separator != 0x20 and separator != 0x2D:
            return 0
        lengths = 0
        start = i
        while lengths < 0x1000 and _byte(utf8, stop, start, end) == separator:
            next_stop = _digits_end(utf8, stop + 1, end)
            if next_stop - stop > 7 or next_stop - stop < 4:
                break
            lengths = lengths << 4 | (next_stop - stop - 1)
            stop = next_stop
            if lengths == 0x64 or lengths == 0x65:
                break
        if lengths != 0x444 and lengths != 0x4443 and lengths != 0x65 and lengths != 0x64:
            return 0
    if _is_word(_byte(utf8, stop, i, end)):
        return 0
    total, doubled = 0, False
    for j in range(stop - 1, i - 1, -1):
        byte = int(byte_at(utf8, j))
        if _is_digit(byte):
            digit = byte - 0x30
            if doubled:
                digit = 2 * digit - 9 if digit > 4 else 2 * digit
            total += digit
            doubled = not doubled
    return stop if total % 10 == 0 else 0


@kernel
def _iban_end(utf8: Any, i: int, first: int, end: int, lengths: Any) -> int:
    """The end of the account number that begins at `i` with two letters and two digits; 0 if there is none."""
    a, b = int(byte_at(utf8, i)), int(byte_at(utf8, i + 1))
    before = _byte(utf8, i - 1, first, end)
    if not _is_letter(a) or (a ^ b) & 0x20 or _is_letter(before) or _is_digit(before):
        return 0
    length = int(lengths[26 * ((a & 0xDF) - 65) + (b & 0xDF) - 65])
    if length == 0:
        return 0
    # The country and the check digits count last.
    n, j, rest, tail = 0, i, 0, 0
    while j < end and n < length:
        byte = int(byte_at(utf8, j))
        if byte == 0x20 and n >= 4 and byte_at(utf8, j - 1) != 0x20:
            j += 1
            continue
        letter = _is_letter(byte)
        if not letter and not _is_digit(byte):
            return 0
        value = (byte & 0xDF) - 55 if letter else byte - 0x30
        if n < 4:
            tail = tail * (100 if letter else 10) + value
        else:
            rest = (rest * (100 if letter else 10) + value) % 97
        n += 1
        j += 1
    behind = _byte(utf8, j, first, end)
    if n < length or _is_letter(behind) or _is_digit(behind):
        return 0
    return j if (rest * 1000000 + tail) % 97 == 1 else 0


@inlined
def _hints(utf8: Any, start: int, stop: int, hints: Any) -> int:
    """What the words in `[start, stop)` may be signs of."""
    found, recent = 0, 0
    for i in range(start, stop):
        byte = int(byte_at(utf8, i))
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        recent = (recent << 8 | byte) & 0xFFFFFFFF
        found |= hints[(recent * _MULTIPLIER & 0xFFFFFFFF) >> 16]
    return found


@kernel
def _token(utf8: Any, i: int, first: int, end: int, wide: Any) -> tuple[int, int]:
    """Start and end of the run of `[A-Za-z0-9_-]`, and `/+` if wide, around `i`."""
    start, stop, n = i, i, BLOCK
    while n == BLOCK and stop < end:
        n = first_bit(~_token_bits(utf8, stop, first, end, wide))
        stop += n
    n = BLOCK
    while n == BLOCK and start > first:
        n = n_high_zeros(~_token_bits(utf8, start - BLOCK, first, end, wide))
        start -= n
    return start, stop


@inlined
def _token_bits(utf8: Any, i: int, first: int, end: int, wide: Any) -> Any:
    """Bits of the 64 bytes from `i` on that belong to a token."""
    at = fitting(utf8, i)
    bits = _digits(utf8, at) | _letters(utf8, at) | equal(utf8, at, _DASH) | equal(utf8, at, _LINE)
    if wide != _0:
        bits |= equal(utf8, at, _SLASH) | equal(utf8, at, _PLUS_SIGN)
    return moved(bits, at, i) & inside(i, first, end)


@inlined
def _is_assigned(utf8: Any, i: int, first: int) -> bool:
    """Whether ":", "=" or ">" stands before `i`, but for one quotation mark and blanks before that."""
    i -= 1
    if i >= first and (byte_at(utf8, i) == 0x22 or byte_at(utf8, i) == 0x27):
        i -= 1
    while i >= first and (byte_at(utf8, i) == 0x20 or byte_at(utf8, i) == 0x09):
        i -= 1
    return i >= first and (byte_at(utf8, i) == _COLON or byte_at(utf8, i) == 0x3D or byte_at(utf8, i) == 0x3E)


@inlined
def _is_known(utf8: Any, start: int, hints: Any) -> bool:
    """Whether a token at `start` begins like a known kind of key."""
    word = int(byte_at(utf8, start)) << 16 | int(byte_at(utf8, start + 1)) << 8 | int(byte_at(utf8, start + 2))
    return hints[(word * _MULTIPLIER & 0xFFFFFFFF) >> 16] & _PREFIX_BIT != 0


@kernel
def _pairs_start(utf8: Any, i: int, first: int, end: int) -> int:
    """The start of the six pairs, joined by "-", of which the digit at `i` is part; -1 if there are none."""
    pair = i - 1 if i > first and _is_hex(byte_at(utf8, i - 1)) and byte_at(utf8, i - 1) != 0x3A else i
    start = pair
    while start - 3 >= first and byte_at(utf8, start - 1) == 0x2D and pair - start < 15:
        start -= 3
    if (
        start + 17 > end
        or _is_token(_byte(utf8, start - 1, first, end))
        or _is_token(_byte(utf8, start + 17, first, end))
    ):
        return -1
    for k in range(17):
        byte = byte_at(utf8, start + k)
        if byte != 0x2D if k % 3 == 2 else (not _is_hex(byte) or byte == 0x3A):
            return -1
    return start


@kernel
def _colons(utf8: Any, i: int, first: int, end: int) -> tuple[int, int, bool]:
    """Start and end of the hexadecimal digits and ":" around `i`, and whether they have the outline of an address."""
    start = i
    while start > first and _is_hex(byte_at(utf8, start - 1)):
        start -= 1
    n_colons, double, digit, stop = 0, False, False, start
    while stop < end and _is_hex(byte_at(utf8, stop)):
        if byte_at(utf8, stop) == _COLON:
            n_colons += 1
            double |= stop + 1 < end and byte_at(utf8, stop + 1) == _COLON
        digit |= _is_digit(byte_at(utf8, stop))
        stop += 1
    good = ((double & digit) | (n_colons == 5) | (n_colons == 7)) & (stop - start <= LONGEST_COLONS)
    if _is_word(_byte(utf8, start - 1, first, end)) or _is_word(_byte(utf8, stop, first, end)):
        good = False
    return start, stop, good
