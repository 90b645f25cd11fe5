"""Where the keys of a manifest contradict each other, or what its outputs say of themselves.

A manifest's own checksum finds what was edited. This finds what was written, or sealed again, so that it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec

from dolma.config import TokenizeConfig
from dolma.data import streams
from dolma.data.attributes import attribute_notes, attribute_schema
from dolma.data.dataset import is_native
from dolma.data.json_text import decode_json
from dolma.data.manifest import FORMAT_VERSION, FileSet, Manifest
from dolma.data.tokens import TokenManifest, read_token_manifest
from dolma.errors import ConfigError, LedgerError
from dolma.runner.ledger import Ledger


def contradictions(folder: str, manifest: Manifest) -> Iterator[str]:
    """What does not fit, in words that follow the manifest's path; nothing when all does.

    The outputs must be there, with the bytes that were written.
    """
    if manifest.format_version != FORMAT_VERSION:
        yield f"its format has version {manifest.format_version}, expected {FORMAT_VERSION}"
        return
    made_by = FileSet(
        folder=folder, stage=manifest.stage, name=manifest.name, config=manifest.config, inputs=manifest.inputs
    )
    if made_by.fingerprint != manifest.fingerprint:
        yield "its fingerprint is not that of its stage, name, config and inputs"
    called = folder.rpartition("/")[2]
    if manifest.stage in ("tag", "dedupe") and called != manifest.name:
        yield f"it is of the attributes {manifest.name!r}, which its folder is not called: a copy, or renamed"
    check = _CHECKS.get(manifest.stage)
    if check is None:
        yield f"there is no stage {manifest.stage!r}"
        return
    try:
        ledger = msgspec.convert(manifest.ledger, Ledger)
        ledger.check(manifest.stage)
        yield from check(folder, manifest, ledger)
    except (msgspec.ValidationError, LedgerError) as error:
        yield "its ledger is none: " + str(error).replace("\n", " ")
    except KeyError as error:
        yield f"its config has no key {error}"


def _differences(where: str, **pairs: tuple[Any, Any]) -> Iterator[str]:
    for key, (here, there) in pairs.items():
        if here != there:
            yield f"its {key} is {here!r}, {where} has {there!r}"


def _of_attributes(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    config = manifest.config
    if manifest.stage == "tag":  # a set of dedupe lists the inputs of all folders
        pair = len(manifest.outputs), len(manifest.inputs)
        yield from _differences("its list of inputs", **{"number of files": pair})
    n_rows, taken = sum(out.rows for out in manifest.outputs), ledger.total().taken.documents
    if n_rows > taken:
        yield f"its outputs have {n_rows:,} rows, its ledger {taken:,} documents"
    for out in filter(lambda out: is_native(out.path), manifest.outputs):
        path = streams.join(folder, out.path)
        notes = attribute_notes(path)
        parameters = notes.get("parameters", {})
        given = config["options"] if manifest.stage == "tag" else {key: config.get(key) for key in parameters}
        yield from _differences(
            out.path,
            name=(manifest.name, notes.get("tagger")),
            version=(config["version"], notes.get("version")),
            options=(given, parameters),
            outputs=(config["outputs"], {name: asdict(output) for name, output in attribute_schema(path).items()}),
        )


def _of_mix(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    total = ledger.total()
    for place in ("documents/", "rows/"):
        n_rows = sum(out.rows for out in manifest.outputs if out.path.startswith(place))
        yield from _differences(place, **{"number of documents in the ledger": (total.written.documents, n_rows)})
    sizes = {out.path: out.rows for out in manifest.outputs}
    suffix = manifest.config["format"]
    for path in filter(lambda path: path.startswith("documents/"), sizes):
        rows = f"rows/{path.removeprefix('documents/').removesuffix(suffix)}.parquet"
        if sizes.get(rows) != sizes[path]:
            yield f"{path} has {sizes[path]:,} documents, {rows} has {sizes.get(rows, 'no')} rows"


def _of_tokens(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    tokens, config, out = read_token_manifest(folder), manifest.config, ledger.total().out
    yield from _differences(
        "tokens.json",
        shards=(
            sorted(out.path for out in manifest.outputs if out.path.endswith(".npy")),
            sorted(shard.path for shard in tokens.shards),
        ),
        tokenizer=(config["tokenizer_sha256"], tokens.tokenizer_sha256),
        dtype=(config["dtype"], tokens.dtype),
        shuffle=(config["shuffle"], tokens.shuffle),
        seed=(config["seed"] or 0, tokens.seed),
        allow_special_tokens=(config["allow_special_tokens"], tokens.special_tokens_allowed),
    )
    yield from _differences(
        "tokens.json",
        **{
            "number of tokens in the ledger": (out.tokens, tokens.tokens),
            "number of documents in the ledger": (out.documents, sum(shard.documents for shard in tokens.shards)),
        },
    )
    yield from _of_tokenizer(streams.join(folder, tokens.tokenizer), config, tokens)


def _of_tokenizer(path: str, config: dict[str, Any], tokens: TokenManifest) -> Iterator[str]:
    from dolma.tokens.tokenizer import read_facts

    try:
        facts = read_facts(TokenizeConfig(tokenizer=path, eos=config["eos"], bos=config["bos"], dtype=config["dtype"]))
    except ConfigError as error:
        yield str(error).split("\n")[0]
        return
    said = {key: getattr(tokens, key) for key in ("vocab_size", "eos_id", "bos_id", "pad_id")}
    for key, value in {"sha256": tokens.tokenizer_sha256, **said}.items():
        if getattr(facts, key) != value:
            yield f"tokens.json says that {key} is {value!r}, of {tokens.tokenizer} it is {getattr(facts, key)!r}"


def _of_checkpoint(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    state = decode_json(streams.read_bytes(streams.join(folder, "state.json")), dict)
    yield from _differences(
        "state.json",
        name=(manifest.name, f"step{state['step']}"),
        step=(manifest.config["step"], state["step"]),
        identity=(manifest.config["identity"], state["identity"]),
    )


def _of_training(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    settings = decode_json(streams.read_bytes(streams.join(folder, "config.json")))
    yield from _differences("config.json", config=(manifest.config, settings))


def _of_statistics(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    found = decode_json(streams.read_bytes(streams.join(folder, "stat.json")), dict)
    pair = sorted(manifest.config["attributes"]), sorted(found["attributes"])
    yield from _differences("stat.json", attributes=pair)


_CHECKS = {
    "tag": _of_attributes,
    "dedupe": _of_attributes,
    "mix": _of_mix,
    "tokenize": _of_tokens,
    "checkpoint": _of_checkpoint,
    "train": _of_training,
    "stat": _of_statistics,
}
