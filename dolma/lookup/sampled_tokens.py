"""Documents of token shards, drawn by a seed and compared with the texts that they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.config import Recipe, TokenizeConfig
from dolma.data import streams
from dolma.data.dataset import Shard
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.manifest import Manifest, read_manifest
from dolma.data.origins import Origins
from dolma.data.tokens import TokenManifest, is_padding, read_rows, read_token_manifest
from dolma.errors import ConfigError
from dolma.lookup.tokens import encoded_documents
from dolma.models.encoder import Encoder
from dolma.models.tokenizer_facts import read_facts
from dolma.models.tokenizers_library import load_tokenizer
from dolma.printable import counted, printable
from dolma.runner.seeds import derive_seed
from dolma.tokens.formats.table import read_ids

Rows = list[dict[str, Any]]
"""Rows of shards, each with its `ids`."""


@dataclass(slots=True)
class Compared:
    """What came of it: documents whose tokens are those of their text, how many of these do not decode to it, and
    problems, a line each.

    A tokenizer that changes texts (a normalizer, a token for the unknown, a space put before) does not decode to them,
    nor does a part of a document. There the text is encoded again, and only the tokens are compared.
    """

    compared: int = 0
    only_encoded: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        again = (
            f"; {self.only_encoded:,} do not decode to their text and were encoded again" if self.only_encoded else ""
        )
        return f"{counted(self.compared, 'document')} compared with their texts{again}"


def compare_sample(folder: str, recipe: Recipe, *, sample: int, seed: int) -> Compared:
    """Compare as many documents of a folder of shards with their texts: those of `recipe`, else of the one beside.

    Raises:
        ConfigError: nothing says where the documents are, or they are not there.
        DataError: a file cannot be read.
    """
    tokens, manifest = read_token_manifest(folder), read_manifest(folder)
    if manifest is None:
        raise ConfigError(
            f"{printable(folder)} has no manifest, which says how its documents were read\n  make the shards again"
        )
    encoded = encoded_documents(folder, recipe)
    wanted = _drawn(folder, tokens, sample=sample, seed=seed)
    compared, origins = Compared(), Origins(manifest)
    shards = {shard.name: shard for shard in encoded.dataset.shards()}
    comparing = _Comparing.of(folder, tokens, manifest)
    for name in sorted(wanted):
        shard = shards.get(name)
        if shard is None:
            compared.problems.append(f"{folder}: {name} is none of the documents that it is to be compared with")
        elif not origins.know(shard, streams.checksum(shard.path)):
            compared.problems.append(
                f"{shard.path}: is not a file that {folder} was made from, or it has changed since"
            )
        else:
            comparing.all(wanted[name], shard, encoded.reading, compared)
    return compared


def _drawn(folder: str, tokens: TokenManifest, *, sample: int, seed: int) -> dict[str, Rows]:
    """Rows that are drawn from all shards, each once, by the file of their document."""
    sizes = [info.rows for info in tokens.shards]
    ends = np.cumsum([0, *sizes])
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "verify", "sample")))
    chosen = np.sort(generator.choice(int(ends[-1]), min(sample, int(ends[-1])), replace=False))
    found: dict[str, Rows] = {}
    for info, first, end in zip(tokens.shards, ends[:-1], ends[1:], strict=True):
        mine = chosen[(chosen >= first) & (chosen < end)] - first
        if not len(mine):
            continue
        path = streams.join(folder, info.path)
        ids = read_ids(path, tokens)
        rows = read_rows(path)
        for row in rows.take(mine[~is_padding(rows)[mine]]).to_pylist():
            row |= {"shard": path, "ids": np.array(ids[row["start"] : row["end"]])}
            found.setdefault(row["path"], []).append(row)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparing:
    tokenizer: Any
    encoder: Encoder
    strip: bool | None  # None: nothing says it, as of shards that were put into others

    @classmethod
    def of(cls, folder: str, tokens: TokenManifest, manifest: Manifest) -> _Comparing:
        path, config = streams.join(folder, tokens.tokenizer), manifest.config
        facts = read_facts(TokenizeConfig(tokenizer=path, eos=config["eos"], bos=config["bos"], dtype=config["dtype"]))
        return cls(
            tokenizer=load_tokenizer(path, sha256=tokens.tokenizer_sha256),
            encoder=Encoder(facts, allow_special_tokens=config["allow_special_tokens"]),
            strip=config.get("strip"),
        )

    def all(self, rows: Rows, shard: Shard, reading: Reading, compared: Compared) -> None:
        """Compare the rows of one document file, which is read up to the last of them."""
        left = {row["line"]: [other for other in rows if other["line"] == row["line"]] for row in rows}
        for line, text in _texts(shard, reading, set(left)):
            for row in left.pop(line):
                compared.problems += self._one(row, text, shard, compared)
        compared.problems += [
            f"{shard.path}:{line}: there is no document, though {row['shard']} has the tokens of {row['id']!r}"
            for line, missing in left.items()
            for row in missing
        ]

    def _one(self, row: dict[str, Any], text: str, shard: Shard, compared: Compared) -> Iterator[str]:
        compared.compared += 1
        texts = {False: [text], True: [text.strip()], None: [text, text.strip()]}[self.strip]
        if row["parts"] == 1 and self._decoded(row["ids"]) in texts:
            return
        for one in texts:
            ids = self.encoder([one])[0][row["offset"] : row["offset"] + len(row["ids"])]
            if np.array_equal(ids, row["ids"]):
                compared.only_encoded += 1
                return
        n = min(len(ids), len(row["ids"]))
        at = int(np.argmax(np.append(ids[:n] != row["ids"][:n], True)))
        yield (
            f"{row['shard']}: tokens {row['start']:,} to {row['end']:,}, of document {row['id']!r}, are not those of "
            f"the text at {shard.path}:{row['line']}: they differ from token {row['start'] + at:,} on"
        )

    def _decoded(self, ids: npt.NDArray[Any]) -> str:
        first = 0 if self.encoder.facts.bos_id is None else 1
        text: str = self.tokenizer.decode(ids[first:-1].tolist(), skip_special_tokens=False)
        return text


def _texts(shard: Shard, reading: Reading, lines: set[int]) -> Iterator[tuple[int, str]]:
    last = max(lines)
    for batch in read_batches(shard, reading, intake=Intake()):
        for i, line in enumerate(batch.lines.tolist()):
            if line in lines:
                yield line, batch.text(i)
        if len(batch) and int(batch.lines[-1]) >= last:
            return
