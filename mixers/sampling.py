"""How much of each source goes in: copies of every document, and a seeded sample for the rest.

`repeat: 2.5` writes every kept document twice and half of them a third time; `repeat: 0.3` writes 30 % of them. Such
fractions are of documents, rounded to the nearest whole number, halves up.

`share: 0.2` asks that 20 % of the mix comes from the source. Shares add up to 1, and where one source has a share all
have. The size of the mix is `total` in `unit`: bytes (UTF-8) or tokens, both of the text as written, or documents. By
default it is the largest for which no document has to appear more often than the `max_repeat` of its source. It is
divided into whole numbers by the largest remainder; what is asked of a source beyond what it has is an error, never a
silent second epoch. Each source comes out within half a document of what was asked (the document at the border of the
sample).

Weights in a file, as optimisers of mixtures write them, are shares when divided by their sum. With `alpha` the shares
of sources that have none are in the proportions of size^alpha, size in `unit` after the rules: the sampling by
temperature of multilingual models, whose temperature is 1 / alpha (Arivazhagan et al. 2019, arXiv:1907.05019).

Which documents: those with the smallest keys, a hash of seed, source, id, shard name and line. So the sample depends
on the corpus and the seed only, and a larger sample holds every smaller one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from dolma.amounts import count_of, exact, share_out
from dolma.config import ALL_SHARES, MixConfig, SourceShare
from dolma.data import streams
from dolma.data.documents import Reading
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError, DataError, did_you_mean
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.seeds import derive_seed

_BIN_BITS = 16
_MOST_BINS = 1 << 22
_MILLION = 1_000_000
_MOST_WEIGHTS = 64 << 20  # bytes of JSON

Unit = Literal["bytes", "documents", "tokens"]


def document_keys(
    ids: Sequence[str], sources: Sequence[str], lines: Sequence[int], *, shard: str, seed: int
) -> npt.NDArray[np.uint64]:
    """The place of each document in its source's sampling order; uint64, uniform."""
    seeds = {source: derive_seed(seed, "mix", source) for source in set(sources)}
    digest = xxhash.xxh3_64_intdigest
    keys = (
        digest(f"{id}\0{shard}\0{line}".encode("utf-8", "surrogatepass"), seeds[source])
        for id, source, line in zip(ids, sources, lines, strict=True)
    )
    return np.fromiter(keys, dtype=np.uint64, count=len(ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What the rules leave of one source."""

    documents: int
    bytes: int
    tokens: int = 0

    def amount(self, unit: Unit) -> int:
        """In this unit."""
        return {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens}[unit]

    @classmethod
    def sum(cls, parts: Iterable[Supply]) -> Supply:
        """All of these together."""
        of = [(part.documents, part.bytes, part.tokens) for part in parts]
        documents, n_bytes, tokens = map(sum, zip(*of, strict=True)) if of else (0, 0, 0)
        return cls(documents=documents, bytes=n_bytes, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What is asked of one source: `copies` of every document and a sample of `rest`, in `unit`; and its share.

    Where a source, or with "" the whole corpus, is divided into strata, it is of one `stratum`: its labels.
    """

    source: str
    stratum: tuple[str, ...] = ()
    supply: Supply
    unit: Unit
    copies: int
    rest: int
    share: float | None = None

    @property
    def asked(self) -> int:
        """All copies together, in `unit`."""
        return self.copies * self.supply.amount(self.unit) + self.rest


def check_sources(config: MixConfig) -> None:
    """Return when shares and total make sense by themselves; nothing is read.

    Raises:
        ConfigError: they do not.
    """
    if not config.has_shares:
        if config.total is not None and not config.strata:
            raise ConfigError(
                "is the size of a mix with shares, but no source has one\n"
                "  give `share` to a source, or `alpha`, `weights` or `strata`; or leave `total` out",
                path="$.mix.total",
            )
        for source, given in config.sources.items():
            if given.max_repeat is not None:
                raise ConfigError(
                    "`max_repeat` bounds what fills a share, and there is no `share`\n"
                    "  give `share` too, or `repeat`: how often each document appears",
                    path=f"$.mix.sources.{source}",
                )
        return
    for source, given in config.sources.items():
        if given.share is None and config.alpha is None:
            raise ConfigError(
                "has no share, but other sources have\n  give it one, so that all add up to 1",
                path=f"$.mix.sources.{source}",
            )
        if given.repeat != 1:
            raise ConfigError(
                "`share` and `repeat` both say how much goes in\n"
                "  give one of them; `max_repeat` is how often a document may appear to fill a share",
                path=f"$.mix.sources.{source}",
            )
    total = math.fsum(given.share or 0.0 for given in config.sources.values())
    if total > 1 + ALL_SHARES or (config.alpha is None and abs(total - 1) > ALL_SHARES):
        expected = "at most 1" if config.alpha is not None else "1"
        raise ConfigError(f"the shares add up to {total:.10g}, expected {expected}", path="$.mix.sources")


def with_weights(config: MixConfig) -> MixConfig:
    """The mix with shares in place of the file of weights that it may name.

    Raises:
        ConfigError: there is no such file, it is no JSON object of numbers from 0 on, or sources have shares too.
    """
    if config.weights is None:
        return config
    if config.alpha is not None:
        raise ConfigError("says the shares, as `weights` does\n  give one of them", path="$.mix.alpha")
    path, shown = "$.mix.weights", printable(config.weights)
    try:
        given = decode_json(streams.read_bytes(config.weights, limit=_MOST_WEIGHTS), dict[str, float])
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {shown}\n  give the JSON that the optimiser wrote", path=path) from error
    except (msgspec.DecodeError, DataError) as error:
        raise ConfigError(
            f'{shown} has no weights: {printable(error)}\n  expected one JSON object: {{"web": 0.7, "code": 0.3}}',
            path=path,
        ) from error
    total = math.fsum(given.values())
    if not 0 < total < math.inf or any(not weight >= 0 for weight in given.values()):
        raise ConfigError(
            f"the weights in {shown} add up to {total:g}, expected numbers from 0 on, not all 0", path=path
        )
    for source, of in config.sources.items():
        if of.share is not None or source not in given:
            which = "has a share, and a weight too" if of.share is not None else f"has no weight in {shown}"
            raise ConfigError(f"{which}\n  say it at one place: here or in `weights`", path=f"$.mix.sources.{source}")
    sources = {
        source: SourceShare(share=weight / total, max_repeat=config.sources.get(source, SourceShare()).max_repeat)
        for source, weight in given.items()
    }
    return msgspec.structs.replace(config, sources=sources, weights=None)


def check_seen(config: MixConfig, seen: Iterable[str], *, limit: int | None = None) -> None:
    """Return when every source of the recipe is among those that were seen, in the first `limit` documents.

    Raises:
        ConfigError: one is not; names the nearest.
    """
    seen = sorted(seen)
    for path, source in config.named_sources.items():
        if source not in seen and limit is not None:
            key = "mix.rules" if path.startswith("$.mix.rules.") else "mix.sources"
            raise ConfigError(
                f"of the first {limit:,} documents, which `limit` leaves, none is of this source"
                f"\n  raise `limit`, or try it without sources: `--set {key}={{}}`",
                path=path,
            )
        if source not in seen:
            raise ConfigError(f"no document of the corpus is of this source\n  {did_you_mean(source, seen)}", path=path)


def check_shared(config: MixConfig, seen: Iterable[str]) -> None:
    """Return when each source that was seen has a share, if any has.

    Raises:
        ConfigError: one has none.
    """
    if not config.has_shares or config.alpha is not None:
        return
    for source in seen:
        if source not in config.sources:
            raise ConfigError(
                f"source {source!r} has no share, but other sources have\n"
                f"  give it one, or leave it out with `{printable(source)}: {{share: 0}}`",
                path="$.mix.sources",
            )


def check_corpus(config: MixConfig, ledger: Ledger, reading: Reading) -> None:
    """Return when a corpus of which this is the account could fill the mix if no rule dropped anything.

    Raises:
        ConfigError: a source is not there, has no share where others have, or is too small.
    """
    config = with_weights(config)
    if not config.named_sources:
        return
    taken = {source: account for source, account in ledger.accounts.items() if account.taken.documents}
    # What spans leave, what tokens are, and what is of which stratum, is not known yet.
    if config.spans or config.strata or config.unit == "tokens":
        check_seen(config, taken, limit=reading.limit)
        return
    supplies = {
        source: Supply(documents=account.taken.documents - account.failed, bytes=account.taken.bytes)
        for source, account in taken.items()
    }
    quotas(config, supplies, seen=taken, when="before the rules", limit=reading.limit)


def quotas(
    config: MixConfig,
    supplies: Mapping[str, Supply],
    *,
    seen: Iterable[str],
    when: str = "after the rules",
    limit: int | None = None,
    most: Mapping[str, int] | None = None,
    usual: Mapping[str, int] | None = None,
) -> dict[str, Quota]:
    """What is asked of each source that the corpus has.

    `supplies` is what the rules leave, or what there was before them, as `when` says; `seen` are all sources of the
    corpus, or of its first `limit` documents, also those of which nothing is left. `most` is what a source can give
    that is divided further, `usual` what it gives where no total is asked for: whether that is enough the caller finds.

    Raises:
        ConfigError: a source is not there, has no share where others have, or cannot supply what is asked of it.
    """
    seen = sorted(seen)
    check_seen(config, seen, limit=limit)
    left = {source: supplies.get(source, Supply(documents=0, bytes=0)) for source in seen}
    if config.has_shares:
        return _by_share(config, left, when, most or {}, usual or {})
    return {source: _by_repeat(source, supply, config.sources.get(source)) for source, supply in left.items()}


def _by_repeat(source: str, supply: Supply, given: SourceShare | None) -> Quota:
    repeat = exact(1.0 if given is None else given.repeat)
    copies = math.floor(repeat)
    rest = math.floor((repeat - copies) * supply.documents + Fraction(1, 2))
    return Quota(source=source, supply=supply, unit="documents", copies=copies, rest=rest)


def _by_share(
    config: MixConfig, supplies: Mapping[str, Supply], when: str, divided: Mapping[str, int], usual: Mapping[str, int]
) -> dict[str, Quota]:
    check_shared(config, supplies)
    sources, unit = sorted(config.sources if config.alpha is None else supplies), config.unit
    shares = _shares(config, {source: supplies[source].amount(unit) for source in sources})
    most = [
        divided[source]
        if source in divided
        else math.floor(supplies[source].amount(unit) * exact(max_repeat_of(config, source)))
        for source in sources
    ]
    total = None if config.total is None else count_of(config.total, key="total")
    found = {}
    for source, share, has in zip(sources, shares, most, strict=True):
        if share and source not in divided and (not has or (total is not None and share * total > has)):
            raise _too_little(config, sources, source, supplies[source], when, shares=shares, most=most)
    if not any(shares):
        raise ConfigError(
            f"nothing of any source is left {when}\n  see what drops it: `--dry-run`", path="$.mix.sources"
        )
    largest = _attainable(shares, [usual.get(source, has) for source, has in zip(sources, most, strict=True)])
    parts = share_out(total or largest, shares)
    for source, share, asked in zip(sources, shares, parts, strict=True):
        amount = supplies[source].amount(unit)
        copies = asked // amount if amount else 0
        rest = asked - copies * amount
        found[source] = Quota(
            source=source, supply=supplies[source], unit=unit, copies=copies, rest=rest, share=float(share)
        )
    return found


def _shares(config: MixConfig, sizes: Mapping[str, int]) -> list[Fraction]:
    """The shares of these sources, which add up to 1: those given, and the rest in the proportions of size^alpha."""
    given = {source: config.sources[source].share for source in sizes if source in config.sources}
    found = {source: exact(share) for source, share in given.items() if share is not None}
    rest = max(1 - sum(found.values()), Fraction(0)) if config.alpha is not None else Fraction(0)
    weights = {
        source: exact(float(size) ** config.alpha) if size else Fraction(0)
        for source, size in sizes.items()
        if source not in found and config.alpha is not None
    }
    whole = sum(weights.values(), Fraction(0))
    shares = [found[source] if source in found else weights[source] * rest / (whole or 1) for source in sizes]
    return [share / (sum(shares) or 1) for share in shares]


def max_repeat_of(config: MixConfig, source: str) -> float:
    """How often a document of a source may appear at most."""
    given = config.sources.get(source)
    return config.max_repeat if given is None or given.max_repeat is None else given.max_repeat


def _attainable(shares: Sequence[Fraction], most: Sequence[int]) -> int:
    """The size of the largest mixture in which no source gives more than it has."""
    return min(math.floor(has / share) for share, has in zip(shares, most, strict=True) if share)


def _too_little(
    config: MixConfig,
    sources: Sequence[str],
    source: str,
    supply: Supply,
    when: str,
    *,
    shares: Sequence[Fraction],
    most: Sequence[int],
) -> ConfigError:
    unit, share = config.unit, shares[sources.index(source)]
    max_repeat = max_repeat_of(config, source)
    path = f"$.mix.sources.{source}.share"
    measured = f"{supply.tokens:,} tokens" if unit == "tokens" else f"{supply.bytes:,} bytes"
    has = f"{source!r} has {supply.documents:,} documents of {measured} {when}"
    total = None if config.total is None else count_of(config.total, key="total")
    nearest, size = nearest_mixture(shares, most, total=total)
    said = ", ".join(f"{printable(name)} {float(part):g}" for name, part in zip(sources, nearest, strict=True))
    there = f"\n  the nearest mixture that there is: {size:,} {unit}, with shares {said}" if size else ""
    amount = supply.amount(unit)
    if total is None or not amount:
        return ConfigError(f"is {float(share):g}, but {has}\n  set the share to 0{there}", path=path)
    asked = math.ceil(share * total)
    return ConfigError(
        f"{float(share):g} of {total:,} {unit} is {asked:,} {unit}, but {has}, "
        f"{math.floor(amount * exact(max_repeat)):,} {unit} at `max_repeat: {max_repeat:g}`\n"
        f"  lower `total` to {_attainable(shares, most):,}, lower the share, "
        f"or allow repetition: `max_repeat: {math.ceil(asked / amount * 100) / 100:g}`{there}",
        path=path,
    )


def nearest_mixture(
    shares: Sequence[Fraction], most: Sequence[int], *, total: int | None
) -> tuple[list[Fraction], int]:
    """Shares that there is enough for, in millionths, and the size of the mixture, at most `total`; 0: there is none.

    A source that has too little gives all, and the others make up for it in the proportions of their shares; where all
    give all that they have, the mixture becomes smaller.

    >>> shares, size = nearest_mixture([Fraction(7, 10), Fraction(3, 10)], [400, 9000], total=1000)
    >>> list(map(float, shares)), size
    ([0.4, 0.6], 1000)
    """
    amounts, free = [Fraction(0)] * len(shares), [i for i, share in enumerate(shares) if share and most[i]]
    left = Fraction(total if total is not None else sum(most))
    short = free
    while short:
        whole = sum(shares[i] for i in free)
        for i in free:
            amounts[i] = left * shares[i] / whole
        short = [i for i in free if amounts[i] > most[i] and total is not None]
        for i in short:
            amounts[i] = Fraction(most[i])
            left -= most[i]
            free.remove(i)
    if not any(amounts):
        return [Fraction(0)] * len(shares), 0
    parts = [math.floor(amount * _MILLION / sum(amounts)) for amount in amounts]
    of_rest = free or [i for i, amount in enumerate(amounts) if amount]
    rest = share_out(_MILLION - sum(parts), [amounts[i] for i in of_rest])
    for i, more in zip(of_rest, rest, strict=True):
        parts[i] += more
    found = [Fraction(part, _MILLION) for part in parts]
    size = _attainable(found, most)
    return found, size if total is None else min(size, total)


# --- which documents -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Some kept documents of a shard; arrays of shape `(n_docs,)`.

    `sources` index into the names of sources, `quotas` into the list for `find_cuts`; without these both are the same.
    `n_bytes` and `n_tokens` are of the text as it would be written.
    """

    shard: str
    lines: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int32]
    n_bytes: npt.NDArray[np.int64]
    n_tokens: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    quotas: npt.NDArray[np.int32] | None = None

    @property
    def wanted(self) -> npt.NDArray[np.int32]:
        """The quota of each document."""
        return self.sources if self.quotas is None else self.quotas

    def amounts(self, unit: Unit) -> npt.NDArray[np.int64]:
        """What each document counts in this unit."""
        if unit == "documents":
            return np.ones_like(self.n_bytes)
        return self.n_bytes if unit == "bytes" else self.n_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How often a document is written: `copies`, and once more when `(key, shard, line)` is below the bound."""

    copies: int
    key: int = 0
    shard: str = ""
    line: int = 0

    def times(self, keys: npt.NDArray[np.uint64], lines: npt.NDArray[np.int64], *, shard: str) -> npt.NDArray[np.int64]:
        """How often each document of a shard is written; int64, shape `(n_docs,)`."""
        return _times([self], np.zeros(len(keys), np.int32), keys, lines, shard)


def times_of(found: Candidates, cuts: Sequence[Cut]) -> npt.NDArray[np.int64]:
    """How often each document is written; int64, shape `(n_docs,)`. There is a cut for each quota."""
    return _times(cuts, found.wanted, found.keys, found.lines, found.shard)


def _times(
    cuts: Sequence[Cut],
    of: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    lines: npt.NDArray[np.int64],
    shard: str,
) -> npt.NDArray[np.int64]:
    """The same of documents of a shard, each of which has a cut."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    bounds = np.array([cut.key for cut in cuts], dtype=np.uint64)[of]
    below = keys < bounds
    for i in np.flatnonzero(keys == bounds).tolist():
        cut = cuts[of[i]]
        below[i] = (shard, int(lines[i])) < (cut.shard, cut.line)
    return np.array([cut.copies for cut in cuts], dtype=np.int64)[of] + below


def find_cuts(
    wanted: Sequence[Quota], candidates: Callable[[], Iterable[Candidates]], *, bin_bits: int | None = None
) -> list[Cut]:
    """For each quota, all of one unit, the cut that comes nearest to what it asks.

    `candidates` is called twice and gives all documents each time, some at a time, or parts of them, which have the
    key, shard and line of their document and are counted with it; memory holds those, a histogram of
    `2**bin_bits` bins per quota (default: 2^22 bins in all, at most 2^16 each), and the documents of one bin per quota.
    """
    bins = _Bins(wanted, bin_bits or min(_BIN_BITS, (_MOST_BINS // max(len(wanted), 1)).bit_length() - 1))
    for piece in candidates():
        bins.add(piece)
    borders = [bins.border(i) for i in range(len(wanted))]
    inside: list[list[tuple[int, str, int, int]]] = [[] for _ in wanted]
    ends = np.array([-1 if border is None else border.bin for border in borders], dtype=np.int64)
    for piece in candidates():
        for i, document in bins.documents_in(piece, ends):
            inside[i].append(document)
    return [
        Cut(copies=quota.copies) if border is None else _cut(quota, border, _whole(sorted(inside[i])), bins)
        for i, (quota, border) in enumerate(zip(wanted, borders, strict=True))
    ]


def _whole(documents: Sequence[tuple[int, str, int, int]]) -> list[tuple[int, str, int, int]]:
    """Documents as `_Bins.documents_in` gives them, sorted, of which parts are added up."""
    return [
        (*place, sum(amount for *_, amount in parts))
        for place, parts in itertools.groupby(documents, key=lambda document: document[:3])
    ]


@dataclass(frozen=True, slots=True)
class _Border:
    """The bin of keys in which a sample ends, and how much lies in the bins before it."""

    bin: int
    before: int


class _Bins:
    """Per quota, how much lies in each range of keys."""

    def __init__(self, wanted: Sequence[Quota], bin_bits: int) -> None:
        self.wanted = wanted
        self.unit: Unit = wanted[0].unit if wanted else "documents"
        self.shift = np.uint64(64 - bin_bits)
        self.n_bins = 1 << bin_bits
        self.amounts = np.zeros((len(wanted), self.n_bins), np.int64)

    def bins_of(self, piece: Candidates) -> npt.NDArray[np.int64]:
        """The bin of each document; int64, shape `(n_docs,)`."""
        return (piece.keys >> self.shift).astype(np.int64)

    def add(self, piece: Candidates) -> None:
        np.add.at(self.amounts, (piece.wanted, self.bins_of(piece)), piece.amounts(self.unit))

    def border(self, i: int) -> _Border | None:
        """Where the sample of a quota ends; None when it has none."""
        if not self.wanted[i].rest:
            return None
        sums = np.cumsum(self.amounts[i])
        at = min(int(np.searchsorted(sums, math.ceil(self.wanted[i].rest))), self.n_bins - 1)
        return _Border(bin=at, before=int(sums[at] - self.amounts[i][at]))

    def documents_in(
        self, piece: Candidates, ends: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, tuple[int, str, int, int]]]:
        """Quota and `(key, shard, line, amount)` of documents in the bin where the sample of their quota ends."""
        if not len(piece.keys):
            return
        mine = np.flatnonzero(self.bins_of(piece) == ends[piece.wanted])
        columns = (piece.wanted, piece.keys, piece.lines, piece.amounts(self.unit))
        for i, key, line, amount in zip(*(column[mine].tolist() for column in columns), strict=True):
            yield i, (key, piece.shard, line, amount)


def _cut(quota: Quota, border: _Border, documents: list[tuple[int, str, int, int]], bins: _Bins) -> Cut:
    """The cut before the document with which the sample would be further from what is asked, not nearer."""
    amount = border.before
    for key, shard, line, more in documents:
        if more and abs(amount + more - quota.rest) >= abs(amount - quota.rest):
            return Cut(copies=quota.copies, key=key, shard=shard, line=line)
        amount += more
    if border.bin == bins.n_bins - 1:
        return Cut(copies=quota.copies + 1)
    return Cut(copies=quota.copies, key=(border.bin + 1) << int(bins.shift))
