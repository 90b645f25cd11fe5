"""Measuring texts that are no files: the answers of taggers as one Arrow table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from dolma.config import TagConfig, TaggerSpec, convert
from dolma.data.batch import TextBatch
from dolma.data.intake import BATCH_BYTES
from dolma.errors import ConfigError
from dolma.taggers.limits import Limits, measure, select
from dolma.taggers.registry import make_taggers
from dolma.taggers.tagger import Tagger, outputs_of


def tag_texts(texts: Iterable[str], taggers: Sequence[str | TaggerSpec | Tagger], **settings: Any) -> pa.Table:
    """A row per text, in order, and a column `tagger.output` for each output; `tagger.error` says why there is none.

    `settings` are those of `tag` in a recipe, such as `max_document_bytes`.

    Raises:
        ConfigError: an unknown tagger, or a text that is no string.
    """
    made = _made(taggers)
    limits = Limits.of(convert({"taggers": [tagger.name for tagger in made], **settings}, TagConfig, path="$.tag"))
    schema = pa.schema(
        [(f"{tagger.name}.{name}", output.arrow_type) for tagger in made for name, output in outputs_of(tagger).items()]
    )
    batches = [_measured(batch, made, limits, schema) for batch in _batches(texts)]
    return pa.Table.from_batches(batches, schema)


def _made(taggers: Sequence[str | TaggerSpec | Tagger]) -> list[Tagger]:
    named = iter(make_taggers([tagger for tagger in taggers if isinstance(tagger, str | TaggerSpec)]))
    made = [next(named) if isinstance(tagger, str | TaggerSpec) else tagger for tagger in taggers]
    odd = next((tagger for tagger in made if not isinstance(tagger, Tagger)), None)
    if odd is not None or not made:
        given = type(odd).__name__ if made else "none"
        raise ConfigError(f"`taggers` has {given}, expected names of taggers or taggers; `dolma list` shows all")
    names = [tagger.name for tagger in made]
    if len(set(names)) < len(names):
        raise ConfigError(f"two taggers are called {max(names, key=names.count)!r}; give one another `name`")
    return made


def _batches(texts: Iterable[str]) -> Iterator[TextBatch]:
    held: list[str] = []
    n_bytes = 0
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError(f"`texts[{i}]` is {type(text).__name__}, expected a string")
        held.append(text)
        n_bytes += len(text)
        if n_bytes >= BATCH_BYTES:
            yield TextBatch.of(held)
            held, n_bytes = [], 0
    if held:
        yield TextBatch.of(held)


def _measured(batch: TextBatch, taggers: Sequence[Tagger], limits: Limits, schema: pa.Schema) -> pa.RecordBatch:
    within = limits.within(batch)
    part = None if within is None else select(batch, within)
    columns = [measure(tagger, batch, limits, within=part) for tagger in taggers]
    arrays = [found[name] for tagger, found in zip(taggers, columns, strict=True) for name in outputs_of(tagger)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
