"""What there is to know of each tagger without running it: meaning, outputs, needs, assumptions, measured speed.

`dolma list` and docs/taggers.md are made of this. Of built-in taggers it stands in `catalogue.json`, so that listing
them imports none; `dolma/taggers/declared.py` writes that file.
"""

from __future__ import annotations

import functools
import importlib.resources
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import msgspec

from dolma.errors import ConfigError

ENTRY_POINTS = "dolma.taggers"
PACKAGE = f"{ENTRY_POINTS}."
_MOST_SHOWN, _FIRST_SHOWN = 60, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something a tagger cannot work without, and the command or option that provides it.

    `name` is the extra's (`presidio`), the path or URL of the model or list, or the metadata field (`metadata.url`);
    `others` are fields that do as well.
    """

    kind: Literal["extra", "model", "list", "metadata"]
    name: str
    get: str
    others: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The metadata fields of which one is needed."""
        return (self.name, *self.others)


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """What `benchmarks/taggers.py` has measured: MB of UTF-8 text per second by tagger, each alone, on one core.

    `floor` is the speed of reading the same documents without a tagger; a ratio to it says more than a speed does.
    """

    date: str
    machine: str
    corpus: str
    floor: float
    megabytes_per_second: dict[str, float]


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """How right a tagger is on labelled documents: `values` by what they are, shares from 0 to 1, of `n` items.

    `script` printed them, on `date`.
    """

    tagger: str
    script: str
    date: str
    documents: str
    n: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerEntry:
    """One tagger.

    `family` is the module it is defined in (`gopher`, `dolma1.lengths`), `at` its place, `outputs` one mapping per
    output with `name`, `kind`, `unit`, `range` and `meaning`; `problem` says why nothing more is known, else empty.
    `version` is given where it and the outputs are all that decides what is written, so that a run need not make it.
    """

    name: str
    family: str
    at: str
    meaning: str = ""
    languages: str = ""
    needs: tuple[Need, ...] = ()
    megabytes_per_second: float | None = None
    outputs: tuple[Mapping[str, str], ...] = ()
    version: int | None = None
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """As `dolma list --json` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The built-in taggers, by family, those of Dolma 1.x last; and what the module of each family says of it."""

    families: Mapping[str, str]
    taggers: tuple[TaggerEntry, ...]


@functools.cache
def built_in() -> Built:
    """What `catalogue.json` holds, and the measured speeds."""
    built = msgspec.json.decode(_packaged("catalogue.json"), type=Built)
    speed = speeds().megabytes_per_second
    return replace(built, taggers=tuple(replace(e, megabytes_per_second=speed.get(e.name)) for e in built.taggers))


@functools.cache
def speeds() -> Speeds:
    """The figures that are part of this package."""
    return msgspec.json.decode(_packaged("speeds.json"), type=Speeds)


@functools.cache
def accuracy() -> list[Accuracy]:
    """The figures on labelled documents that are part of this package."""
    return msgspec.json.decode(_packaged("accuracy.json"), type=list[Accuracy])


def _packaged(name: str) -> bytes:
    return (importlib.resources.files("dolma.taggers") / name).read_bytes()


def catalogue(names: Sequence[str] = ()) -> list[TaggerEntry]:
    """One entry per tagger; without names all of them, by family: those of this version first, then those of Dolma 1.x.

    Raises:
        ConfigError: a tagger that was asked for by name cannot be found or made.
    """
    known = {entry.name: entry for entry in built_in().taggers}
    if names:
        return [known[name] if name in known else _declared(name) for name in names]
    entries = list(known.values())
    for name, place in installed().items():
        if name not in known:
            try:
                entries.append(_declared(name))
            except ConfigError as error:
                family = family_of(place)
                entries.append(TaggerEntry(name=name, family=family, at=place, problem=str(error).split("\n")[0]))
    return by_family(entries)


def by_family(entries: Iterable[TaggerEntry]) -> list[TaggerEntry]:
    """In the order of the catalogue."""
    return sorted(entries, key=lambda entry: (entry.family.startswith("dolma1."), entry.family, entry.name))


def _declared(name: str) -> TaggerEntry:
    from dolma.taggers.declared import entry_of

    return entry_of(name)


def family_of(place: str) -> str:
    """The family of a tagger that is found there (`module:attribute`)."""
    module = place.partition(":")[0]
    return module.removeprefix(PACKAGE) if module.startswith(PACKAGE) else "others"


@functools.cache
def installed() -> dict[str, str]:
    """The taggers of other packages, by name; to read the metadata of all packages takes some time."""
    import importlib.metadata

    return {point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def manual() -> str:
    """All taggers as one Markdown page: per family what its module says, then each tagger with its outputs."""
    figures = speeds()
    lines = [
        "# Taggers",
        "",
        "Generated by `dolma list --markdown`, from what the taggers themselves declare. Taggers measure; rules decide"
        " ([mix](mix.md)). `name.output` is what a rule calls a value.",
        "",
        f"MB/s: UTF-8 text per second, each tagger alone, reading included, on one core of {figures.machine},"
        f" {figures.date}, {figures.corpus}; reading alone: {figures.floor:,.0f} MB/s. Ratios travel between machines,"
        " speeds do not.",
    ]
    built = built_in()
    for family, members in itertools.groupby(built.taggers, key=lambda entry: entry.family):
        lines += ["", f"## {family}", "", built.families[family]]
        for entry in members:
            lines += ["", f"### {entry.name}", "", *_facts(entry), "", *_outputs_table(entry)]
            lines += _accuracy_table([one for one in accuracy() if one.tagger == entry.name])
    return "\n".join(lines) + "\n"


def _facts(entry: TaggerEntry) -> list[str]:
    lines = [entry.meaning or entry.problem]
    if entry.languages:
        lines.append(f"Assumes: {entry.languages}.")
    lines += [f"Needs the {need.kind} `{need.name}`: {need.get}." for need in entry.needs]
    if entry.megabytes_per_second is not None:
        lines.append(f"{entry.megabytes_per_second:,.0f} MB/s.")
    return [f"{line}  " for line in lines[:-1]] + lines[-1:]


def _outputs_table(entry: TaggerEntry) -> list[str]:
    if not entry.outputs:
        return ["Its outputs depend on its model."]
    # Of the 176 languages of a model the first show what the others are like.
    shown = entry.outputs if len(entry.outputs) <= _MOST_SHOWN else entry.outputs[:_FIRST_SHOWN]
    rows = [
        f"| `{out['name']}` | {' '.join(filter(None, (out['kind'], out['unit'] and '(' + out['unit'] + ')')))} "
        f"| {_cell(out['range'])} | {_cell(out['meaning'])} |"
        for out in shown
    ]
    if len(shown) < len(entry.outputs):
        rows.append(f"| ... | | | {len(entry.outputs) - len(shown)} more, to `{entry.outputs[-1]['name']}` |")
    return ["| output | kind (unit) | range | meaning |", "| --- | --- | --- | --- |", *rows]


def _accuracy_table(found: Sequence[Accuracy]) -> list[str]:
    """A table per script, for what it prints has the same columns."""
    lines = []
    for (script, date), rows in itertools.groupby(found, key=lambda one: (one.script, one.date)):
        every = list(rows)
        names = list(every[0].values)
        lines += ["", f"On labelled documents, by `python -m {script}`, {date}:", ""]
        lines += [f"| documents | of | {' | '.join(names)} |", f"| --- | ---: |{' ---: |' * len(names)}"]
        for one in every:
            shares = " | ".join(f"{value:.3f}" for value in one.values.values())
            lines.append(f"| {_cell(one.documents)} | {one.n:,} | {shares} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
