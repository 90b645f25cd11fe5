"""Personal data and secrets, as exact spans of code points with a score.

A kernel finds the places that have the outline of one (`dolma/kernels/candidates.py`); a pattern then decides on a few
dozen bytes, so the time is linear in the text whatever it holds. Only ASCII digits and letters take part; any other
character, a Chinese one say, is a boundary. The score is how sure the form makes it, from 0.3 to 0.95; it is no
measured probability. Measured precision and recall: `benchmarks/pii.py` and its result in `benchmarks/results`.

- `email` (0.95; 0.6 in a domain reserved for examples): local part of 1 to 64 characters `[A-Za-z0-9._%+-]`, no two
  dots in a row; a domain of at least two labels, the last 2 to 24 letters and not the suffix of an image or script
  (`logo@2x.png`).
- `phone`, North American (0.85; 0.95 if announced): area code and exchange beginning with 2 to 9, `212-555-0100`,
  `212.555.0100`, `212 555 0100`, `(212) 555-0100`, with `1`, `+1` or `001` before and an extension (`x12`, `ext. 12`)
  after. Ten digits without separators are not taken unannounced: they are as often timestamps, ISBN-10 or record
  numbers. Nor is a row of numbers in a table, where digits precede or follow behind a space.
- `phone`, international (0.95; 0.85 without separators): `+`, a country code that has been assigned (ITU-T E.164), 8 to
  15 digits in all, with single spaces, `-`, `/`, `()`, or throughout `.`; at least ten digits if there is no separator,
  and exactly ten behind `+1`.
- `phone`, national: 7 to 12 digits in groups that a word in one of some languages announces ("phone", "Tel.", "call",
  "móvil", "电话", …; 0.75, or 0.85 directly behind it), without groups only directly behind such a word; unannounced
  the French five pairs, an area code with 0 in parentheses, and British mobile numbers (0.6). No dates, no decimals.
- `ip`, four numbers of 0 to 255 without leading zeros (0.9; 0.6 in ranges that many networks share or that are for
  documentation); not the fourth and fifth of a longer chain, not behind a letter (`v1.2.3.4`), a word for a version
  ("version 1.2.3.4") or `name-` and `name/`; not 0.*, 127.* (loopback), nor 224.* to 255.* (multicast, masks), which
  are nobody's. If all four are below 30, as in most numbers of releases and sections, 0.6 beside a word or sign of a
  network, else 0.4: of 40 such in real text 15 were addresses.
- `ip`, IPv6 (RFC 4291; 0.9, local and documentation ranges 0.6): eight groups, or with `::` global, unique local or
  link-local; no loopback, no multicast, no bare prefix (`2001:db8::/32`).
- `mac` (0.9): six pairs of hexadecimal digits with ":" or "-" throughout; not six equal ones.
- `credit_card` (ISO/IEC 7812; 0.95 behind a word for it, 0.8 in groups, 0.6 bare): the Luhn test, an issuer's first
  digits and length; behind a word also digits of no issuer that is known here (0.75). Bare and unannounced only with 15
  or 16 digits.
- `iban` (ISO 13616; 0.95): length and form of the country, check digits.
- `ssn`, American (0.95 behind "SSN" or "social security"; 0.5 otherwise, then with "-"): areas and groups that are
  issued; not the numbers that were printed in advertisements.
- `api_key` (0.95): AWS, GitHub, GitLab, Slack, Stripe, Google, OpenAI, Anthropic, npm, PyPI, Hugging Face,
  DigitalOcean, Shopify, by prefix and length, and JSON Web Tokens, with at least 2.8 bits of entropy per byte; 0.6 for
  what is assigned to a name for secrets, has letters of both cases and digits, and at least 3.6 bits. No placeholders.
- `private_key` (0.95): a PEM block (RFC 7468) or OpenPGP's, from its first line to its last; 0.6 without a last line,
  then as far as base64 goes.

Cost: about 500 MB/s of mixed text on one core of a 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, Output, Spans, spans_column
from dolma.errors import ConfigError, did_you_mean
from dolma.kernels import candidates as kinds
from dolma.kernels.candidates import find_candidates
from dolma.kernels.positions import positions_of
from dolma.kernels.views import Int64, code_points_at
from dolma.taggers import pii_accounts as accounts
from dolma.taggers import pii_contacts as contacts

_BEFORE, _AFTER, _AFTER_TOKEN = 64, 24, 4096

TYPES: dict[str, Output] = {
    "email": Spans("e-mail addresses", range="0.5-0.95"),
    "phone": Spans("telephone numbers, North American, international or announced by a word", range="0.5-0.95"),
    "ip": Spans("IPv4 and IPv6 addresses, without loopback, multicast and masks", range="0.3-0.95"),
    "mac": Spans("hardware addresses", range="0.5-0.95"),
    "credit_card": Spans("card numbers that pass the Luhn test", range="0.5-0.95"),
    "iban": Spans("international bank account numbers with right check digits", range="0.5-0.95"),
    "ssn": Spans("American social security numbers", range="0.5-0.95"),
    "api_key": Spans("keys and tokens of known services, JSON Web Tokens, assigned secrets", range="0.5-0.95"),
    "private_key": Spans("private keys in PEM", range="0.5-0.95"),
}

# What tells a key from a placeholder for one: an unbroken run of base64, as there is in the shortest.
_KEY_MATTER = re.compile(rb"[A-Za-z0-9+/=]{40}")
_KEY_LINE = b"PRIVATE KEY"
_KEY_BOUND = re.compile(rb"-----(?P<which>BEGIN|END) (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_BOUND = 80
_KEY_BODY = re.compile(rb"(?:[A-Za-z0-9+/=\s]+|\\[nr])*")

Place = tuple[int, int, int, float]


class Pii:
    """E-mail addresses, telephone, card, account and social security numbers, network addresses and secrets.

    >>> columns = Pii(types=["email", "iban"])(TextBatch.of(["Schön: a@b.de, GB82 WEST 1234 5698 7654 32"]))
    >>> columns["email"].to_pylist(), columns["iban"].to_pylist()
    ([[{'start': 7, 'end': 13, 'score': 0.95}]], [[{'start': 15, 'end': 42, 'score': 0.95}]])
    """

    name = "pii"
    version = 2
    outputs: Mapping[str, Output] = TYPES

    def __init__(self, *, types: Sequence[str] = tuple(TYPES), min_score: float = 0.5) -> None:
        """Look for these types, and leave out what scores below `min_score`.

        Raises:
            ConfigError: no such type, none at all, or a score that is not from 0 to 1.
        """
        if isinstance(types, str) or not types:
            raise ConfigError(f"pii: types={types!r}; expected a list of {', '.join(TYPES)}")
        for type in types:
            if type not in TYPES:
                raise ConfigError(f"pii: no type {type!r}; {did_you_mean(str(type), TYPES)}")
        if not isinstance(min_score, int | float) or not 0 <= min_score <= 1:
            raise ConfigError(f"pii: min_score={min_score!r}; expected a number from 0 to 1")
        self.outputs = {name: output for name, output in TYPES.items() if name in types}
        self.min_score = min_score
        self._kinds = _kinds_for(self.outputs)

    def __call__(self, batch: TextBatch) -> Columns:
        """One list of spans per document for each name in `outputs`, in batch order; spans ascend and never overlap."""
        found: dict[str, list[Place]] = {name: [] for name in self.outputs}
        for document, name, start, end, score in _confirmed(batch, self._kinds):
            if name in found and score >= self.min_score:
                found[name].append((document, start, end, score))
        if "private_key" in found:
            found["private_key"] = [place for place in _private_keys(batch) if place[3] >= self.min_score]
        return _columns(batch, {name: _apart(places) for name, places in found.items()})


def _confirmed(batch: TextBatch, wanted: frozenset[int]) -> Iterator[tuple[int, str, int, int, float]]:
    """Document, output, byte span and score of every candidate of these kinds that is what it looks like."""
    candidates = batch.view(find_candidates)
    some = np.flatnonzero(np.isin(candidates.kinds, list(wanted)))
    kind, document = candidates.kinds[some], candidates.documents[some]
    start, end = candidates.starts[some], candidates.ends[some]
    after = np.where(kind == kinds.TOKEN, _AFTER_TOKEN, _AFTER)
    window_starts = np.maximum(start - _BEFORE, batch.offsets[document])
    window_ends = np.minimum(end + after, batch.offsets[document + 1])
    columns = (kind, document, start, end, window_starts, window_ends)
    text = memoryview(batch.utf8)  # type: ignore[arg-type]
    taken, taken_by = -1, -1  # an account number or a secret has digits that are no telephone or card number
    for kind, document, start, end, first, last in zip(*(column.tolist() for column in columns), strict=True):
        if start < taken and kind != taken_by and kind in _NUMBERS:
            continue
        found = _CONFIRM[kind](bytes(text[first:last]), start - first, end - first)
        if found:
            name, begin, stop, score = found
            if kind in _TAKING:
                taken, taken_by = first + stop, kind
            yield document, name, first + begin, first + stop, score


def _number(window: bytes, start: int, end: int) -> contacts.Found | None:
    """A social security number or, if that is not announced, what a word announces as a telephone number."""
    social, phone = accounts.ssn(window, start, end), contacts.national(window, start, end)
    return phone if phone and (not social or phone[3] > social[3]) else social


_CONFIRM = {
    kinds.EMAIL: contacts.email,
    kinds.PHONE: contacts.north_american,
    kinds.PLUS: contacts.international,
    kinds.IPV4: contacts.ipv4,
    kinds.NUMBER: _number,
    kinds.CARD: accounts.card,
    kinds.IBAN: accounts.iban,
    kinds.TOKEN: accounts.key,
    kinds.ASSIGNED: accounts.assigned,
    kinds.PAIRS: contacts.pairs,
    kinds.COLONS: contacts.colons,
}
_TAKING = frozenset([kinds.IBAN, kinds.TOKEN, kinds.ASSIGNED])
_NUMBERS = frozenset([kinds.PHONE, kinds.NUMBER, kinds.CARD])
_MAY_BE = {
    "email": {kinds.EMAIL},
    "phone": {kinds.PHONE, kinds.PLUS, kinds.NUMBER},
    "ip": {kinds.IPV4, kinds.COLONS},
    "mac": {kinds.PAIRS, kinds.COLONS},
    "credit_card": {kinds.CARD},
    "iban": {kinds.IBAN},
    "ssn": {kinds.NUMBER},
    "api_key": {kinds.TOKEN, kinds.ASSIGNED},
}


def _kinds_for(types: Iterable[str]) -> frozenset[int]:
    """The kinds of candidates that may be of these types, and those whose digits these then are not."""
    wanted = frozenset(kind for type in types for kind in _MAY_BE.get(type, ()))
    return wanted | _TAKING if wanted & _NUMBERS else wanted


def _private_keys(batch: TextBatch) -> Iterator[Place]:
    """Where a private key begins, to where it ends; without an end, as far as base64 goes."""
    if not len(places := positions_of(batch.utf8, _KEY_LINE)):
        return
    text = batch.utf8.tobytes()
    opened: tuple[int, int, int] | None = None  # document, start, end of the first line
    for document, which, start, end in _key_bounds(text, places, batch):
        if opened:
            yield from _private_key(text, opened, end if which == b"END" and document == opened[0] else None, batch)
        opened = (document, start, end) if which == b"BEGIN" else None
    if opened:
        yield from _private_key(text, opened, None, batch)


def _key_bounds(text: bytes, places: Int64, batch: TextBatch) -> Iterator[tuple[int, bytes, int, int]]:
    """Document, kind, start and end of the first and last lines of keys, of which each holds one of the places."""
    for at in places.tolist():
        document = int(np.searchsorted(batch.offsets, at, side="right")) - 1
        first, last = int(batch.offsets[document]), int(batch.offsets[document + 1])
        dashes = text.rfind(b"-----", max(first, at - _LONGEST_BOUND), at)
        match = _KEY_BOUND.match(text, dashes, last) if dashes >= 0 else None
        if match:
            yield document, match["which"], match.start(), match.end()


def _private_key(text: bytes, opened: tuple[int, int, int], end: int | None, batch: TextBatch) -> Iterator[Place]:
    document, start, body = opened
    last = int(batch.offsets[document + 1])
    match = _KEY_BODY.match(text, body, last)
    stop = match.end() if match else body
    if not _KEY_MATTER.search(text, body, stop if end is None else end):
        return
    if end is not None:
        yield document, start, end, 0.95
    else:
        while stop > body and text[stop - 1 : stop].isspace():
            stop -= 1
        yield document, start, stop, 0.6


def _apart(places: list[Place]) -> list[Place]:
    """In text order, without those that overlap one that begins before."""
    kept: list[Place] = []
    for place in sorted(places):
        if not kept or place[1] >= kept[-1][2]:
            kept.append(place)
    return kept


def _columns(batch: TextBatch, found: Mapping[str, list[Place]]) -> Columns:
    """The places of each name, in code points, as Arrow columns with one list per document."""
    places = [place for some in found.values() for place in some]
    documents, bounds = np.array([p[0] for p in places], np.int64), np.array([p[1:3] for p in places], np.int64)
    documents, positions = documents.repeat(2), bounds.ravel()
    order = np.lexsort((positions, documents))
    points = np.empty_like(positions)
    points[order] = code_points_at(batch.utf8, batch.offsets, documents[order], positions[order])
    columns: Columns = {}
    first = 0
    for name, some in found.items():
        last = first + len(some)
        counts = np.bincount(documents[2 * first : 2 * last : 2], minlength=len(batch)).astype(np.int64)
        starts, ends = points[2 * first : 2 * last : 2], points[2 * first + 1 : 2 * last : 2]
        columns[name] = spans_column(counts, starts, ends, np.array([p[3] for p in some], np.float64))
        first = last
    return columns
