"""Settings of `dolma dedupe`: one struct for all methods. A key of some methods alone says of which.

A key that several methods take means the same in each, and is null where the method chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec

from dolma.keys import about, keys_of
from dolma.names import check_as, check_field, check_keep, check_key, check_set_name

_MOST_PARTS = 10_000
_MOST_HASHES = 32
_FINDERS = ("exact", "bloom", "minhash", "windows", "semantic")
_OF_COPIES = dict.fromkeys(("skip_empty", "min_length", "min_words"), _FINDERS) | {"keep": (*_FINDERS, "substring")}
"""Keys that each method takes that finds copies, and what these are."""


class DedupeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find copies; one of each cluster is kept."""

    method: Annotated[
        Literal["exact", "bloom", "minhash", "windows", "substring", "decontaminate", "semantic"],
        about(
            "Method: exact copies, those that a bloom filter of a fixed size knows, near-duplicates (minhash), "
            "repeated windows of sentences or paragraphs, repeated text (substring), items of benchmarks "
            "(decontaminate), or vectors that are near (semantic)."
        ),
    ] = "exact"
    by: Annotated[
        str,
        about(
            "Compared value: text, paragraphs, sentences (windows), both (bloom), a field such as metadata.url, or "
            "vectors such as embedding.vector (semantic).",
            metavar="KEY",
        ),
    ] = "text"
    name: Annotated[str, about("Name of the attribute set in rules.", metavar="NAME")] = "dedupe"
    keep: Annotated[
        str,
        about("Which copy stays: first, last, longest, shortest, none, max:FIELD or min:FIELD.", metavar="RULE"),
    ] = "first"
    max_removal: Annotated[
        float, about("Share of a source from which on so many duplicates are warned of, 0 to 1.")
    ] = 0.9
    skip_empty: Annotated[bool, about("Count no blank text as a copy.")] = True
    min_length: Annotated[int, about("Code points below which a text is nobody's copy.")] = 0
    min_words: Annotated[int, about("Words below which a text is nobody's copy.")] = 0
    normalize: Annotated[
        list[Literal["lower", "spaces", "punctuation", "digits", "accents", "nfc", "nfkc", "url"]] | None,
        about(
            "Normalization before that: lower, spaces, punctuation, digits, accents, nfc, nfkc; or url.",
            metavar="WORD",
            absent="nothing",
            names=True,
            of=("exact", "windows"),
        ),
    ] = None
    reference: Annotated[
        list[str] | None,
        about(
            "Documents that are never marked, only what is a copy of them: a pattern, as of `--documents`.",
            metavar="PATTERN",
            absent="none",
            of=("exact", "bloom", "minhash", "windows", "substring", "semantic"),
        ),
    ] = None
    scope: Annotated[
        Literal["all", "within-source", "across-sources"] | None,
        about(
            "Which copies count: all, those of one source, or those of a source other than the kept one's.",
            absent="all",
            of=("exact", "minhash", "windows", "substring", "semantic"),
        ),
    ] = None
    priority: Annotated[
        list[str] | None,
        about(
            "Sources whose documents are kept first, the first one before all; others come after them.",
            metavar="SOURCE",
            absent="all are alike",
            names=True,
            of=("exact", "minhash", "semantic"),
        ),
    ] = None
    index: Annotated[
        bool | None,
        about(
            "Whether an index is kept in the set, for a later `since`.",
            absent="no",
            of=("exact", "minhash", "windows"),
        ),
    ] = None
    since: Annotated[
        str | None,
        about(
            "Set with an index: what it holds comes first, and documents that it does not hold after that.",
            metavar="SET",
            absent="all documents are new",
            of=("exact", "minhash", "windows"),
        ),
    ] = None
    dialect: Annotated[
        Literal["datatrove", "text-dedup", "nemo", "dolma3"] | None,
        about(
            "A tool whose shingles, bands and threshold stand for what is not given.", absent="ours", of=("minhash",)
        ),
    ] = None
    threshold: Annotated[
        float | None,
        about(
            "Similarity from which on two documents are alike, or score from which on an item is there.",
            absent="0.8, 0.6 with decontaminate, or 0.95 with semantic",
            of=("minhash", "decontaminate", "semantic"),
        ),
    ] = None
    word_ngrams: Annotated[
        int | None,
        about(
            "Words of a shingle; bloom: of an n-gram.",
            absent="5; bloom looks up whole texts or paragraphs",
            of=("minhash", "bloom"),
        ),
    ] = None
    character_ngrams: Annotated[
        int | None,
        about("Characters of a shingle, in the place of words.", absent="shingles are of words", of=("minhash",)),
    ] = None
    permutations: Annotated[int | None, about("Most values of a signature.", absent="128", of=("minhash",))] = None
    recall: Annotated[
        float | None,
        about("Share of the pairs at the threshold that bands and rows have to find.", absent="0.95", of=("minhash",)),
    ] = None
    bands: Annotated[
        int | None, about("Bands of a signature; with `rows`.", absent="chosen for `recall`", of=("minhash",))
    ] = None
    rows: Annotated[
        int | None, about("Rows of a band; with `bands`.", absent="chosen for `recall`", of=("minhash",))
    ] = None
    seed: Annotated[
        int | None, about("Seed of the permutations, or of the cells.", absent="1", of=("minhash", "semantic"))
    ] = None
    cells: Annotated[
        int | None,
        about(
            "Groups of near vectors; only documents of one are compared.",
            absent="one for 65,536 documents, 512 at most",
            of=("semantic",),
        ),
    ] = None
    verify: Annotated[
        bool | None,
        about("Compute the true similarity of documents that share a band.", absent="yes", of=("minhash",)),
    ] = None
    link: Annotated[
        Literal["components", "kept"] | None,
        about(
            "Duplicates: all of a cluster, or only those similar to the kept document.",
            absent="components",
            of=("minhash", "semantic"),
        ),
    ] = None
    min_ngram: Annotated[
        int | None,
        about(
            "Words that a text or paragraph needs to take part; below `word_ngrams`, all of them are one n-gram.",
            absent="1",
            of=("bloom",),
        ),
    ] = None
    stride: Annotated[int | None, about("Words from one n-gram to the next.", absent="1", of=("bloom",))] = None
    overlap_threshold: Annotated[
        float | None, about("Share of known n-grams from which on it is a duplicate.", absent="1", of=("bloom",))
    ] = None
    separator: Annotated[
        str | None, about("End of a paragraph.", absent="a newline", metavar="TEXT", of=("bloom", "windows"))
    ] = None
    false_positive_rate: Annotated[
        float | None,
        about("Share of new items that the filter may take for known.", absent="1e-05", of=("bloom",)),
    ] = None
    filter_items: Annotated[
        int | None, about("Items that the filter is made for.", absent="those that there are", of=("bloom",))
    ] = None
    filter_bytes: Annotated[
        int | None, about("Bytes of the filter.", absent="as `false_positive_rate` needs", of=("bloom",))
    ] = None
    filter_hashes: Annotated[
        int | None, about("Bits that the filter sets for an item.", absent="the fewest that do", of=("bloom",))
    ] = None
    reuse: Annotated[
        str | None,
        about("Filter to go on with: what it holds came before.", absent="an empty one", metavar="FILE", of=("bloom",)),
    ] = None
    reference_filter: Annotated[
        str | None,
        about("Filter to look up in, where nothing is put in.", absent="none", metavar="FILE", of=("bloom",)),
    ] = None
    min_tokens: Annotated[
        int | None, about("Tokens of the shortest text that is repeated.", absent="50", of=("substring",))
    ] = None
    min_bytes: Annotated[
        int | None,
        about("Bytes of the shortest text that is repeated, in the place of tokens.", absent="none", of=("substring",)),
    ] = None
    snap: Annotated[
        Literal["words", "lines"] | None,
        about("What spans hold whole: words or lines.", absent="characters", of=("substring",)),
    ] = None
    within_documents: Annotated[
        bool | None,
        about("Whether text counts that one document alone repeats.", absent="no", of=("substring",)),
    ] = None
    items: Annotated[
        list[str] | None,
        about(
            "Files of benchmark items, JSONL: path, URL or pattern.",
            metavar="PATTERN",
            absent="none",
            of=("decontaminate",),
        ),
    ] = None
    report_items: Annotated[
        bool | None,
        about("Whether a file says of each item which documents hold it.", absent="no", of=("decontaminate",)),
    ] = None
    self_check: Annotated[
        bool | None,
        about(
            "Whether items are put into copies of some documents, to see how many are found.",
            absent="no",
            of=("decontaminate",),
        ),
    ] = None
    window: Annotated[
        int | None,
        about("Sentences, or paragraphs, of a window.", absent="3 sentences, or 1 paragraph", of=("windows",)),
    ] = None
    min_documents: Annotated[
        int | None,
        about("Documents that a window is at least in, for its occurrences to count.", absent="1", of=("windows",)),
    ] = None
    attributes_format: Annotated[Literal["parquet", "dolma1"], about("Native, or the JSONL of Dolma 1.x.")] = "parquet"

    def __post_init__(self) -> None:
        check_set_name(self.name)
        if self.attributes_format == "dolma1":
            check_as("name", self.name, check_key)
        check_as("by", self.by, check_field)
        check_as("keep", self.keep, check_keep)
        for key in ("min_length", "min_words"):
            if getattr(self, key) < 0:
                raise ValueError(f"`{key}` is {getattr(self, key)}, expected 0 or more")
        if not 0 <= self.max_removal <= 1:
            raise ValueError(f"`max_removal` is {self.max_removal}, expected 0 to 1")
        if self.scope == "across-sources" and self.keep == "none":
            raise ValueError("`keep` is none, expected a rule that keeps one: across-sources asks for its source")
        if self.priority is not None and len(set(self.priority)) < len(self.priority):
            raise ValueError("`priority` names a source twice, expected each once")
        for one in keys_of(DedupeConfig):
            takers = _OF_COPIES.get(one.name, one.of)
            if takers and self.method not in takers and getattr(self, one.name) != one.default:
                if one.name in ("index", "since"):
                    raise ValueError(f"`{one.name}` is not for {self.method}, {_NOT_GROWN[self.method]}: leave it out")
                methods = " or ".join(f"`method: {name}`" for name in takers)
                raise ValueError(f"`{one.name}` is not for {self.method}: add {methods}, or leave it out")
        _CHECKS[self.method](self)

    @property
    def measured(self) -> str:
        """The attribute that is read beside the documents, as SET.OUTPUT; "" where none is."""
        return self.by if self.method == "semantic" else ""


def reads_attributes(config: DedupeConfig) -> bool:
    """Whether attributes of the documents are read."""
    return bool(config.measured)


def _check_exact(config: DedupeConfig) -> None:
    if config.by == "paragraphs" and config.keep != "first":
        raise ValueError(f"`keep` is {config.keep!r}, expected first where paragraphs are compared")
    if config.by == "paragraphs" and (config.priority or config.scope == "across-sources"):
        raise ValueError("`priority` and across-sources are for documents: leave them out for paragraphs")
    _check_url(config)


def _check_url(config: DedupeConfig) -> None:
    words = set(config.normalize or ())
    if "url" in words and (config.by in ("text", "paragraphs", "sentences") or words != {"url"}):
        raise ValueError(
            "`normalize` has url, which is for a field and alone: write `by: metadata.url, normalize: [url]`"
        )


def _check_counts(config: DedupeConfig, *keys: str) -> None:
    for key in keys:
        value = getattr(config, key)
        if value is not None and not 1 <= value <= _MOST_PARTS:
            raise ValueError(f"`{key}` is {value}, expected 1 to {_MOST_PARTS:,}")


def _check_positive(config: DedupeConfig, *keys: str) -> None:
    for key in keys:
        value = getattr(config, key)
        if value is not None and value < 1:
            raise ValueError(f"`{key}` is {value}, expected 1 or more")


def _check_separator(config: DedupeConfig, *by: str) -> None:
    if config.separator is not None and (config.by not in by or not config.separator):
        where = " or ".join(f"`by: {one}`" for one in by)
        raise ValueError(f"`separator` is {config.separator!r}, expected some text, and {where}")


def _check_minhash(config: DedupeConfig) -> None:
    if config.by != "text":
        raise ValueError(f"`by` is {config.by!r}, expected text: near-duplicates are found by their text")
    _check_counts(config, "word_ngrams", "character_ngrams", "permutations", "bands", "rows")
    _check_shares(config, "threshold", "recall")
    _check_seed(config)
    if config.word_ngrams is not None and config.character_ngrams is not None:
        raise ValueError("`word_ngrams` and `character_ngrams` are both given, expected one of them")
    if (config.bands is None) != (config.rows is None):
        raise ValueError("`bands` and `rows` go together: give both or neither")
    if config.bands is not None and (config.permutations is not None or config.recall is not None):
        raise ValueError("`permutations` and `recall` choose bands and rows: leave them out where these are given")
    if config.bands is not None and config.rows is not None and config.bands * config.rows > _MOST_PARTS:
        raise ValueError(f"`bands` times `rows` is {config.bands * config.rows:,}, expected at most {_MOST_PARTS:,}")


def _check_seed(config: DedupeConfig) -> None:
    if config.seed is not None and not 0 <= config.seed < 1 << 32:
        raise ValueError(f"`seed` is {config.seed}, expected 0 to 4,294,967,295")


def _check_semantic(config: DedupeConfig) -> None:
    if config.by.count(".") != 1 or config.by.startswith(("$", ".")):
        raise ValueError(
            f"`by` is {config.by!r}, expected an attribute that has vectors: write it as `by: embedding.vector`"
        )
    _check_shares(config, "threshold")
    _check_seed(config)
    _check_counts(config, "cells")


def _check_bloom(config: DedupeConfig) -> None:
    if config.by not in ("text", "paragraphs", "both"):
        raise ValueError(f"`by` is {config.by!r}, expected text, paragraphs or both")
    if config.by == "both" and config.word_ngrams is None:
        raise ValueError("`by` is 'both', expected `word_ngrams` with it: add them")
    if config.keep != "first":
        raise ValueError(f"`keep` is {config.keep!r}, expected first: a filter knows what came before alone")
    _check_counts(config, "word_ngrams", "min_ngram", "stride")
    for key in ("min_ngram", "stride", "overlap_threshold"):
        if getattr(config, key) is not None and config.word_ngrams is None:
            raise ValueError(f"`{key}` is of n-grams: add `word_ngrams`, or leave it out")
    if config.min_ngram is not None and config.word_ngrams is not None and config.min_ngram > config.word_ngrams:
        raise ValueError(f"`min_ngram` is {config.min_ngram}, expected at most `word_ngrams`, {config.word_ngrams}")
    _check_shares(config, "overlap_threshold")
    _check_separator(config, "paragraphs", "both")
    if config.false_positive_rate is not None and not 1e-12 <= config.false_positive_rate <= 0.5:
        raise ValueError(f"`false_positive_rate` is {config.false_positive_rate}, expected 1e-12 to 0.5")
    _check_positive(config, "filter_items", "filter_bytes")
    if config.filter_hashes is not None and not 1 <= config.filter_hashes <= _MOST_HASHES:
        raise ValueError(f"`filter_hashes` is {config.filter_hashes}, expected 1 to {_MOST_HASHES}")
    if config.reuse is not None and config.reference_filter is not None:
        raise ValueError("`reuse` and `reference_filter` are both given, expected one of them")
    for key in ("false_positive_rate", "filter_items", "filter_bytes", "filter_hashes"):
        if getattr(config, key) is not None and (config.reuse or config.reference_filter):
            raise ValueError(f"`{key}` is given, but a filter that is there has its size: leave it out")


def _check_windows(config: DedupeConfig) -> None:
    if config.by not in ("sentences", "paragraphs"):
        raise ValueError(f"`by` is {config.by!r}, expected sentences or paragraphs: add `--by sentences`")
    if config.keep not in ("first", "none"):
        raise ValueError(f"`keep` is {config.keep!r}, expected first or none: windows have nothing else to be kept by")
    if config.scope == "across-sources":
        raise ValueError("`scope` is 'across-sources', expected all or within-source: it is for documents")
    _check_url(config)
    _check_counts(config, "window")
    _check_positive(config, "min_documents")
    _check_separator(config, "paragraphs")


def _check_substring(config: DedupeConfig) -> None:
    if config.by != "text":
        raise ValueError(f"`by` is {config.by!r}, expected text: repeated text is looked for in texts")
    if config.keep not in ("first", "none"):
        raise ValueError(f"`keep` is {config.keep!r}, expected first, or none: mark all but the first, or all")
    if config.scope == "across-sources":
        raise ValueError("`scope` is 'across-sources', expected all or within-source where text is repeated")
    if config.min_tokens is not None and config.min_bytes is not None:
        raise ValueError("`min_tokens` and `min_bytes` are both given, expected one of them")
    for key in ("min_tokens", "min_bytes"):
        value = getattr(config, key)
        if value is not None and not 1 <= value <= _MOST_PARTS:
            raise ValueError(f"`{key}` is {value}, expected 1 to {_MOST_PARTS:,}")


def _check_shares(config: DedupeConfig, *keys: str) -> None:
    for key in keys:
        value = getattr(config, key)
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"`{key}` is {value}, expected more than 0 and at most 1")


def _check_decontaminate(config: DedupeConfig) -> None:
    if config.by != "text":
        raise ValueError(f"`by` is {config.by!r}, expected text: items are looked for in texts")
    _check_shares(config, "threshold")
    if not config.items:
        raise ValueError("`items` is missing: name the files of benchmark items, such as `--items 'evalsets/*.jsonl'`")


_NOT_GROWN = {
    "bloom": "whose filter has all that is needed of old documents, and changes nothing of them: use `reuse`",
    "substring": "as which text of old documents is repeated takes a second reading of them",
    "decontaminate": "as how common words are in all documents weighs each hit, old ones too",
    "semantic": "as each new vector may move the cells of old ones",
}
"""Why a set of a method cannot go on from an index."""

_CHECKS: Mapping[str, Callable[[DedupeConfig], None]] = {
    "exact": _check_exact,
    "bloom": _check_bloom,
    "minhash": _check_minhash,
    "windows": _check_windows,
    "substring": _check_substring,
    "decontaminate": _check_decontaminate,
    "semantic": _check_semantic,
}

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "Copies": (
        *("method", "by", "normalize", "name", "keep", "max_removal", "skip_empty --skip-empty/--keep-empty"),
        *("reference", "scope", "priority", "index", "since"),
        *("min_length", "min_words", "attributes_format"),
    ),
    "Near-duplicates": (
        *("dialect", "threshold", "word_ngrams", "character_ngrams", "permutations", "recall", "bands", "rows"),
        *("seed", "verify", "link"),
    ),
    "Vectors": ("cells",),
    "Windows": ("window", "min_documents"),
    "Bloom filter": (
        *("min_ngram", "stride", "overlap_threshold", "separator", "false_positive_rate", "filter_items"),
        *("filter_bytes", "filter_hashes", "reuse", "reference_filter"),
    ),
    "Repeated text": ("min_tokens", "min_bytes", "snap", "within_documents"),
    "Benchmarks": ("items", "report_items", "self_check"),
}
"""Keys that are options of the command, by the section of its help page; what else one is called stands after it."""
