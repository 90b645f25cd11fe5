"""The attribute that a method reads beside the documents: vectors, a file for each document file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dolma.data.aligned import RowFile
from dolma.data.attributes import attribute_schema
from dolma.data.columns import Output
from dolma.data.dataset import Dataset, Shard
from dolma.data.manifest import InputFile, input_file
from dolma.data.origins import check_origins
from dolma.dedupers.config import DedupeConfig
from dolma.errors import AlignmentError, ConfigError, did_you_mean
from dolma.printable import printable
from dolma.runner.inputs import Inputs

_PATH = "$.dedupe.by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The attribute files of document files, by the names of these; none where a method reads no attribute."""

    name: str = ""
    files: Mapping[str, RowFile]

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        config: DedupeConfig,
        inputs: Inputs,
        references: Sequence[Shard],
        shards: Sequence[Shard],
    ) -> Measured:
        """Those that the settings name, with what they hold now.

        Raises:
            ConfigError: there is no such attribute, or it is of another kind.
            AlignmentError: a document file has none, or vectors of another size; or they are of another version of it.
            DataError: a file cannot be read.
        """
        if not config.measured:
            return cls(files={})
        name, _, column = config.measured.partition(".")
        compared = replace(dataset, documents=tuple(config.reference or ()), exclude=())
        parts = [(of, some) for of, some in ((compared, references), (dataset, shards)) if some]
        found = {shard: path for of, some in parts for shard, path in _paths(of, name, some).items()}
        first: Output | None = None
        for shard in (*references, *shards):
            path = found[shard.name]
            outputs = attribute_schema(path)
            check_vectors(outputs, config.measured)
            first = first or outputs[column]
            if outputs[column].size != first.size:
                raise AlignmentError(
                    f"its vectors in {printable(path)} have {outputs[column].size:,} numbers, expected {first.size:,} "
                    f"as in {printable(found[(*references, *shards)[0].name])}\n"
                    "  measure all documents with one model: `dolma tag --overwrite`",
                    file=shard.path,
                    line=1,
                )
        for of, some in parts:
            check_origins(of, [(name, shard, found[shard.name]) for shard in some])
        contents = inputs.contents(list(found.values()))
        return cls(
            name=name,
            files={
                shard: RowFile(path=path, columns=[column], content=contents[path]) for shard, path in found.items()
            },
        )

    def inputs(self, shards: Sequence[Shard]) -> list[InputFile]:
        """The files of these, as inputs of the stage."""
        named = [(shard.name, self.files[shard.name]) for shard in shards if shard.name in self.files]
        return [
            input_file(f"attributes/{self.name}/{name}", file.content)
            for name, file in named
            if file.content is not None
        ]


def check_vectors(outputs: Mapping[str, Output], measured: str) -> None:
    """Return when these outputs of a set have the vectors that `measured` names, as SET.OUTPUT.

    Raises:
        ConfigError: there is no such output, or it is of another kind.
    """
    name, _, column = measured.partition(".")
    if column not in outputs:
        raise ConfigError(f"{name!r} has no output {column!r}; {did_you_mean(column, outputs)}", path=_PATH)
    if outputs[column].kind != "vector":
        vectors = [f"{name}.{output}" for output, what in outputs.items() if what.kind == "vector"]
        raise ConfigError(
            f"{measured!r} is {outputs[column].kind}, expected a vector\n  these are: {', '.join(vectors) or 'none'}",
            path=_PATH,
        )


def _paths(dataset: Dataset, name: str, shards: Sequence[Shard]) -> dict[str, str]:
    """The attribute file of each of these shards."""
    paths = {}
    for shard, (place, path) in zip(shards, dataset.attribute_files(name, shards), strict=True):
        if path is None:
            there = ", ".join(dataset.attribute_names(list(shards))) or "none"
            raise AlignmentError(
                f"no attributes {name!r} for this file: {printable(place.path())} is not there; there are: {there}\n"
                f"  measure it first, such as by `dolma tag --taggers transformer` with its option `embedding`",
                file=shard.path,
                line=1,
            )
        paths[shard.name] = path
    return paths
