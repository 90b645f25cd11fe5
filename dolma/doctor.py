"""`dolma doctor`: what a recipe needs and whether it is there, before anything runs.

Looked at are the documents, each tagger with its extras, models, lists and metadata, the tokenizer, and the packages of
the stages. Nothing is downloaded and nothing is written.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from dolma.config import Recipe, TaggerSpec
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, read_batches
from dolma.data.fields import JsonField
from dolma.data.storage.table import extra_of
from dolma.errors import ConfigError, DataError
from dolma.pipeline import dataset_of, reading_of
from dolma.taggers.catalogue import Need
from dolma.taggers.registry import available, find, make_tagger, normal
from dolma.taggers.tagger import needs_of

_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the recipe needs: what, whether it is there, and if not the command that gets it."""

    what: str
    ok: bool
    get: str = ""


def examine(recipe: Recipe) -> list[Finding]:
    """Everything that the recipe needs, in the order in which a run would meet it."""
    return [*_documents(recipe), *_taggers(recipe), *_tokenizer(recipe), *_packages(recipe)]


def missing_of_extra(extra: str) -> list[str]:
    """The packages of an extra that are not installed.

    Raises:
        ConfigError: the package has no such extra.
    """
    wanted = [
        match[0]
        for requirement in importlib.metadata.requires("dolma") or []
        if (of := _EXTRA.search(requirement))
        and _usual(of[1]) == _usual(extra)
        and (match := _REQUIREMENT.match(requirement))
    ]
    if not wanted:
        raise ConfigError(f"there is no extra {extra!r}")
    return [package for package in wanted if not _installed(package)]


def _usual(name: str) -> str:
    """A name as packaging compares it (PEP 503): metadata may have `a-b` for `a_b`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _extra(extra: str, *, purpose: str) -> Finding:
    missing = missing_of_extra(extra)
    what = f"{purpose}: extra {extra}" + (f" ({', '.join(missing)})" if missing else "")
    return Finding(what=what, ok=not missing, get=f"pip install 'dolma[{extra}]'")


def _documents(recipe: Recipe) -> Iterator[Finding]:
    if not recipe.documents:
        yield Finding(what="documents", ok=False, get="name patterns: `documents:` in the recipe, or --documents")
        return
    try:
        shards = dataset_of(recipe).shards()
    except (ConfigError, DataError) as error:
        yield Finding(what="documents", ok=False, get=str(error).replace("\n", " "))
        return
    yield Finding(what=f"documents: {len(shards):,} files", ok=True)


def _taggers(recipe: Recipe) -> Iterator[Finding]:
    if recipe.tag is None:
        return
    for given in recipe.tag.taggers:
        spec = normal(given)
        try:
            tagger = make_tagger(spec)
        except (ConfigError, DataError) as error:
            first, _, rest = str(error).partition("\n")
            yield Finding(what=f"tagger {spec.use}: {first}", ok=False, get=rest.strip() or _advice(spec.use))
            continue
        needs = needs_of(tagger)
        yield from (_need(need, spec, recipe) for need in needs)
        if not needs:
            yield Finding(what=f"tagger {spec.use}", ok=True)


def _advice(use: str) -> str:
    """What a tagger that cannot be made says that it needs."""
    if use not in available():
        return "see `dolma list`"
    return "; ".join(need.get for need in needs_of(find(use))) or f"see `dolma list {use}`"


def _need(need: Need, spec: TaggerSpec, recipe: Recipe) -> Finding:
    what = f"tagger {spec.use}: {need.kind} {need.name}"
    if need.kind == "extra":
        return _extra(need.name, purpose=f"tagger {spec.use}")
    if need.kind == "metadata":
        return _metadata(need, what, recipe)
    # The tagger was made, so what it opens is there.
    return Finding(what=what, ok=True)


def _metadata(need: Need, what: str, recipe: Recipe) -> Finding:
    """Whether the first document of every source has the field."""
    fields = [JsonField(name.split(".")[1:]) for name in need.fields]
    first = _first_metadata(dataset_of(recipe), recipe)
    absent = [shard for shard, encoded in first if all(field.of(encoded) is None for field in fields)]
    if not absent:
        return Finding(what=what, ok=True)
    return Finding(what=f"{what}, absent from the first document of {absent[0]}", ok=False, get=need.get)


def _first_metadata(dataset: Dataset, recipe: Recipe) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for shard in dataset.shards():
        folder = os.path.dirname(shard.path)
        if folder in seen:
            continue
        seen.add(folder)
        reading = msgspec.structs.replace(reading_of(recipe), on_error="skip")
        for batch in islice(read_batches(shard, reading, intake=Intake(), metadata=True), 1):
            yield shard.path, (batch.metadata or [None])[0] or b""


def _tokenizer(recipe: Recipe) -> Iterator[Finding]:
    if recipe.tokenize is not None:
        from dolma.tokens.encoder import encoder_of
        from dolma.tokens.tokenizer import read_facts

        what = f"tokenizer {recipe.tokenize.tokenizer}"
        try:
            facts = read_facts(recipe.tokenize)
            encoder_of(facts, allow_special_tokens=recipe.tokenize.allow_special_tokens)
        except ConfigError as error:
            yield Finding(what=what, ok=False, get=error.message)
        else:
            yield Finding(what=what, ok=True)


def _packages(recipe: Recipe) -> Iterator[Finding]:
    if recipe.train is not None:
        yield _extra("train", purpose="train")
    if recipe.executor == "ray":
        yield _extra("ray", purpose="executor ray")
    paths: Sequence[str] = [*recipe.documents, recipe.output or "", recipe.attributes or ""]
    for extra in sorted({extra_of(path) for path in paths} - {""}):
        yield _extra(extra, purpose=f"{extra} paths")
