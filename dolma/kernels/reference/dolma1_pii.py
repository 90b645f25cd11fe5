"""`dolma.kernels.dolma1_pii` of one text, by regular expressions."""

from __future__ import annotations

import re

from dolma.kernels.dolma1_pii import EMAIL, IP, PHONE

_WINDOW, _LONGEST_HOST = 100, 253

_EMAIL = re.compile(r"(?<![^\s@])([^\s@]+)@([^\s@,?!;:)(]+)[.@,?!;:)(]?(?:\s|\Z)")
_PHONE = re.compile(r"(?:\A|\s+)\(?\d{3}\)?[-. ]*\d{3}[-. ]?\d{4}")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})"
_IP = re.compile(rf"(?<!\d)(?:{_OCTET}\.){{3}}{_OCTET}(?!\d)")
_VETO = re.compile("isbn|doi|#", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"[a-z0-9.-]*\.[a-z]{2,4}/", re.IGNORECASE | re.ASCII)

Match = tuple[int, int, int, int, bool]


def personal_data_1x(text: str) -> list[Match]:
    """Kind, start, end, start within the paragraph (code points), and doubt, ordered by kind, then start.

    >>> personal_data_1x("me: <a@b.de>, 1.2.3.4")
    [(0, 5, 11, 5, False), (2, 14, 21, 14, False)]
    """
    found = [(EMAIL, start, end, start, False) for start, end in _emails(text)]
    for match in _PHONE.finditer(text):
        start, end = match.span()
        newline = text.rfind("\n", start, end)
        host = _HOST.match(text[end : end + _LONGEST_HOST])
        found.append((PHONE, start, end, max(start, newline + 1), _vetoed(text, start, end) or host is not None))
    for match in _IP.finditer(text):
        found.append((IP, match.start(), match.end(), match.start(), _vetoed(text, *match.span())))
    return found


def _emails(text: str) -> list[tuple[int, int]]:
    found = []
    for at in (i for i, character in enumerate(text) if character == "@"):
        start = max(i for i in range(at + 1) if i == 0 or text[i - 1] == "@" or text[i - 1].isspace())
        match = _EMAIL.match(text, start)
        if not match:
            continue
        local = match[1].lstrip(".,?!;:)(<>[]{}\"'`") or match[1][-1]
        domain = match[2][0] + match[2][1:].rstrip(".<>[]{}\"'`")
        if local != "(" and "." in domain:
            found.append((at - len(local), at + 1 + len(domain)))
    return found


def _vetoed(text: str, start: int, end: int) -> bool:
    return _VETO.search(text[max(start - _WINDOW, 0) : end + _WINDOW]) is not None
