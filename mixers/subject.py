"""What a mix is about, before anything is read: documents, attributes, rules, and whether they fit together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dolma.amounts import count_of
from dolma.config import MixConfig, TokenizeConfig
from dolma.data.dataset import Dataset, Shard, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats.table import EXPECTED, format_of, is_document, strip_suffixes
from dolma.data.manifest import FileSet, InputFile, Manifest, input_file, read_manifest
from dolma.data.origins import check_origins
from dolma.errors import ConfigError, DataError, did_you_mean
from dolma.mixers.catalogue import Catalogue, Column
from dolma.mixers.holdout import Grouping, grouping_of, identity_of
from dolma.mixers.join import AttributeFile
from dolma.mixers.judge import Judge, PieceSpec
from dolma.mixers.reshape import check_written_fields
from dolma.mixers.rules import compile_rules
from dolma.mixers.sampling import check_seen, check_shared, check_sources, with_weights
from dolma.mixers.strata import Strata, strata_of
from dolma.mixers.strata import identity_of as identity_of_strata
from dolma.mixers.token_counts import TokenCounting, counting_of
from dolma.printable import printable
from dolma.runner.inputs import Inputs
from dolma.runner.separate import same_settings

VERSION = 4
LENGTH: Column = ("length", "bytes")
"""Of the tagger `length`: the UTF-8 bytes of a text."""
_SAMPLED_SHARDS = 16
_EMPTY_BYTES = 128  # a compressed file without any text is smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be mixed: `files` has the attribute files of each shard, by its name."""

    dataset: Dataset
    config: MixConfig
    shards: list[Shard]
    judge: Judge
    files: dict[str, tuple[AttributeFile, ...]]
    counting: TokenCounting | None = None
    grouping: Grouping | None = None
    strata: Strata | None = None
    sizes: Column | None = None  # an attribute with the bytes of each text, where it was asked for

    def axes_of(self, source: str) -> list[str]:
        """The attributes by which a source, or with "" the whole corpus, is divided."""
        if self.strata is None:
            return []
        return [axis.name for axis in (self.strata.of(source) if source else self.strata.axes)]

    def specs(self) -> list[PieceSpec]:
        """The pieces of all shards, in corpus order."""
        parts = [piece for shard in self.shards for piece in pieces(shard)]
        return [PieceSpec(index=i, piece=piece, files=self.files[piece.shard.name]) for i, piece in enumerate(parts)]


def subject_of(
    dataset: Dataset,
    config: MixConfig,
    reading: Reading,
    tokenize: TokenizeConfig | None = None,
    *,
    sizes: bool = False,
) -> Subject:
    """What this recipe mixes, with rules compiled and attribute files found; nothing but their schemas is read.

    `sizes`: the attribute with the bytes of a text is read too, if there is one.

    Where a rule names a field of the records, the first ones are read too.

    Raises:
        ConfigError: rules, shares, format or names cannot be used as they are.
        AlignmentError: a shard has no attributes that a rule reads.
    """
    check_sources(config)
    if config.min_length < 0:
        raise ConfigError(f"is {config.min_length}, expected 0 or more", path="$.mix.min_length")
    shards = dataset.shards()
    check_names(config, shards)
    catalogue = Catalogue.of(dataset, shards, config, reading=reading)
    counting = counting_of(config, tokenize, catalogue)
    grouping = grouping_of(config.holdout, catalogue)
    further = [] if counting is None or counting.column is None else [counting.column]
    further += [] if grouping is None else grouping.columns
    strata = strata_of(config, catalogue)
    size = LENGTH if sizes and catalogue.has(LENGTH) else None
    further += [] if size is None else [size]
    rules = compile_rules(config, catalogue, further=further, strata=() if strata is None else strata.rules())
    found = {name: catalogue.files(name, rules.columns_of(name)) for name in rules.sets}
    files = {
        shard.name: tuple(
            AttributeFile(set=name, path=found[name][shard.name], outputs=rules.outputs[name]) for name in rules.sets
        )
        for shard in shards
    }
    check_written_fields(config, dataset, reading)
    for name in rules.sets[:1]:
        measured = sources_measured(dataset, shards, name, reading)
        check_seen(config, measured or config.named_sources.values(), limit=reading.limit)
    judge = Judge.of(config, rules, reading)
    return Subject(
        dataset=dataset,
        config=config,
        shards=shards,
        judge=judge,
        files=files,
        counting=counting,
        grouping=grouping,
        strata=strata,
        sizes=size,
    )


def sources_measured(dataset: Dataset, shards: Sequence[Shard], name: str, reading: Reading) -> set[str]:
    """The sources in the account of the stage that made this attribute set; none when it does not tell of all."""
    seen: set[str] = set()
    for folder in {dataset.attribute_folder(name, shard) for shard in shards}:
        manifest = _manifest_of(folder)
        fields = {} if manifest is None else manifest.config.get("fields", {})
        if manifest is None or fields.get("source") != reading.source:
            return set()
        seen |= manifest.ledger.get("accounts", {}).keys()
    return seen


def doubtful_sources(dataset: Dataset, config: MixConfig, reading: Reading) -> list[str]:
    """For each source of the recipe that is neither a folder nor at the beginning of a file, a sentence about it.

    Raises:
        ConfigError: the files end where their beginnings do, so that the source is not there; or others have shares,
            and one at the beginning of a file has none.
    """
    config = with_weights(config)
    shards = dataset.shards()
    folders = {shard.source for shard in shards}
    if folders.issuperset(config.named_sources.values()) and not config.has_shares:
        return []
    skipping = msgspec.structs.replace(reading, on_error="skip", quarantine=None)
    first = list({shard.source: shard for shard in reversed(shards)}.values())[:_SAMPLED_SHARDS]
    spread = shards[:: -(-len(shards) // _SAMPLED_SHARDS)]
    looked_at, whole = list(dict.fromkeys([*spread, *first])), True
    seen: set[str] = set()
    for shard in looked_at:
        batches = list(itertools.islice(read_batches(shard, skipping, intake=Intake()), 2))
        seen |= {source for batch in batches for source in batch.sources}
        whole &= len(batches) < 2
    if whole and len(looked_at) == len(shards):
        check_seen(config, seen, limit=reading.limit)
    check_shared(config, sorted(seen))
    return [
        f"{path}: no folder of documents is called so, and no document at the beginning of "
        f"{len(looked_at):,} files (of {len(shards):,}) is of it\n  {did_you_mean(source, seen)}"
        for path, source in config.named_sources.items()
        if source not in seen | folders
    ]


def check_names(config: MixConfig, shards: Sequence[Shard]) -> None:
    """Return when every shard has a document file of its own to go to.

    Raises:
        ConfigError: the format is none, or two shards would become one file.
    """
    if not is_document("x" + config.format) or strip_suffixes("x" + config.format) != "x":
        raise ConfigError(f"is {config.format!r}, expected {EXPECTED}", path="$.mix.format")
    names: dict[str, Shard] = {}
    for shard in shards:
        first = names.setdefault(strip_suffixes(shard.name), shard)
        if first is not shard:
            raise ConfigError(
                f"{printable(first.path)} and {printable(shard.path)} would both become documents/"
                f"{strip_suffixes(shard.name)}{config.format}\n  mix them one after the other"
            )


def settings_of(
    config: MixConfig, reading: Reading, seed: int, tokenize: TokenizeConfig | None = None
) -> dict[str, Any]:
    """Everything that decides the bytes of a mix, besides its inputs."""
    settings = msgspec.to_builtins(config)
    for key in ("attributes", "allow_duplicate_inputs", "tokenizer"):
        settings.pop(key)
    if config.total is not None:
        settings["total"] = count_of(config.total, key="total")
    settings["holdout"] = identity_of(config.holdout)
    settings["strata"] = identity_of_strata(config)
    return {
        **settings,
        "version": VERSION,
        "seed": seed if config.is_sampled or config.shuffle else None,
        "tokens": None if (counting := counting_of(config, tokenize)) is None else counting.identity,
        **reading.identity,
    }


def finished_inputs(dataset: Dataset, file_set: FileSet, inputs: Inputs) -> list[InputFile] | None:
    """What the files hold now that the finished mix of these settings was made from, if nothing of them has changed.

    So that a mix with nothing to do opens no attribute file: which sets its rules read its manifest tells.

    Raises:
        DataError: a file cannot be read, or is not what its manifest says was written.
    """
    manifest = _manifest_of(file_set.folder)
    if manifest is None or not same_settings(manifest, file_set):
        return None
    shards = dataset.shards()
    of_first = manifest.inputs[len(shards) : len(manifest.inputs) // len(shards) + len(shards) - 1]
    sets = [file.name.removeprefix("attributes/").removesuffix(f"/{shards[0].name}") for file in of_first]
    files = {name: [path for _, path in dataset.attribute_files(name, shards)] for name in sets}
    names = [f"attributes/{name}/{shard.name}" for shard in shards for name in sets]
    paths = [path for of_shard in zip(*files.values(), strict=True) for path in of_shard if path is not None]
    named = [*(shard.name for shard in shards), *names]
    if [file.name for file in manifest.inputs] != named or len(paths) < len(names):
        return None
    now = [shard.input for shard in inputs.shards(shards)]
    contents = inputs.contents(paths)
    now += [input_file(name, contents[path]) for name, path in zip(names, paths, strict=True)]
    return now if now == manifest.inputs else None


def identified_subject(subject: Subject, inputs: Inputs) -> Subject:
    """The subject with what its files hold now; what reads them later is held to it.

    Raises:
        ConfigError: two document files have the same bytes.
        AlignmentError: attributes were made from another version of a document file.
        DataError: a file cannot be read, or is not what its manifest says was written.
    """
    shards = inputs.shards(subject.shards)
    documents = [shard.input for shard in shards]
    if not subject.config.allow_duplicate_inputs:
        _refuse_equal(shards, documents)
    made = [(file.set, shard, file.path) for shard in shards for file in subject.files[shard.name]]
    check_origins(subject.dataset, made)
    contents = inputs.contents([file.path for of_shard in subject.files.values() for file in of_shard])
    files = {
        name: tuple(replace(file, content=contents[file.path]) for file in of_shard)
        for name, of_shard in subject.files.items()
    }
    return replace(subject, shards=shards, files=files)


def inputs_of(subject: Subject) -> list[InputFile]:
    """Every file that a hashed subject reads, with its checksum."""
    attributes = [
        input_file(f"attributes/{file.set}/{shard.name}", file.content)
        for shard in subject.shards
        for file in subject.files[shard.name]
        if file.content is not None
    ]
    return [*(shard.input for shard in subject.shards), *attributes]


def _refuse_equal(shards: Sequence[Shard], inputs: Sequence[InputFile]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for shard, file in zip(shards, inputs, strict=True):
        first = seen.setdefault((file.checksum, file.size), shard.path)
        if first != shard.path and not _is_empty(shard):
            raise ConfigError(
                f"{first} and {printable(shard.path)} have the same bytes, so their documents would be in the "
                "mix twice\n"
                "  leave one out, or set `allow_duplicate_inputs: true`; `repeat` is how a source is repeated",
                path="$.mix.allow_duplicate_inputs",
            )


def _is_empty(shard: Shard) -> bool:
    return shard.size <= _EMPTY_BYTES and not format_of(shard.path).count(shard.path)


def _manifest_of(folder: str) -> Manifest | None:
    try:
        return read_manifest(folder)
    except DataError:  # some other program's manifest.json
        return None
