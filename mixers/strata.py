"""Strata: the values of attributes, or buckets of them, as dimensions of a mix; how much of each goes in.

A mix has a list of dimensions. Each divides what the one before has: documents of a topic by their quality. Where
sources have shares, the share of each source is divided so; else all documents are, whatever source they are of. A
dimension divides an amount by `targets`, by size^alpha, or both; the last one may have a curve.

The curve (after Olmo 3, arXiv:2512.13961, which upsamples by a truncated power curve of the quality percentile, under
a cap, so that the sum meets the budget): a document of bucket `b` of `n` appears

    f(b) = min(max, scale * w(b)),   w(b) = n * integral from (b-1)/n to b/n of ((q - discard) / (1 - discard))^power

times on average; the integrand is 0 below `discard`. `scale` makes `sum of size(b) * f(b)` the amount that is
asked; where no amount is, the one by which the best bucket appears `max` times. So `f` never falls as quality rises.

Sizes and amounts are whole numbers of the mix's unit, shared out by the largest remainder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.amounts import count_of, exact, share_out
from dolma.config import Curve, Dimension, MixConfig
from dolma.data.batch import TextBatch
from dolma.data.borders import AttributeBorders, Bordered, labels_of, read_borders
from dolma.data.columns import kind_of
from dolma.errors import ConfigError, DataError, did_you_mean
from dolma.mixers.catalogue import Catalogue, Column
from dolma.mixers.rules import Rule
from dolma.mixers.sampling import Quota, Supply, Unit, max_repeat_of, nearest_mixture, quotas
from dolma.printable import printable

MISSING = "missing"
"""The stratum of documents that have no value, where `missing` is "keep"."""
MOST_CELLS = 100_000
_SHOWN = 12

Labels = tuple[str, ...]
Cell = tuple[str, Labels]
"""A source, and the labels of those dimensions that are about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A dimension with its columns and borders. Picklable."""

    path: str
    config: Dimension
    column: Column
    borders: AttributeBorders | None = None
    by: Column | None = None

    @property
    def name(self) -> str:
        """The attribute."""
        return ".".join(self.column)

    def is_about(self, source: str) -> bool:
        """Whether documents of this source are divided by it."""
        return self.config.sources is None or source in self.config.sources

    def labels(
        self, arrays: Mapping[str, Mapping[str, pa.Array]], divided: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int64], list[str]]:
        """For each document the place of its label in the list that comes second; int64, shape `(n_docs,)`.

        Raises:
            DataError: there are no borders for the value of `by` of a document that is `divided`.
        """
        if self.borders is None:
            return _coded(_of(arrays, self.column))
        values = _of(arrays, self.column).cast(pa.float64(), safe=False)
        numbers = values.to_numpy(zero_copy_only=False)
        known = ~np.isnan(numbers) & divided
        buckets = np.zeros(len(numbers), np.int64)
        codes, names = (np.zeros(len(numbers), np.int64), [""]) if self.by is None else _coded(_of(arrays, self.by))
        for code, label in enumerate(names):
            mine = known & (codes == code)
            if mine.any() and label not in self.borders.of:
                raise DataError(
                    f"no borders of {self.name} for documents whose {self.borders.by} is {label!r}: there are those of "
                    f"{labels_of(self.borders.of)}"
                    "\n  write borders of a corpus that has such documents, or drop these by a rule"
                )
            if mine.any():
                buckets[mine] = self.borders.buckets_of(numbers[mine], label)
        return buckets, [MISSING, *map(str, range(1, self.borders.buckets + 1))]


def _of(arrays: Mapping[str, Mapping[str, pa.Array]], column: Column) -> pa.Array:
    return arrays[column[0]][column[1]]


def _coded(values: pa.Array) -> tuple[npt.NDArray[np.int64], list[str]]:
    found = values.cast(pa.string()).dictionary_encode()
    names = found.dictionary.to_pylist()
    codes = found.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [*names, MISSING]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """All dimensions of a mix, in order. Picklable."""

    axes: tuple[Axis, ...]

    @property
    def columns(self) -> list[Column]:
        """What they read of each document."""
        return [column for axis in self.axes for column in (axis.column, axis.by) if column is not None]

    def rules(self) -> Iterator[Rule]:
        """That a value is there, for each attribute by which documents are divided."""
        for column in dict.fromkeys(self.columns):
            about = [axis for axis in self.axes if column in (axis.column, axis.by)]
            everywhere = any(axis.config.sources is None for axis in about)
            sources = tuple(dict.fromkeys(source for axis in about for source in axis.config.sources or ()))
            yield Rule(
                path=f"{about[0].path}.attribute",
                kind="strata",
                sql=".".join(column),
                columns=(column,),
                sources=None if everywhere else sources,
            )

    def of(self, source: str) -> list[Axis]:
        """Those by which a source is divided."""
        return [axis for axis in self.axes if axis.is_about(source)]


class Cells:
    """Numbers the combinations of source and labels in the order in which they appear in a piece."""

    def __init__(self, strata: Strata | None) -> None:
        self.strata = strata
        self.names: dict[Cell, int] = {}

    def codes(
        self, batch: TextBatch, arrays: Mapping[str, Mapping[str, pa.Array]], kept: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int32]:
        """The number of each document's cell, a true one of those that are kept; int32, shape `(n_docs,)`.

        Raises:
            DataError: there are no borders for a document, or more cells than can be.
        """
        sources = batch.sources
        names = list(dict.fromkeys(sources))
        places = {name: i for i, name in enumerate(names)}
        of_source = np.fromiter(map(places.__getitem__, sources), np.int64, len(sources))
        whole = of_source
        found: list[Cell] = [(name, ()) for name in names]
        for axis in () if self.strata is None else self.strata.axes:
            about = np.array([axis.is_about(name) for name in names], dtype=bool)
            try:
                codes, labels = axis.labels(arrays, kept & about[of_source])
            except DataError as error:
                raise DataError(error.message, file=batch.path) from error
            pairs, whole = np.unique(whole * (len(labels) + 1) + codes, return_inverse=True)
            cells = [(found[pair // (len(labels) + 1)], labels[pair % (len(labels) + 1)]) for pair in pairs.tolist()]
            found = [(source, (*of, label) if axis.is_about(source) else of) for (source, of), label in cells]
        numbers = np.array([self.names.setdefault(cell, len(self.names)) for cell in found], dtype=np.int32)
        if len(self.names) > MOST_CELLS:
            raise DataError(
                f"more than {MOST_CELLS:,} strata\n  divide numbers by `borders`; take an attribute of fewer values"
            )
        return numbers[whole]


def strata_of(config: MixConfig, catalogue: Catalogue) -> Strata | None:
    """The dimensions of this mix with their borders; None where there are none.

    Raises:
        ConfigError: there is no such attribute or file of borders, or they do not fit.
    """
    if not config.strata:
        return None
    axes = []
    for i, of in enumerate(config.strata):
        path = f"$.mix.strata[{i}]"
        column = _column(of.attribute, f"{path}.attribute", catalogue)
        kind = catalogue.type_of(column)
        if kind is not None:
            _check_kind(of, kind_of(kind), path)
        borders = _borders(of, path)
        by = None
        if borders is not None and borders.by is not None:
            by = _column(borders.by, f"{path}.borders", catalogue)
        if of.curve is not None and config.missing == "keep":
            raise ConfigError(
                "places documents by their quality, and `missing: keep` keeps those without one"
                "\n  say `missing: drop`, or leave it out",
                path=f"{path}.curve",
            )
        if borders is not None and (odd := next((name for name in of.targets if name not in _names(borders)), None)):
            raise ConfigError(
                f"there is no bucket {odd!r}\n  the buckets are 1 (the lowest) to {borders.buckets}",
                path=f"{path}.targets.{odd}",
            )
        axes.append(Axis(path=path, config=of, column=column, borders=borders, by=by))
    return Strata(axes=tuple(axes))


def _names(borders: AttributeBorders) -> set[str]:
    return {MISSING, *map(str, range(1, borders.buckets + 1))}


def _column(given: str, path: str, catalogue: Catalogue) -> Column:
    try:
        return catalogue.resolve(given.split("."))
    except ConfigError as error:
        raise ConfigError(error.message, path=path) from error


def _check_kind(of: Dimension, kind: str | None, path: str) -> None:
    if of.borders is None and kind not in ("text", "int", "bool"):
        raise ConfigError(
            f"{of.attribute!r} is {kind or 'of another type'}, whose values are no strata"
            f"\n  divide numbers by `borders: [0.2, 0.5]`, or by those of `dolma stat --borders {of.attribute}=20`",
            path=f"{path}.attribute",
        )
    if of.borders is not None and kind not in ("float", "int"):
        raise ConfigError(
            f"are of numbers, and {of.attribute!r} is {kind or 'of another type'}\n  leave them out",
            path=f"{path}.borders",
        )


def _borders(of: Dimension, path: str) -> AttributeBorders | None:
    if isinstance(of.borders, str):
        return read_borders(of.borders, of.attribute, key=f"{path}.borders")
    if of.borders is None:
        return None
    inline = Bordered(count=0, borders=of.borders)
    return AttributeBorders(attribute=of.attribute, buckets=len(of.borders) + 1, of={"": inline})


def identity_of(config: MixConfig) -> list[Any]:
    """What decides the strata: the settings, with the borders themselves in place of a file."""
    return [
        {**msgspec.to_builtins(of), "borders": msgspec.to_builtins(_borders(of, f"$.mix.strata[{i}]"))}
        for i, of in enumerate(config.strata)
    ]


# --- how much of each ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What is asked of each stratum, or source that is not divided, and which of them each cell fills."""

    wanted: list[Quota]
    of_cell: dict[Cell, int]


def allotment(
    config: MixConfig,
    strata: Strata | None,
    supplies: Mapping[Cell, Supply],
    *,
    seen: Iterable[str],
    limit: int | None = None,
) -> Allotment:
    """What is asked of each stratum of a corpus of which the rules have left `supplies`.

    Raises:
        ConfigError: a source or stratum is not there, has no share where others have, or cannot supply what is asked.
    """
    unit: Unit = config.unit
    of_source = {source: Supply.sum(of for (name, _), of in supplies.items() if name == source) for source in seen}
    if strata is None or not config.has_shares:
        found = list(quotas(config, of_source, seen=seen, limit=limit).values())
        if strata is None:
            return Allotment(wanted=found, of_cell=_cells_of_sources(supplies, found))
    divided = {source: _Whole.of(config, strata, supplies, source, unit) for source in _divided(config, strata, seen)}
    if not config.has_shares:
        return _allotted(divided, {"": divided[""].asked()}, supplies, [], unit)
    most = {source: of.most(natural=False) for source, of in divided.items()}
    usual = {source: of.most(natural=True) for source, of in divided.items()}
    found = list(quotas(config, of_source, seen=seen, limit=limit, most=most, usual=usual).values())
    asked = {quota.source: quota.asked for quota in found if quota.source in divided}
    return _allotted(divided, asked, supplies, [quota for quota in found if quota.source not in divided], unit)


def _divided(config: MixConfig, strata: Strata, seen: Iterable[str]) -> list[str]:
    """The sources that are divided one by one; "" stands for all together."""
    if not config.has_shares:
        return [""]
    without = {source for source, of in config.sources.items() if of.share == 0}
    return [source for source in sorted(seen) if strata.of(source) and source not in without]


def _cells_of_sources(supplies: Iterable[Cell], wanted: Sequence[Quota]) -> dict[Cell, int]:
    places = {quota.source: i for i, quota in enumerate(wanted)}
    return {cell: places[cell[0]] for cell in supplies}


def _allotted(
    divided: Mapping[str, _Whole],
    asked: Mapping[str, int],
    supplies: Mapping[Cell, Supply],
    whole: list[Quota],
    unit: Unit,
) -> Allotment:
    wanted = list(whole)
    places: dict[Cell, int] = {(quota.source, ()): i for i, quota in enumerate(whole)}
    for source, of in divided.items():
        parts = of.parts(asked[source])
        for labels, amount in parts.items():
            supply = of.supplies[labels]
            has = supply.amount(unit)
            places[source, labels] = len(wanted)
            copies = amount // has if has else 0
            wanted.append(
                Quota(
                    source=source,
                    stratum=labels,
                    supply=supply,
                    unit=unit,
                    copies=copies,
                    rest=amount - copies * has,
                    share=float(Fraction(amount, sum(asked.values()) or 1)),
                )
            )
    nowhere = len(wanted)  # cells of which the rules, or what is held out, leave no document

    def place(source: str, labels: Labels) -> int:
        whole = source if source in divided else ""
        return places.get((whole, labels) if whole in divided else (source, ()), nowhere)

    return Allotment(wanted=wanted, of_cell={cell: place(*cell) for cell in supplies})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """What is divided by one list of dimensions: a source, or all documents."""

    source: str
    axes: Sequence[Axis]
    supplies: dict[Labels, Supply]
    unit: Unit
    max_repeat: Fraction
    total: int | None

    @classmethod
    def of(
        cls,
        config: MixConfig,
        strata: Strata,
        supplies: Mapping[Cell, Supply],
        source: str,
        unit: Unit,
    ) -> _Whole:
        parts: dict[Labels, list[Supply]] = {}
        for (name, labels), supply in supplies.items():
            if source in ("", name) and supply.documents:
                parts.setdefault(labels, []).append(supply)
        return cls(
            source=source,
            axes=strata.axes if not source else strata.of(source),
            supplies={labels: Supply.sum(parts[labels]) for labels in sorted(parts)},
            unit=unit,
            max_repeat=exact(config.max_repeat if not source else max_repeat_of(config, source)),
            total=None if config.total is None else count_of(config.total, key="total"),
        )

    @property
    def _amounts(self) -> dict[Labels, int]:
        return {labels: supply.amount(self.unit) for labels, supply in self.supplies.items()}

    def asked(self) -> int:
        """The size of the mix, where no source has a share of it."""
        return self.total if self.total is not None else self.most(natural=True)

    def most(self, *, natural: bool) -> int:
        """The most that it gives in these proportions; `natural`: with the curve's best bucket just at its cap."""
        return _most(self.axes, self._amounts, self.max_repeat, natural=natural)

    def parts(self, asked: int) -> dict[Labels, int]:
        """What is asked of each stratum of it.

        Raises:
            ConfigError: one cannot supply that.
        """
        return self._parts(self.axes, self._amounts, asked, ())

    def _parts(
        self, axes: Sequence[Axis], amounts: Mapping[Labels, int], asked: int, before: Labels
    ) -> dict[Labels, int]:
        if not axes:
            return {before: asked}
        axis, parts = axes[0], _parts_of(amounts)
        if axis.config.curve is not None:
            return self._by_curve(
                axis, axis.config.curve, {label: sum(of.values()) for label, of in parts.items()}, asked, before
            )
        shares = _shares(axis, {label: sum(of.values()) for label, of in parts.items()})
        labels = list(shares)
        most = [_most(axes[1:], parts.get(label, {}), self.max_repeat, natural=False) for label in labels]
        for label, has in zip(labels, most, strict=True):
            if shares[label] and (not has or shares[label] * asked > has):
                raise self._too_little(axis, label, shares, most, asked, before)
        found: dict[Labels, int] = {}
        for label, part in zip(labels, share_out(asked, list(shares.values())), strict=True):
            if label in parts:
                found |= self._parts(axes[1:], parts[label], part, (*before, label))
        return found

    def _by_curve(
        self, axis: Axis, curve: Curve, sizes: Mapping[str, int], asked: int, before: Labels
    ) -> dict[Labels, int]:
        weights = _weights(axis, curve)
        labels = list(sizes)
        most = _most_of_curve(sizes, weights, curve, natural=False)
        if asked > most:
            raise ConfigError(
                f"asks {asked:,} {self.unit}{self._where(before)}, of which the buckets above `discard: "
                f"{curve.discard:g}` have {math.floor(most / exact(curve.max)):,}, {most:,} at `max: {curve.max:g}`\n"
                f"  {self._lower(most, asked)}raise `max`, or lower `discard`",
                path=f"{axis.path}.curve",
            )
        factors = curve_factors(
            [sizes[label] for label in labels], [weights[label] for label in labels], asked, exact(curve.max)
        )
        parts = share_out(asked, [factor * sizes[label] for factor, label in zip(factors, labels, strict=True)])
        return {(*before, label): part for label, part in zip(labels, parts or [0] * len(labels), strict=True)}

    def _too_little(
        self, axis: Axis, label: str, shares: Mapping[str, Fraction], most: Sequence[int], asked: int, before: Labels
    ) -> ConfigError:
        share, labels = shares[label], list(shares)
        path = f"{axis.path}.targets.{label}" if label in axis.config.targets else f"{axis.path}.alpha"
        documents = sum(of.documents for key, of in self.supplies.items() if key[: len(before) + 1] == (*before, label))
        nearest, size = nearest_mixture(list(shares.values()), most, total=asked)
        said = ", ".join(f"{printable(name)} {float(part):g}" for name, part in zip(labels, nearest, strict=True))
        there = f"\n  the nearest that there is: {size:,} {self.unit}, with targets {said}" if size else ""
        of = self._where(before)
        if not documents:
            known = [name for name, has in zip(labels, most, strict=True) if has]
            return ConfigError(
                f"is {float(share):g}, but no document{of} is of {label!r} after the rules"
                f"\n  set it to 0; {did_you_mean(label, known)}{there}",
                path=path,
            )
        has = most[labels.index(label)]
        need = math.ceil(share * asked)
        return ConfigError(
            f"{float(share):g} of {asked:,} {self.unit}{of} is {need:,} {self.unit}, but {label!r} has "
            f"{documents:,} documents after the rules, which give {has:,} {self.unit} at most\n"
            f"  {self._lower(has, need)}lower the target, or allow repetition: "
            f"`max_repeat: {math.ceil(need * self.max_repeat / has * 100) / 100 if has else 1:g}`{there}",
            path=path,
        )

    def _lower(self, has: int, need: int) -> str:
        return "" if self.total is None else f"lower `total` to {math.floor(Fraction(self.total * has, need or 1)):,}, "

    def _where(self, before: Labels) -> str:
        said = [*([repr(self.source)] if self.source else []), *map(repr, before)]
        return f" of {', '.join(said)}" if said else ""


def _parts_of(amounts: Mapping[Labels, int]) -> dict[str, dict[Labels, int]]:
    parts: dict[str, dict[Labels, int]] = {}
    for labels, amount in amounts.items():
        parts.setdefault(labels[0], {})[labels[1:]] = amount
    return parts


def _shares(axis: Axis, sizes: Mapping[str, int]) -> dict[str, Fraction]:
    """The share of each stratum that is there or has a target; they add up to 1.

    Raises:
        ConfigError: one has none, and there is no `alpha`.
    """
    targets = {label: exact(share) for label, share in axis.config.targets.items()}
    alpha = axis.config.alpha if targets or axis.config.alpha is not None else 1.0
    others = [label for label in sorted(sizes) if label not in targets]
    if alpha is None and others:
        listed = ", ".join(f"{printable(label)}: 0" for label in others[:_SHOWN])
        raise ConfigError(
            f"{axis.name} {', '.join(map(repr, others[:_SHOWN]))} {'has' if len(others) == 1 else 'have'} no target, "
            f"but others have\n  give one, leave them out (`{listed}`), or give them what is left: `alpha: 1`",
            path=f"{axis.path}.targets",
        )
    weights = {label: exact(float(sizes[label]) ** (alpha or 0.0)) if sizes[label] else Fraction(0) for label in others}
    left, whole = max(1 - sum(targets.values()), Fraction(0)) if others else Fraction(0), sum(weights.values())
    found = targets | {label: left * weight / (whole or 1) for label, weight in weights.items()}
    total = sum(found.values())
    return {label: found[label] / (total or 1) for label in sorted(found)}


def _most(axes: Sequence[Axis], amounts: Mapping[Labels, int], max_repeat: Fraction, *, natural: bool) -> int:
    """The most that documents of these strata give in the proportions that are asked."""
    if not axes:
        return math.floor(sum(amounts.values()) * max_repeat)
    axis, parts = axes[0], _parts_of(amounts)
    sizes = {label: sum(of.values()) for label, of in parts.items()}
    if axis.config.curve is not None:
        return _most_of_curve(sizes, _weights(axis, axis.config.curve), axis.config.curve, natural=natural)
    shares = _shares(axis, sizes)
    most = {label: _most(axes[1:], parts.get(label, {}), max_repeat, natural=natural) for label in shares}
    return min((math.floor(most[label] / share) for label, share in shares.items() if share), default=0)


def _most_of_curve(sizes: Mapping[str, int], weights: Mapping[str, Fraction], curve: Curve, *, natural: bool) -> int:
    cap, best = exact(curve.max), max(weights.values())
    factor = {label: (weights[label] / best if natural else Fraction(bool(weights[label]))) for label in sizes}
    return math.floor(sum(size * cap * factor[label] for label, size in sizes.items()))


def _weights(axis: Axis, curve: Curve) -> dict[str, Fraction]:
    assert axis.borders is not None
    return {str(i): weight for i, weight in enumerate(curve_weights(axis.borders.buckets, curve), 1)}


def curve_weights(buckets: int, curve: Curve) -> list[Fraction]:
    """The mean of ((q - discard) / (1 - discard))^power over each bucket's quantiles q, the lowest bucket first.

    >>> list(map(float, curve_weights(4, Curve(power=1, discard=0.5))))
    [0.0, 0.0, 0.25, 0.75]
    """
    power, discard = curve.power, curve.discard

    def integral(q: float) -> float:
        return max(q - discard, 0.0) ** (power + 1) / ((power + 1) * (1 - discard) ** power)

    steps = [integral(i / buckets) for i in range(buckets + 1)]
    found = [exact(max(steps[i + 1] - steps[i], 0.0)) * buckets for i in range(buckets)]
    return [max(found[: i + 1]) for i in range(buckets)]


def curve_factors(sizes: Sequence[int], weights: Sequence[Fraction], asked: int, cap: Fraction) -> list[Fraction]:
    """How often documents of each bucket appear: min(cap, scale * weight), so that all together are `asked`.

    `asked` is at most what buckets of a weight above 0 have at the cap.

    >>> list(map(float, curve_factors([10, 10], [Fraction(1, 4), Fraction(3, 4)], 30, Fraction(2))))
    [1.0, 2.0]
    """
    order = sorted((i for i, weight in enumerate(weights) if weight), key=lambda i: -weights[i])
    capped, rest = 0, sum((sizes[i] * weights[i] for i in order), Fraction(0))
    for at, i in enumerate(order):
        scale = (asked - cap * capped) / rest if rest else Fraction(0)
        if scale * weights[i] <= cap:
            return [
                Fraction(0) if not weight else cap if j in order[:at] else scale * weight
                for j, weight in enumerate(weights)
            ]
        capped += sizes[i]
        rest -= sizes[i] * weights[i]
    return [cap if weight else Fraction(0) for weight in weights]
