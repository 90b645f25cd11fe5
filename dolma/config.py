"""Recipes: YAML and flags to frozen, typed structs. A default lives here and nowhere else.

An error names the file, the key's path and the nearest valid name. Unknown keys are errors. Reading a recipe imports
nothing heavy and touches no data.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union

import msgspec

from dolma.amounts import Amount, count_of
from dolma.dedupers.config import DedupeConfig
from dolma.errors import ConfigError, did_you_mean
from dolma.keys import about, keys_of
from dolma.names import check_as, check_field, check_key, check_name
from dolma.printable import printable
from dolma.recipe_file import Position, read_file
from dolma.training.config import TrainConfig, check_seed

MOST_PARTS = 100_000  # of a mix, each of them a file
MOST_COPIES = 1_000_000  # of a document, each of which is written
_KINDS_OF_RULES = ("keep", "drop", "spans", "strata")
ALL_SHARES = 1e-9  # by how much shares may miss 1
_MOST_BUCKETS = 1000  # of an attribute
_MOST_BINS = 100_000  # of a histogram, for each attribute and source

T = TypeVar("T")


class TaggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tagger: `use` is a built-in name, `module:attribute`, `path/to/file.py` or `path/to/file.py:attribute`."""

    use: Annotated[str, about("A name from `dolma list`, FILE.py, FILE.py:NAME or MODULE:NAME.")]
    name: Annotated[str | None, about("Name of the tagger in rules.", absent="the tagger's own name")] = None
    options: Annotated[dict[str, Any], about("Keyword arguments of the tagger.")] = {}


class TagConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measure documents."""

    taggers: Annotated[
        list[str | TaggerSpec],
        about("Tagger: a name from `dolma list`, FILE.py, FILE.py:NAME or MODULE:NAME.", metavar="NAME", names=True),
    ]
    attributes_format: Annotated[Literal["parquet", "dolma1"], about("Native, or the JSONL of Dolma 1.x.")] = "parquet"
    experiment: Annotated[
        str | None,
        about("First part of the keys of `--attributes-format dolma1`.", metavar="NAME", absent="the tagger's name"),
    ] = None
    max_document_bytes: Annotated[
        int | None, about("A longer text gets no values, and an error.", absent="no limit")
    ] = None
    max_seconds_per_document: Annotated[
        float, about("A tagger that takes longer gives no values, and an error; 0: no limit.", metavar="SECONDS")
    ] = 60.0
    on_tagger_error: Annotated[
        Literal["keep", "fail"],
        about("A document that a tagger fails on: kept, with an error for values; or the run stops."),
    ] = "keep"

    def __post_init__(self) -> None:
        if self.experiment is not None and self.attributes_format != "dolma1":
            raise ValueError(
                "`experiment` is a part of Dolma 1.x keys: it needs `attributes_format: dolma1`"
                "\n  where attributes go is `attributes`"
            )
        if self.experiment is not None:
            check_as("experiment", self.experiment, check_key)
        if not self.taggers:
            raise ValueError("`taggers` is empty, expected at least one name; see `dolma list`")
        if self.max_document_bytes is not None and self.max_document_bytes < 0:
            raise ValueError(f"`max_document_bytes` is {self.max_document_bytes}, expected 0 or more")
        if not 0 <= self.max_seconds_per_document < 1e9:
            raise ValueError(f"`max_seconds_per_document` is {self.max_seconds_per_document}, expected 0 or more")


class SpanEdit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replace or delete spans of the text, or keep them alone; `{}` in `replace` stands for the original slice."""

    attribute: Annotated[str, about("Which spans, such as `pii.email`.")]
    replace: Annotated[str, about("Replacement of a span; `{}` stands for the original text.")] = ""
    replace_field: Annotated[
        str | None, about("Field of the document whose value replaces a span, such as `metadata.mask`.")
    ] = None
    keep_only: Annotated[bool, about("The text becomes what the spans cover.")] = False
    lines: Annotated[bool, about("Spans stand for the whole lines that they touch, with their newline.")] = False
    min_score: Annotated[float | None, about("Lowest score of a span that is taken.")] = None
    max_score: Annotated[float | None, about("Score from which on spans are left aside.")] = None

    def __post_init__(self) -> None:
        if self.attribute.count(".") != 1:
            raise ValueError(f"`attribute` is {self.attribute!r}, expected `tagger.output`, such as `pii.email`")
        for key in ("min_score", "max_score"):
            if math.isnan(getattr(self, key) or 0):
                raise ValueError(f"`{key}` is nan, expected a number")
        if self.replace_field is not None:
            check_as("replace_field", self.replace_field, check_field)
        ways = [key for key in ("replace", "replace_field", "keep_only") if getattr(self, key)]
        ways += ["lines"] if self.lines and not self.keep_only else []
        if len(ways) > 1:
            raise ValueError(
                f"gives {' and '.join(f'`{way}`' for way in ways)}, which exclude each other"
                "\n  write two edits, or one of them"
            )


def _check_max_repeat(max_repeat: float | None) -> None:
    if max_repeat is not None and not 1 <= max_repeat <= MOST_COPIES:
        raise ValueError(f"`max_repeat` is {max_repeat:g}, expected 1 to {MOST_COPIES:,}")


class SourceShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of one source goes in: a `share` of the mix, or each document `repeat` times."""

    share: Annotated[float | None, about("Share of the mix, 0 to 1, in its `unit`.")] = None
    max_repeat: Annotated[
        float | None,
        about("How often a document may appear at most, to fill the share of its source.", absent="that of `mix`"),
    ] = None
    repeat: Annotated[float, about("How many times each kept document appears; the fraction is sampled.")] = 1.0

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"`share` is {self.share}, expected 0 to 1")
        _check_max_repeat(self.max_repeat)
        if not 0 <= self.repeat <= MOST_COPIES:
            raise ValueError(f"`repeat` is {self.repeat:g}, expected 0 to {MOST_COPIES:,}")
        if self.share is not None and self.repeat != 1:
            raise ValueError(
                "`share` and `repeat` both say how much goes in\n"
                "  give one of them; `max_repeat` is how often a document may appear to fill a share"
            )


class Holdout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Documents that are kept apart for validation, below `holdout/` of the mix."""

    share: Annotated[float, about("Share of the documents, 0 to below 1, that is held out.")] = 0.0
    per_source: Annotated[bool, about("Hold out this share of each source, not of all together.")] = True
    cluster: Annotated[
        list[str] | str, about("Attributes of clusters, such as near.cluster, which are held out whole or not at all.")
    ] = []
    ids: Annotated[
        str | None, about("Ids that are held out too: `holdout.jsonl` of an earlier mix.", metavar="FILE")
    ] = None

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"`share` is {self.share}, expected 0 to below 1")
        if not self.share and self.ids is None:
            raise ValueError("nothing is held out\n  give `share`, such as 0.01, or `ids`")

    @property
    def clusters(self) -> list[str]:
        """The attributes of clusters, however many."""
        return [self.cluster] if isinstance(self.cluster, str) else self.cluster


class RuleGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules that belong together; in a mapping each has a name, which stands for it in reports."""

    keep: Annotated[list[str] | dict[str, str], about("Conditions that every document must meet.", metavar="SQL")] = []
    drop: Annotated[list[str] | dict[str, str], about("Conditions that drop.", metavar="SQL")] = []
    sources: Annotated[
        list[str] | None, about("Sources whose documents these rules are about.", absent="all", names=True)
    ] = None

    def __post_init__(self) -> None:
        if not (self.keep or self.drop):
            raise ValueError("has no rules\n  give it `keep` or `drop`, or leave it out")
        if self.sources == []:
            raise ValueError("`sources` is empty, so the rules are about no document\n  name one, or leave the key out")
        named = [name for rules in (self.keep, self.drop) if isinstance(rules, dict) for name in rules]
        for name in named:
            check_as("name of a rule", name, check_name)
        if twice := next((name for name in named if named.count(name) > 1), None):
            raise ValueError(f"has two rules called {twice!r}\n  give one of them another name")


class FieldChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of the documents that are written otherwise than they were read; dots stand between keys."""

    drop: Annotated[list[str], about("Fields that are left out.", metavar="FIELD")] = []
    rename: Annotated[dict[str, str], about("Fields with another name, such as `metadata.url: url`.")] = {}

    def __post_init__(self) -> None:
        for name in (*self.drop, *self.rename, *self.rename.values()):
            check_as("fields", name, check_field)
        for names in ([*self.drop, *self.rename], [*self.rename, *self.rename.values()]):
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(
                    f"names the field {twice!r} twice\n  leave it out, or rename it; not both, and once each"
                )


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often documents appear by their quality: ((q - discard) / (1 - discard)) ^ power, scaled, at most `max`.

    `q` is the quantile of a document, 0 to 1; below `discard` it does not appear.
    """

    power: Annotated[float, about("How steep the curve is, from 0 on: 0 is flat above `discard`.")] = 1.0
    discard: Annotated[float, about("Quantile below which documents are left out, 0 to below 1.")] = 0.0
    max: Annotated[float, about("How often a document appears at most.")] = 7.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 100:
            raise ValueError(f"`power` is {self.power:g}, expected 0 to 100")
        if not 0 <= self.discard < 1:
            raise ValueError(f"`discard` is {self.discard:g}, expected 0 to below 1")
        if not 0 < self.max <= MOST_COPIES:
            raise ValueError(f"`max` is {self.max:g}, expected above 0, at most {MOST_COPIES:,}")


class Dimension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of an attribute, or buckets of its numbers, and how much of each goes into the mix."""

    attribute: Annotated[str, about("Attribute whose values are the strata, such as topic.label.")]
    borders: Annotated[
        list[float] | str | None,
        about(
            "Where one bucket of numbers ends and the next begins: numbers, or the file that `stat` writes.",
            absent="each value is a stratum",
        ),
    ] = None
    targets: Annotated[dict[str, float], about("Share of each stratum, by its value or the number of its bucket.")] = {}
    alpha: Annotated[
        float | None,
        about(
            "Strata without a target divide what is left by size^alpha.",
            absent="1 where there are no targets, else none",
        ),
    ] = None
    curve: Annotated[
        Curve | None, about("How often documents appear by their quality, in place of targets.", absent="none")
    ] = None
    sources: Annotated[list[str] | None, about("Sources that are divided so.", absent="all", names=True)] = None

    def __post_init__(self) -> None:
        borders = self.borders if isinstance(self.borders, list) else []
        if borders != sorted(set(borders)) or not all(map(math.isfinite, borders)) or self.borders == []:
            raise ValueError(f"`borders` is {self.borders}, expected rising numbers, such as [0.2, 0.5]")
        if odd := next((name for name, share in self.targets.items() if not 0 <= share <= 1), None):
            raise ValueError(f"`targets` gives {odd!r} {self.targets[odd]:g}, expected 0 to 1")
        if self.alpha is not None and not 0 <= self.alpha <= 10:
            raise ValueError(f"`alpha` is {self.alpha:g}, expected 0 to 10")
        total = math.fsum(self.targets.values())
        if self.targets and (total > 1 + ALL_SHARES or (self.alpha is None and abs(total - 1) > ALL_SHARES)):
            raise ValueError(
                f"`targets` add up to {total:.10g}, expected {'at most 1' if self.alpha is not None else '1'}"
                "\n  `alpha: 1` divides what is left among the other strata as they are"
            )
        if self.curve is not None and (self.targets or self.alpha is not None):
            raise ValueError("`curve` says how much of each bucket goes in\n  leave `targets` and `alpha` out")
        if self.curve is not None and not isinstance(self.borders, str):
            raise ValueError("`curve` needs quantiles\n  give `borders` a file that `dolma stat --borders` writes")
        if self.sources == []:
            raise ValueError("`sources` is empty, so that nothing is divided\n  name one, or leave the key out")


class MixConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decide what stays, as what, and how often."""

    keep: Annotated[list[str], about("Condition over attributes that every document must meet.", metavar="SQL")] = []
    drop: Annotated[list[str], about("Condition that drops.", metavar="SQL")] = []
    rules: Annotated[dict[str, RuleGroup], about("Groups of further rules, by name.")] = {}
    missing: Annotated[Literal["error", "keep", "drop"], about("Meaning of a condition that is NULL.")] = "error"
    spans: Annotated[list[SpanEdit], about("Edits of the text.")] = []
    fields: Annotated[FieldChanges, about("Fields that are left out or renamed.")] = FieldChanges()
    metadata: Annotated[
        dict[str, str], about("Attributes that are copied into `metadata`, by the name there: `lang: language.top`.")
    ] = {}
    sources: Annotated[dict[str, SourceShare], about("How much of each source goes in, by its name.")] = {}
    strata: Annotated[
        list[Dimension], about("Attributes by which the mix, or the share of each source, is divided further.")
    ] = []
    holdout: Annotated[Holdout | None, about("Documents that are held out for validation.")] = None
    weights: Annotated[
        str | None,
        about(
            "JSON of weights by source, as a mixture optimiser writes it; shares are in their proportions.",
            metavar="FILE",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        about("Shares of sources without one are in the proportions of size^alpha: 1 as they are, 0 equal parts."),
    ] = None
    max_repeat: Annotated[float, about("`max_repeat` of sources that give none.")] = 1.0
    unit: Annotated[Literal["bytes", "documents", "tokens"], about("What `total` and all shares count.")] = "bytes"
    total: Annotated[
        Amount | None,
        about("Size of a mix with shares, such as 500k, 30M, 1.5B or 1e9.", absent="the largest that there is"),
    ] = None
    tokenizer: Annotated[
        str | None,
        about("A tokenizer.json by which tokens are counted.", metavar="FILE", absent="that of `tokenize`"),
    ] = None
    token_count: Annotated[
        str | None,
        about("Attribute with the tokens of a text, such as tokens.tokens, taken where nothing is edited."),
    ] = None
    count_share: Annotated[
        float, about("Share of the documents whose tokens are counted; those of others are estimated by their bytes.")
    ] = 1.0
    min_length: Annotated[int, about("Code points that must be left after span edits.")] = 0
    attributes: Annotated[
        list[str] | None, about("Attribute sets that rules may name.", absent="all found", names=True)
    ] = None
    format: Annotated[
        str, about("Suffix of the document files: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, ...", metavar="SUFFIX")
    ] = ".jsonl.zst"
    dropped: Annotated[bool, about("Write dropped documents too, in `dropped/`, with their rules.")] = False
    shuffle: Annotated[bool, about("Documents in seeded random order across all files, or in corpus order.")] = False
    parts: Annotated[int | None, about("Files of documents that are written.", absent="one for each that is read")] = (
        None
    )
    part_bytes: Annotated[
        Amount | None, about("Bytes of text in a file, about, such as 500M; says how many there are.", absent="`parts`")
    ] = None
    allow_duplicate_inputs: Annotated[bool, about("Allow two input files with the same bytes.")] = False

    def __post_init__(self) -> None:
        for key in ("min_length",):
            if getattr(self, key) < 0:
                raise ValueError(f"`{key}` is {getattr(self, key)}, expected 0 or more")
        for name, attribute in self.metadata.items():
            check_as("metadata", name, check_field)
            if attribute.count(".") != 1:
                raise ValueError(f"`metadata` takes {attribute!r}, expected `tagger.output`, such as `length.words`")
        if self.total is not None:
            count_of(self.total, key="total")
        _check_max_repeat(self.max_repeat)
        if self.alpha is not None and not 0 <= self.alpha <= 10:
            raise ValueError(f"`alpha` is {self.alpha:g}, expected 0 to 10")
        if not 0 < self.count_share <= 1:
            raise ValueError(f"`count_share` is {self.count_share}, expected above 0, at most 1")
        for key in ("tokenizer", "token_count"):
            if getattr(self, key) is not None and self.unit != "tokens":
                raise ValueError(
                    f"`{key}` says how tokens are counted, and `unit` is {self.unit}\n  add `unit: tokens`"
                )
        if self.part_bytes is not None:
            count_of(self.part_bytes, key="part_bytes")
        if self.parts is not None and not 1 <= self.parts <= MOST_PARTS:
            raise ValueError(f"`parts` is {self.parts}, expected 1 to {MOST_PARTS:,}")
        if self.parts is not None and self.part_bytes is not None:
            raise ValueError("`parts` and `part_bytes` both say how many files there are\n  give one of them")
        if "/" in self.format or not self.format.startswith("."):
            raise ValueError(f"`format` is {self.format!r}, expected a suffix such as .jsonl.zst or .parquet")
        if self.strata and any(of.repeat != 1 for of in self.sources.values()):
            raise ValueError("`strata` and `repeat` of a source both say how much goes in\n  give one of them")
        if any(of.curve is not None for of in self.strata[:-1]):
            raise ValueError("`strata` has others behind one with a `curve`\n  let that be the last")
        if any(of.sources is not None for of in self.strata) and not self.has_shares:
            raise ValueError(
                "`strata` divide some sources alone, and sources have no shares"
                "\n  give them shares; `alpha: 1` gives each the part that it has of the corpus"
            )
        for name in self.rules:
            check_as("rules", name, check_name)
            if name in _KINDS_OF_RULES:
                raise ValueError(f"`rules` has a group {name!r}, which reports call other rules; give another name")

    @property
    def has_shares(self) -> bool:
        """Whether sources have shares of the mix."""
        given = any(of.share is not None for of in self.sources.values())
        return given or self.alpha is not None or self.weights is not None

    @property
    def is_sampled(self) -> bool:
        """Whether documents are drawn."""
        return bool(self.sources or self.strata) or self.has_shares or self.holdout is not None

    @property
    def reads_attributes(self) -> bool:
        """Whether anything of it names an attribute."""
        clusters = self.holdout is not None and self.holdout.clusters
        named = self.spans or self.metadata or self.token_count or self.strata or clusters
        return bool(self.keep or self.drop or self.rules or named)

    @property
    def named_sources(self) -> dict[str, str]:
        """Every source that is named, by the path of its key."""
        found = {f"$.mix.sources.{source}": source for source in self.sources}
        for name, group in self.rules.items():
            found |= {f"$.mix.rules.{name}.sources[{i}]": source for i, source in enumerate(group.sources or [])}
        for at, of in enumerate(self.strata):
            found |= {f"$.mix.strata[{at}].sources[{i}]": source for i, source in enumerate(of.sources or [])}
        return found


class TokenizeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encode documents into token shards."""

    tokenizer: Annotated[
        str, about("A Hugging Face tokenizer.json, its folder, or a name in Hugging Face's cache.", metavar="FILE")
    ]
    eos: Annotated[
        str | None,
        about("Token after each document.", metavar="TOKEN", absent="what the tokenizer, or a file beside it, says"),
    ] = None
    bos: Annotated[str | None, about("Token before each document.", metavar="TOKEN", absent="none")] = None
    dtype: Annotated[
        Literal["uint16", "uint32"] | None, about("Type of the ids.", absent="the smallest that holds every id")
    ] = None
    shuffle: Annotated[bool, about("Documents in seeded random order across all shards, or in corpus order.")] = True
    group_by: Annotated[
        Literal["source"] | None, about("Give each source shards of its own.", absent="all are mixed")
    ] = None
    max_tokens_per_shard: Annotated[int, about("Tokens that a shard may hold.")] = 2**28
    format: Annotated[Literal["dolma", "datatrove", "megatron", "mds", "parquet"], about("Whose shards they are.")] = (
        "dolma"
    )
    split_long_documents: Annotated[
        bool, about("Cut documents that are longer than a shard at words, a row for each part.")
    ] = False
    allow_special_tokens: Annotated[bool, about("Encode text that looks like a control token as one.")] = False
    strip: Annotated[bool, about("Remove white space at both ends of a text, as Dolma 1.x does.")] = False

    def __post_init__(self) -> None:
        if self.max_tokens_per_shard < 1:
            raise ValueError(f"`max_tokens_per_shard` is {self.max_tokens_per_shard}, expected at least 1")


class StatConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Count, and describe every attribute per source."""

    attributes: Annotated[
        list[str] | None, about("Attribute sets to describe.", metavar="NAME", absent="all found", names=True)
    ] = None
    bins: Annotated[int, about("Bars of a histogram.")] = 20
    quantiles: Annotated[tuple[float, ...], about("Quantiles of each attribute, 0 to 1.")] = (
        0.01,
        0.05,
        0.25,
        0.5,
        0.75,
        0.95,
        0.99,
    )
    borders: Annotated[
        list[str],
        about("Attribute and number of buckets with as many documents in each; to `borders.json`.", metavar="NAME=N"),
    ] = []
    borders_by: Annotated[
        str | None, about("Attribute, such as a topic, for each value of which buckets have borders of their own.")
    ] = None
    tokens: Annotated[str | None, about("Folder of token shards to count too.", metavar="DIR")] = None

    @property
    def buckets(self) -> dict[str, int]:
        """The number of buckets of each attribute of `borders`."""
        return {name: int(n) for name, _, n in (of.rpartition("=") for of in self.borders)}

    def __post_init__(self) -> None:
        for of in self.borders:
            name, _, n = of.rpartition("=")
            if name.count(".") != 1 or not n.isdecimal() or not 2 <= int(n) <= _MOST_BUCKETS:
                raise ValueError(
                    f"`borders` has {of!r}, expected an attribute and 2 to {_MOST_BUCKETS:,} buckets"
                    "\n  write quality.score=20"
                )
        if len(self.buckets) < len(self.borders):
            raise ValueError(f"`borders` has an attribute twice: {', '.join(self.borders)}\n  give it once")
        if self.borders_by is not None and not (self.borders and self.borders_by.count(".") == 1):
            raise ValueError(f"`borders_by` is {self.borders_by!r}, expected an attribute beside `borders`")
        if not 1 <= self.bins <= _MOST_BINS:
            raise ValueError(f"`bins` is {self.bins}, expected 1 to {_MOST_BINS:,}")
        odd = [q for q in self.quantiles if not 0 <= q <= 1]
        if odd:
            raise ValueError(f"`quantiles` has {odd[0]}, expected 0 to 1")


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a record keeps what; dotted paths reach into objects."""

    text: Annotated[str, about("Field of the text.", metavar="NAME")] = "text"
    id: Annotated[str, about("Field of the id.", metavar="NAME")] = "id"
    source: Annotated[str, about("Field of the source; dotted paths reach into objects.", metavar="NAME")] = "source"

    def __post_init__(self) -> None:
        for key in ("text", "id", "source"):
            check_as(key, getattr(self, key), check_field)


class Sections(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of each stage, by its name; None where it does not run."""

    tag: Annotated[TagConfig | None, about("Measure documents.")] = None
    dedupe: Annotated[
        list[DedupeConfig] | DedupeConfig | None, about("Find copies; one section, or a list of them.")
    ] = None
    mix: Annotated[MixConfig | None, about("Decide what stays, as what, and how often.")] = None
    tokenize: Annotated[TokenizeConfig | None, about("Encode documents into token shards.")] = None
    train: Annotated[TrainConfig | None, about("Train a model on token shards.")] = None
    stat: Annotated[StatConfig | None, about("Count, and describe every attribute per source.")] = None

    @property
    def given(self) -> dict[str, Any]:
        """The sections that are there, by name, in the order in which they run."""
        found = {name: getattr(self, name) for name in Sections.__struct_fields__}
        return {name: section for name, section in found.items() if section is not None}

    @property
    def dedupes(self) -> list[DedupeConfig]:
        """The dedupe sections, however many."""
        if self.dedupe is None:
            return []
        return self.dedupe if isinstance(self.dedupe, list) else [self.dedupe]

    def check_dedupes(self) -> None:
        """Return when no two of them have one name.

        Raises:
            ValueError: two have.
        """
        names = [config.name for config in self.dedupes]
        if len(set(names)) < len(names):
            raise ValueError(f"two `dedupe` sections are called {max(names, key=names.count)!r}; give each a `name`")


def config_of(stage: str) -> type[msgspec.Struct]:
    """The settings of one stage, by its name.

    >>> config_of("dedupe").__name__
    'DedupeConfig'
    """
    options = _options(typing.get_type_hints(Sections)[stage])
    return next(option for option in options if _is_struct(option))


class NamedStage(Sections, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of a recipe's `stages`: one section, and what it reads, by the names of other stages, patterns or folders."""

    documents: Annotated[
        list[str] | str | None,
        about(
            "Stages or patterns whose documents it reads.",
            absent="the recipe's; of `tokenize` those of the mix, if any",
        ),
    ] = None
    attributes: Annotated[
        list[str] | str | None,
        about(
            "Stages or folders whose attributes it reads.", absent="those of every stage that measures these documents"
        ),
    ] = None
    tokens: Annotated[
        list[str] | str | None,
        about("Stages or folders whose tokens `train` and `stat` read.", absent="those of `tokenize`, if any"),
    ] = None

    def __post_init__(self) -> None:
        if len(self.given) != 1:
            names = ", ".join(Sections.__struct_fields__)
            raise ValueError(
                f"a stage has one of {names}; this has {' and '.join(self.given) or 'none'}\n  give one of them"
            )
        self.check_dedupes()


class Recipe(Sections, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole run: sections, which run in their order, or `stages` with names, which say what they read."""

    documents: Annotated[
        list[str], about("Document files: path, URL or pattern (`**` crosses folders).", metavar="PATTERN")
    ] = []
    exclude: Annotated[
        list[str],
        about("Files and folders that are no documents, by name or, with a slash, by path.", metavar="PATTERN"),
    ] = []
    limit: Annotated[
        int | None, about("Documents to read, the first ones in corpus order, as a run of its own.", absent="all")
    ] = None
    takedown: Annotated[
        str | None,
        about(
            "List of documents that no stage reads, as `dolma takedown` writes it.",
            metavar="FILE",
            absent="<output>/takedown.jsonl, if it is there",
        ),
    ] = None
    output: Annotated[str | None, about("Folder for everything that a run writes.", metavar="DIR")] = None
    attributes: Annotated[
        str | None,
        about(
            "Folder of attributes.", metavar="DIR", absent="<output>/attributes, else beside each `documents` folder"
        ),
    ] = None
    seed: Annotated[int, about("Seed of all sampling.")] = 0
    workers: Annotated[int | None, about("Processes.", absent="as many as the machine and the input make useful")] = (
        None
    )
    executor: Annotated[Literal["local", "ray"], about("Where tasks run.")] = "local"
    address: Annotated[str | None, about("Ray cluster to join.", metavar="HOST:PORT", absent="start one")] = None
    on_error: Annotated[Literal["fail", "skip", "quarantine"], about("Action for an unusable record.")] = "fail"
    quarantine: Annotated[
        str | None,
        about("Folder that keeps the raw bytes of bad records.", metavar="DIR", absent="<output>/quarantine"),
    ] = None
    max_errors: Annotated[
        int, about("Records that may be left out, or that taggers may fail on, before the exit status is 4.")
    ] = 0
    invalid_unicode: Annotated[
        Literal["replace", "error"], about("Damaged text: U+FFFD and counted, or a bad record.")
    ] = "replace"
    max_line_bytes: Annotated[int, about("A longer record is a bad one; of JSONL it is never in memory.")] = 256 << 20
    fields: Annotated[Fields, about("Where a record keeps what.")] = Fields()
    stages: Annotated[dict[str, NamedStage], about("Stages by name, in place of the sections.")] = {}

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"`workers` is {self.workers}, expected at least 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` is {self.limit}, expected at least 1")
        for key in ("documents", "exclude", "takedown", "output", "attributes", "quarantine"):
            given = getattr(self, key)
            if given == "" or (isinstance(given, list) and "" in given):
                raise ValueError(
                    f"`{key}` has an empty path; a variable of the shell may have no value"
                    "\n  give a path, or leave the key out"
                )
        for key, least in (("max_errors", 0), ("max_line_bytes", 1)):
            if getattr(self, key) < least:
                raise ValueError(f"`{key}` is {getattr(self, key)}, expected at least {least}")
        check_seed(self.seed)
        self.check_dedupes()
        if self.stages and self.given:
            raise ValueError(
                f"has `stages` and, beside them, `{next(iter(self.given))}`; make that one of the stages, with a name"
            )


def read_recipe(path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a YAML file, with single keys (`"mix.missing"`) overridden.

    Raises:
        ConfigError: no such file, no YAML, or a key or value that does not fit.
    """
    values, places = read_file(path)
    if values is not None and not isinstance(values, dict):
        raise ConfigError(
            f"a recipe is a mapping of keys, this is a {type(values).__name__}"
            "\n  write `key: value` lines, as in configs/quickstart.yaml",
            file=path,
        )
    return make_recipe(values or {}, overrides, file=path, places=places)


def make_recipe(
    values: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    *,
    file: str = "",
    places: Mapping[str, Position] | None = None,
) -> Recipe:
    """The recipe of these nested values; `places` are theirs in the file, by path.

    >>> make_recipe({"seed": 3}, {"tag.taggers": ["length"]}).tag.taggers
    ['length']
    >>> make_recipe({"sead": 3})
    Traceback (most recent call last):
    dolma.errors.ConfigError: $.sead: unknown key
      did you mean 'seed'?
    """
    merged = _merged(values)
    for path, value in (overrides or {}).items():
        _set(merged, path.split("."), value, file)
    given = {path: place for path, place in (places or {}).items() if not _is_below(path, overrides or {})}
    try:
        return convert(merged, Recipe, file=file, places=given)
    except ConfigError as error:
        if file and _is_below(error.path, overrides or {}):  # its value is not the file's
            raise ConfigError(error.message, path=error.path) from error
        raise


def _is_below(path: str, keys: Iterable[str]) -> bool:
    return any(path == f"$.{key}" or path.startswith((f"$.{key}.", f"$.{key}[")) for key in keys)


def _merged(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _merged(item) for key, item in value.items()}
    return [_merged(item) for item in value] if isinstance(value, list) else value


def _set(values: dict[str, Any], keys: Sequence[str], value: Any, file: str) -> None:
    *parents, leaf = keys
    node: Any = values
    for i, key in enumerate(parents):
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if isinstance(node, list) and len(node) == 1:
            node = node[0]
        if not isinstance(node, dict):
            path = "$." + ".".join(keys[: i + 1])
            raise ConfigError(
                f"is a {type(node).__name__}, so `{leaf}` cannot be set in it by a flag"
                "\n  give the whole of it in the recipe",
                path=path,
                file=file,
            )
    node[leaf] = value


def convert(
    values: Any, kind: type[T], *, file: str = "", path: str = "$", places: Mapping[str, Position] | None = None
) -> T:
    """The values as `kind`; `places` are theirs in the file, by path.

    Raises:
        ConfigError: naming the key's path and, for an unknown key, the nearest valid one.
    """
    places = places or {}
    _check_keys(values, kind, path, file, places)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _refused(error, values, kind, path, file, places) from error


def _refused(
    error: msgspec.ValidationError, values: Any, kind: Any, path: str, file: str, places: Mapping[str, Position]
) -> ConfigError:
    """What msgspec says of a value, in words: what was expected, what was given, what to write."""
    message, _, at = str(error).partition(" - at `")
    below = at.rstrip("`").removeprefix("$")
    where = path + below
    struct = _struct_at(kind, below)
    if found := _TYPES.fullmatch(message):
        expected, got, value = found[1].split(" | "), found[2], _value_at(values, below)
        hint = _misread(expected, got, places.get(where)) or _as_expected(expected, value, struct)
        words = " or ".join(_WORDS.get(word, word) for word in expected if word != "null")
        return _wrong(f"expected {words}, got {_given(got, value)}\n  {hint}", where, file, places)
    if found := _MISSING.fullmatch(message):
        about_it = next((key.description for key in keys_of(struct) if key.name == found[1]), "") if struct else ""
        return _wrong(f"`{found[1]}` is missing\n  add the key `{found[1]}`: {about_it}", where, file, places)
    if (key := re.match(r"`(\w+)`(?! and| or)", message)) and struct is not None and key[1] in struct.__struct_fields__:
        where += f".{key[1]}"
        message += "" if "\n" in message else f"\n  {_left_out(struct, key[1])}"
    return _wrong(message, where, file, places)


def _left_out(struct: type[msgspec.Struct], name: str) -> str:
    """What to write for a key whose value is out of range: one that is expected, or nothing for the default."""
    default = next(field.default for field in msgspec.structs.fields(struct) if field.name == name)
    if isinstance(default, str | int | float) and not isinstance(default, bool):
        return f"write a value that is expected, or leave `{name}` out for {default!r}"
    return f"write a value that is expected, or leave `{name}` out"


def _wrong(message: str, path: str, file: str, places: Mapping[str, Position]) -> ConfigError:
    place = places.get(path)
    return ConfigError(message, path=path, file=f"{file}:{place.line}" if file and place and path != "$" else file)


_TYPES = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_STEPS = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_WORDS = {
    "array": "a list",
    "object": "a mapping",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "null": "nothing",
}
_READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing"}
_LONGEST_SHOWN = 100


def _value_at(values: Any, at: str) -> Any:
    """The value at a path of msgspec's; None where there is none."""
    for key, index in _STEPS.findall(at):
        try:
            values = values[key or int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _struct_at(kind: Any, at: str) -> Any:
    """The struct that a value at a path of msgspec's is to be; None where it is to be something else."""
    for key, _ in _STEPS.findall(at):
        options = [one for one in _options(kind) if (_is_struct(one) if key else typing.get_origin(one) is list)]
        if not options:
            return None
        kind = typing.get_type_hints(options[0]).get(key) if key else typing.get_args(options[0])[0]
    return next(filter(_is_struct, _options(kind)), None)


def _given(got: str, value: Any) -> str:
    """A value as a message says it: one that is short and plain as it is written."""
    shown = printable(json.dumps(value, ensure_ascii=False)) if isinstance(value, str | int | float) else ""
    if got not in ("str", *_READ_AS) or not 0 < len(shown) <= _LONGEST_SHOWN:
        return _WORDS.get(got, got)
    return {"str": f"the text {shown}", "bool": shown}.get(got, f"the number {shown}")


def _as_expected(expected: Sequence[str], value: Any, struct: Any) -> str:
    """What to write where a value of another type is given."""
    if "array" in expected:
        shown = json.dumps([value], ensure_ascii=False) if isinstance(value, str | int | float) else "[...]"
        return f"write a list: {printable(shown) if len(shown) <= _LONGEST_SHOWN else '[...]'}"
    if "object" in expected:
        keys = [key.name for key in keys_of(struct)] if struct else ["NAME"]
        more = f", also {', '.join(keys[1:])}" if 1 < len(keys) <= 8 else ""
        return f"write a mapping: `{{{keys[0]}: ...}}`{more}"
    examples = {"int": "a whole number, such as 10", "float": "a number, such as 0.5", "bool": "`true` or `false`"}
    return f"write {next((examples[word] for word in expected if word in examples), 'one text, in quotes')}"


def _misread(expected: Sequence[str], got: str, place: Position | None) -> str:
    """What to type where YAML has made another type of a value than the one that is meant."""
    text = place.text if place else None
    if place is not None and text is None:
        return ""
    if "str" in expected and got in _READ_AS:
        if text:
            return f'YAML reads `{text}` as {_READ_AS[got]}: quote it: "{text}"'
        words = "words such as `no` and `on`" if got == "bool" else "this"
        return f"YAML reads {words} as {_READ_AS[got]}: quote it"
    return ""


def check_strings(value: Any, kind: Any, *, path: str) -> None:
    """Return unless YAML has made something else of what is to be a string, in a value that converts itself.

    Raises:
        ConfigError: it has.
    """
    try:
        msgspec.convert(value, kind)
    except TypeError:
        return  # a type that msgspec does not know
    except msgspec.ValidationError as error:
        found = _TYPES.match(str(error))
        if found and _misread(found[1].split(" | "), found[2], None):
            raise _refused(error, value, kind, path, "", {}) from error


def _check_keys(value: Any, kind: Any, path: str, file: str, places: Mapping[str, Position]) -> None:
    """Refuse unknown keys and words before anything else: a misspelt key is not to be reported as something missing."""
    if isinstance(value, Mapping):
        struct = next((option for option in _options(kind) if _is_struct(option)), None)
        if struct is not None:
            hints = typing.get_type_hints(struct)
            for key, item in value.items():
                if key not in hints:
                    hint = _FOLDERS if (path, key) == ("$.train", "tokens") else _belongs(str(key), struct, path)
                    hint = hint or did_you_mean(str(key), hints)
                    raise _wrong(f"unknown key\n  {hint}", f"{path}.{key}", file, places)
                _check_keys(item, hints[key], f"{path}.{key}", file, places)
            return
        mapping = next((option for option in _options(kind) if typing.get_origin(option) is dict), None)
        for key, item in value.items() if mapping is not None else ():
            inner = typing.get_args(mapping)[1]
            # msgspec says "[...]" for the key of a mapping: so its values are looked at one by one.
            if inner is not Any:
                convert(item, inner, file=file, path=f"{path}.{key}", places=places)
    elif isinstance(value, list):
        sequence = next((option for option in _options(kind) if typing.get_origin(option) is list), None)
        for i, item in enumerate(value) if sequence is not None else ():
            _check_keys(item, typing.get_args(sequence)[0], f"{path}[{i}]", file, places)
    elif isinstance(value, str):
        options = [option for option in _options(kind) if option is not types.NoneType]
        words = [word for option in options if typing.get_origin(option) is Literal for word in typing.get_args(option)]
        only_words = all(typing.get_origin(option) is Literal for option in options)
        if only_words and value not in words:
            raise _wrong(f"no value {value!r} here; {did_you_mean(value, words)}", path, file, places)


_FOLDERS = "name the shards with `--tokens FOLDER`, or here as a source: `sources: {books: {tokens: FOLDER}}`"


def _belongs(key: str, struct: type[msgspec.Struct], path: str) -> str:
    """Where a key belongs that the sections below a struct have, and the struct has not; empty for any other key."""
    hints = typing.get_type_hints(struct)
    homes = [name for name in hints if (below := _struct_at(hints[name], "")) and key in below.__struct_fields__]
    if not homes:
        return ""
    where = " or ".join(f"`{name}`" for name in homes)
    paths = " or ".join(f"`{path}.{name}.{key}`".replace("$.", "") for name in homes)
    return f"`{key}` belongs under {where}: indent it there, or set {paths}"


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def dump_recipe(recipe: Recipe) -> bytes:
    """The resolved recipe as YAML: every key, defaults included; reads back to an equal recipe."""
    import yaml

    values = msgspec.to_builtins(recipe)
    sections = {name: values.pop(name) for name in Sections.__struct_fields__}
    named = {} if recipe.stages else sections
    for stage in values["stages"].values():
        for name in [name for name in sections if stage[name] is None]:
            del stage[name]
    return yaml.safe_dump(values | named, sort_keys=False, allow_unicode=True).encode()
