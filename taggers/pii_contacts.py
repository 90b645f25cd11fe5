"""Whether a candidate is an e-mail address, a telephone number, or the address of a machine; patterns of `pii`.

Each function looks at a few dozen bytes and gives the output's name, the span and the score; None if it is nothing.
"""

from __future__ import annotations

import ipaddress
import re

Found = tuple[str, int, int, float]

_EMAIL = re.compile(
    rb"[A-Za-z0-9_%+-]+(?:\.[A-Za-z0-9_%+-]+)*"
    rb"@(?P<domain>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?P<top>[A-Za-z]{2,24}))(?![A-Za-z0-9]|-[A-Za-z0-9])"
)
_NO_DOMAINS = frozenset(b"png jpg jpeg gif svg webp bmp ico pdf css js ts jsx tsx json html htm php py".split())
# Domains that can belong to nobody (RFC 2606, RFC 6761), and what is before and under them.
_RESERVED = tuple(b".example .example.com .example.net .example.org .test .invalid .localhost .local".split())

_EXTENSION = rb"(?: ?(?:x|ext\.?) ?[0-9]{1,5})?(?![A-Za-z0-9_])"
_PHONE = re.compile(
    rb"(?<![A-Za-z0-9_])(?<![0-9][./-])(?:(?:\+?1|001)[ .-]?)?"
    rb"(?:\([2-9][0-8][0-9]\)[ .-]?[2-9][0-9]{2}[ .-]"
    rb"|[2-9][0-8][0-9](?P<separator>[.-])[2-9][0-9]{2}(?P=separator)"
    rb"|(?<![0-9] )[2-9][0-8][0-9] [2-9][0-9]{2} (?=[0-9]{4}(?! [0-9])))"
    rb"[0-9]{4}(?![0-9])(?![./-][0-9])" + _EXTENSION
)
_PLUS = re.compile(rb"(\+[0-9](?:[ ./()-]{0,2}[0-9]){7,14})(?![0-9])(?![.,/-][0-9])" + _EXTENSION)
_COUNTRY = re.compile(
    rb"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    rb"|21[1-368]|2[2346][0-9]|25[0-8]|29[01789]|3[57][0-9]|38[0-35-79]|42[013]|5[09][0-9]|67[02-9]|68[0-9]|69[0-2]"
    rb"|85[02356]|8[78]0|88[1-368]|96[0-8]|97[0-79]|99[2-68]"
)
_SEPARATORS = re.compile(rb"[^0-9+]+")
_SINGLE = frozenset([b" ", b"-", b"/", b".", b"(", b")", b" (", b") ", b")-", b"-(", b")/"])

# Words that announce a telephone number, up to 32 bytes without a digit before it, or end a line behind it.
_STRONG = (
    r"(?:tele)?phones?|phone (?:no|number)|tel|téléphone|tél|telefon[oe]?|teléfono|tlf|telf|mobiles?|móvil|mobil|handy"
    r"|celular|cell(?:ular)?(?: ?phone)?|fax|telefax|whatsapp|sms|(?:desk|office|home|work)(?=:)"
    r"|тел(?:ефон)?|Тел(?:ефон)?|电话|電話|전화|هاتف"
)
_WEAK = r"call(?:ed|ing|s)?|dial(?:ed|ing)?|ring|text|reach(?:ed|able)?|contact|answer(?:ed|ing)?|messages?"
_BEHIND = rb"[ \t]?[-(,]? ?(?:office|mobile|cell|fax|home|work|phone|tel)\b"
_ANNOUNCED = re.compile(
    rf"(?<![A-Za-z0-9_])(?:(?P<strong>{_STRONG})|(?:{_WEAK}))(?![A-Za-z])[^0-9]{{0,32}}\Z".encode(), re.IGNORECASE
)
_DIRECTLY = re.compile(
    rf"(?<![A-Za-z0-9_])(?:{_STRONG})[ \t]*[.:#]?[ \t]*(?:no\.?|number)?[ \t]*[:(]?[ \t\n]*\Z".encode(), re.I
)
_NAMED_BEHIND = re.compile(_BEHIND, re.IGNORECASE)
# Groups of one kind of separator; "." is never mixed with others, but for a "/" in front.
_GROUPS = re.compile(
    rb"[0-9]{7,12}|[0-9]{1,5}[./][0-9]{2,8}(?:\.[0-9]{2,8})*"
    rb"|\(?[0-9]{1,5}\)?(?:(?: ?[-/] ?| |(?<=\))|(?=\()) ?\(?[0-9]{1,8}\)?)*"
)
_LONE = re.compile(rb"(?<![0-9])[0-9](?![0-9])")
_HEX_BEFORE, _HEX_AFTER = re.compile(rb"[0-9A-Fa-f]{2} \Z"), re.compile(rb" [0-9A-Fa-f]{2}\b")
# Five pairs, of which the first begins with 0 (France); an area code in parentheses; a British mobile telephone.
_FORMATS = re.compile(
    rb"0[1-9](?:(?P<between>[ .-])[0-9]{2})(?:(?P=between)[0-9]{2}){3}"
    rb"|\(0[1-9][0-9]{0,3}\) ?(?:[0-9]{3,4}[ -][0-9]{3,4}|[0-9]{6,8})"
    rb"|07[0-9]{3} [0-9]{3} ?[0-9]{3}"
)
# Small numbers in a row, which follow a word for calls as often.
_FEW = re.compile(rb"[1-9][0-9]?(?: [0-9]{1,2})+")
_YEAR = rb"(?:1[5-9]|20)[0-9]{2}"
_NO_PHONE = re.compile(
    rb"%s[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:[^0-9]|\Z)|[0-9]{1,2}[-/.][0-9]{1,2}[-/.]%s(?:[^0-9]|\Z)"  # dates
    rb"|%s ?[-/ ] ?%s\Z|[0-9]+\.[0-9]+\Z|[1-9][0-9]{0,2}(?: 000)+\Z|(?:19|20)[0-9]{6}\Z"
    rb"|[1-9][0-9]{0,2}(?:\.[0-9]{1,3}){3,}\Z" % ((_YEAR,) * 4)
)
_MONEY = frozenset([b"$", b"#", b"=", b"%", b"~", b"<", b"*", b"^", b"&", b"\xa3", b"\xac"])

_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IP = re.compile(
    rb"(?<![A-Za-z0-9_.])(?<![A-Za-z_][/-])(?!0\.|127\.|22[4-9]\.|2[345][0-9]\.)"
    rb"(?:%s\.){3}%s(?![A-Za-z0-9_])(?!\.[0-9])" % (_OCTET, _OCTET)
)
_VERSION = re.compile(
    (
        r"(?:(?<![A-Za-z0-9_])(?:v|ver|version|release|rev|revision|build|section|chapter|part|sección|seção|secção"
        r"|capítulo|abschnitt|kapitel|chapitre|sezione|capitolo|раздел|Раздел)|§)[.:]?(?:\s|\xc2\xa0){0,2}\Z"
    ).encode(),
    re.IGNORECASE,
)
_LONGEST_VERSION = 20  # bytes of a word for it, a full stop and two no-break spaces, with some to spare
_NETWORK_BEFORE = re.compile(
    rb"(?:\b(?:ip|address|addr|dns|nameservers?|servers?|hosts?|ping|route|subnet|gateway|via|dev)\b|://|@)[^0-9\n]{0,12}\Z",
    re.IGNORECASE,
)
_NETWORK_BEHIND = re.compile(rb":[0-9]{1,5}\b|/[0-9]{1,2}\b")
_PACKAGE = re.compile(rb"[-~+][0-9]{0,3}(?:[a-z~+]|[^.0-9a-z]|\Z)")
# Ranges of nobody in particular (RFC 1918, 3927, 5737, 6598).
_SHARED = re.compile(
    rb"10\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|169\.254\.|100\.(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\."
    rb"|192\.0\.2\.|198\.51\.100\.|203\.0\.113\."
)
_SMALL = re.compile(rb"(?:[12]?[0-9]\.){3}[12]?[0-9]\Z")
_HEADS_LINE = re.compile(rb"(?:\A|\n)[ \t]*(?:(?:[*-]|\xe2\x80\xa2)[ \t]+)?\Z")
_HEADING = re.compile(rb"\.?(?:[ \t]|\xc2\xa0)+[^\s0-9]")


def email(window: bytes, start: int, end: int) -> Found | None:
    """0.95; 0.6 in a domain that is reserved for examples."""
    at = window.index(b"@", start)
    doubled = window.rfind(b"..", start, at)
    start = doubled + 2 if doubled >= 0 else start
    while window[start] in b".-%+":
        start += 1
    match = _EMAIL.match(window, start, end)
    if not match or match["top"].lower() in _NO_DOMAINS:
        return None
    reserved = b".%b" % match["domain"].lower()
    return "email", match.start(), match.end(), 0.6 if reserved.endswith(_RESERVED) else 0.95


def north_american(window: bytes, start: int, end: int) -> Found | None:
    """0.85; 0.95 if a word announces it."""
    for match in _PHONE.finditer(window):
        if match.start() <= start < match.end():
            announced = _ANNOUNCED.search(window, 0, match.start())
            return "phone", match.start(), match.end(), 0.95 if announced else 0.85
    return None


def international(window: bytes, start: int, end: int) -> Found | None:
    """0.95, as a country code stands before it; 0.85 without separators."""
    match = _PLUS.match(window, start)
    if not match or window[start - 1 : start].isalnum() or window[max(start - 1, 0) : start] in (b"+", b"_", b"."):
        return None
    number = match[1]
    separators = _SEPARATORS.findall(number)
    digits = _SEPARATORS.sub(b"", number)[1:]
    country = _COUNTRY.match(digits)
    if not country or (country[0] == b"1" and len(digits) != 11) or (not separators and len(digits) < 10):
        return None
    if not number.startswith(b"+" + country[0]):
        return None  # cut in two
    if not _SINGLE.issuperset(separators) or (
        b"." in separators and (set(separators) != {b"."} or len(separators) < 2)
    ):
        return None
    if number.count(b")") > number.count(b"(") and window[max(start - 1, 0) : start] == b"(":
        start -= 1
    return "phone", start, match.end(), 0.95 if separators else 0.85


def national(window: bytes, start: int, end: int) -> Found | None:
    """0.85 directly behind a word for it, 0.75 near one, 0.6 for the format alone."""
    if window[max(start - 1, 0) : start] == b"(" and window.count(b")", start, end) > window.count(b"(", start, end):
        start -= 1
    before, number = window[max(start - 1, 0) : start], window[start:end]
    if before in _MONEY or window[end : end + 1] == b"%" or _NO_PHONE.match(number):
        return None
    if before in (b"-", b".", b"/", b",") and window[max(start - 2, 0) : start - 1].isalnum():
        return None
    if before == b"@" or (window[end : end + 1] == b"." and window[end + 1 : end + 2].isalpha()):
        return None  # the name of a host
    if number.count(b"(") != number.count(b")") or b"  " in number or len(_LONE.findall(number)) > 1:
        return None
    if any(match.start() < end and match.end() > start for match in _PHONE.finditer(window)):
        return None  # found as such
    directly = _DIRECTLY.search(window, 0, start)
    near = directly or _ANNOUNCED.search(window, 0, start) or _NAMED_BEHIND.match(window, end)
    grouped = not number.isdigit() and not _FEW.fullmatch(number)
    if near and _GROUPS.fullmatch(number) and (grouped or directly):
        return "phone", start, end, 0.85 if directly else 0.75
    alone = not _HEX_BEFORE.search(window, 0, start) and not _HEX_AFTER.match(window, end)
    if alone and _FORMATS.fullmatch(number) and not window[end : end + 2].strip(b" .-").isdigit():
        return "phone", start, end, 0.6
    return None


def ipv4(window: bytes, start: int, end: int) -> Found | None:
    """0.9; 0.6 in ranges that many networks share.

    If all four are below 30, as in releases and sections: 0.6 beside a sign of a network, else 0.4, or 0.3 where they
    number a section or package.
    """
    match = _IP.match(window, start)
    if not match or _VERSION.search(window, max(start - _LONGEST_VERSION, 0), start):
        return None
    shared = _SHARED.match(match[0])
    if not _SMALL.match(match[0]):
        return "ip", match.start(), match.end(), 0.6 if shared else 0.9
    numbered = window[max(start - 2, 0) : start] == b"\xc2\xa0"  # a no-break space, as behind "section" in any language
    heads = _HEADING.match(window, end) and _HEADS_LINE.search(window, 0, start)
    if heads or numbered or _PACKAGE.match(window, end):
        return "ip", match.start(), match.end(), 0.3
    network = shared or _NETWORK_BEHIND.match(window, end) or _NETWORK_BEFORE.search(window, 0, start)
    return "ip", match.start(), match.end(), 0.6 if network else 0.4


def colons(window: bytes, start: int, end: int) -> Found | None:
    """A MAC address with ":", 0.9, or an IPv6 address, 0.9 or, of a local range or for documentation, 0.6."""
    text = window[start:end]
    if window[end : end + 1] in (b".", b"-") and window[end + 1 : end + 2].isalnum():
        return None
    if start and window[start - 1 : start] in (b"-", b"."):
        return None
    groups = text.split(b":")
    if len(groups) == 6 and all(len(group) == 2 for group in groups):
        return _hardware(groups, start, end)
    if text.startswith(b":::") or text.endswith(b"::") or all(len(group) <= 2 for group in groups):
        return None
    try:
        address = ipaddress.IPv6Address(text.decode())
    except ValueError:
        return None
    first = int(address) >> 112
    full = len(groups) == 8 and all(groups)
    if (
        address.is_loopback
        or address.is_multicast
        or not (full or 0x2000 <= first < 0x4000 or 0xFC00 <= first < 0xFE00 or 0xFE80 <= first < 0xFEC0)
    ):
        return None
    if not any(byte in b"0123456789" for byte in text):
        return None
    shared = (not full and not 0x2000 <= first < 0x4000) or int(address) >> 96 == 0x20010DB8
    return "ip", start, end, 0.6 if shared else 0.9


def pairs(window: bytes, start: int, end: int) -> Found | None:
    """A MAC address with "-": 0.9."""
    return _hardware(window[start:end].split(b"-"), start, end)


def _hardware(groups: list[bytes], start: int, end: int) -> Found | None:
    """None for all zeros and for the broadcast address; 0.6 if all are decimal, as in a time."""
    if len({group.lower() for group in groups}) == 1:
        return None
    return "mac", start, end, 0.6 if b"".join(groups).isdigit() else 0.9
