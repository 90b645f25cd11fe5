"""Whether a candidate is a card, account or social security number, or a secret; patterns of `pii`."""

from __future__ import annotations

import math
import re
from collections import Counter

from dolma.kernels.candidates import IBAN_FORMS

Found = tuple[str, int, int, float]

# Issuers by first digits, and how many digits their numbers have (ISO/IEC 7812).
_ISSUERS = (
    (re.compile(rb"4"), (13, 16, 19)),
    (re.compile(rb"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(rb"3[47]"), (15,)),
    (re.compile(rb"30[0-59]|36|3[89]"), (14, 16)),
    (re.compile(rb"6011|64[4-9]|65|62"), (16, 17, 18, 19)),
    (re.compile(rb"35(?:2[89]|[3-8])|220[0-4]|60"), (16,)),
    (re.compile(rb"2131|1800"), (15,)),
    (re.compile(rb"50|5[6-8]|6[37]"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
_CARD_WORDS = re.compile(
    rb"\b(?:credit|debit|card|cards|visa|master ?card|amex|american express|maestro|discover|diners|jcb|cc|pan)"
    rb"(?![A-Za-z])[^0-9]{0,32}\Z",
    re.IGNORECASE,
)
_EXPECTED = frozenset([15, 16])

_SSN = re.compile(rb"(?!000|666|9)[0-9]{3}([- ]?)(?!00)[0-9]{2}\1(?!0000)[0-9]{4}\Z")
_SSN_WORDS = re.compile(rb"\b(?:ssn|social security)(?![A-Za-z])[^0-9]{0,32}\Z", re.IGNORECASE)
# Printed on cards and in advertisements.
_PUBLIC_SSN = frozenset([b"078051120", b"219099999", b"123456789", b"111111111"])

_FORM = re.compile(r"(\d+)([nac])")
_CLASSES = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
_IBANS = {
    country: re.compile("[A-Z]{2}[0-9]{2}" + "".join(f"{_CLASSES[kind]}{{{n}}}" for n, kind in _FORM.findall(form)))
    for country, form in IBAN_FORMS.items()
}

# Keys that say whose they are, in the form in which their issuers document them.
_KEYS = re.compile(
    rb"(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    rb"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"
    rb"|glpat-[A-Za-z0-9_-]{20,64}"
    rb"|xox[abeoprs]-[0-9A-Za-z-]{16,250}|xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-z0-9]+"  # Slack
    rb"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,250}|whsec_[A-Za-z0-9]{32,64}"  # Stripe
    rb"|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    rb"|sk-ant-[A-Za-z0-9_-]{20,250}|sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,250}|sk-[A-Za-z0-9]{32,64}"
    rb"|npm_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{34}|pypi-[A-Za-z0-9_-]{50,250}"
    rb"|dop_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"
)
_WEB_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]{10,})?")
_ASSIGNED = re.compile(
    rb"(?:secret|token|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|credentials?)"
    rb"[A-Za-z0-9_-]{0,16}[\"']?[ \t]*(?:=>|:=|[:=])[ \t]*[\"']?\Z",
    re.IGNORECASE,
)
_VALUE = re.compile(rb"[A-Za-z0-9/+_-]{20,128}={0,2}(?![A-Za-z0-9(.\[])")
_PLACEHOLDER = re.compile(rb"example|xxxx|\*\*\*|your|1234567890|abcdef|placeholder|redacted", re.IGNORECASE)
_FEWEST_BITS, _FEWEST_BITS_ASSIGNED = 2.8, 3.6


def card(window: bytes, start: int, end: int) -> Found | None:
    """0.95 behind a word for it (0.75 if the issuer is unknown), 0.8 in groups, 0.6 as 15 or 16 digits alone."""
    number = window[start:end]
    digits = number.replace(b" ", b"").replace(b"-", b"")
    if len(set(digits)) < 2 or _is_part(window, start, end):
        return None
    announced = _CARD_WORDS.search(window, 0, start)
    if not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS):
        return ("credit_card", start, end, 0.75) if announced and digits[:1] in b"3456" else None
    grouped = len(number) > len(digits)
    if not announced and not grouped and (len(digits) not in _EXPECTED or len(set(digits)) < 4):
        return None
    return "credit_card", start, end, 0.95 if announced else 0.8 if grouped else 0.6


def _is_part(window: bytes, start: int, end: int) -> bool:
    """Whether digits precede or follow behind a separator: a decimal, a table, a longer number."""
    before, behind = window[max(start - 2, 0) : start], window[end : end + 4]
    if before[-1:] in (b".", b"-", b"/", b"+", b"=", b",") and (before[:1].isalnum() or before[-1:] in (b"-", b".")):
        return True
    if len(before) == 2 and before[1:] == b" " and before[:1].isdigit():
        return True
    return (behind[:1] in (b".", b"-", b"/", b",") and behind[1:2].isalnum()) or (
        behind[:1] == b" " and behind[1:].isdigit()
    )


def iban(window: bytes, start: int, end: int) -> Found | None:
    """0.95: country, length, form and check digits are right."""
    text = window[start:end].decode().replace(" ", "").upper()
    return ("iban", start, end, 0.95) if _IBANS[text[:2]].fullmatch(text) else None


def ssn(window: bytes, start: int, end: int) -> Found | None:
    """0.95 behind a word for it; 0.5 for three, two and four digits with "-" alone."""
    match = _SSN.match(window[start:end])
    if not match or _is_part(window, start, end):
        return None
    if window[start:end].replace(b"-", b"").replace(b" ", b"") in _PUBLIC_SSN:
        return None
    if _SSN_WORDS.search(window, 0, start):
        return "ssn", start, end, 0.95
    return ("ssn", start, end, 0.5) if match[1] == b"-" else None


def key(window: bytes, start: int, end: int) -> Found | None:
    """A key of a known kind or a JSON Web Token, 0.95."""
    match = _KEYS.match(window, start) or _WEB_TOKEN.match(window, start)
    if not match or match.end() < end or _bits(match[0]) < _FEWEST_BITS or _PLACEHOLDER.search(match[0]):
        return None
    return "api_key", start, match.end(), 0.95


def assigned(window: bytes, start: int, end: int) -> Found | None:
    """What is assigned to a name for secrets and looks random, 0.6."""
    match = _VALUE.match(window, start)
    if not match or match.end() < end or not _ASSIGNED.search(window, 0, start) or _KEYS.match(window, start):
        return None
    mixed = all(re.search(some, match[0]) for some in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    if not mixed or _bits(match[0]) < _FEWEST_BITS_ASSIGNED or _PLACEHOLDER.search(match[0]):
        return None
    return "api_key", start, match.end(), 0.6


def _bits(text: bytes) -> float:
    """Entropy of the bytes' frequencies, in bits per byte."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
