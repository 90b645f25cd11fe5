"""What taggers say of themselves, as entries of the catalogue: found by importing them.

    python -m dolma.taggers.declared

writes `catalogue.json`, after a built-in tagger was added or has changed. Needs and outputs may depend on options; what
stands in an entry is what the class declares, or else those of an instance made without options.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dolma.config import TaggerSpec
from dolma.data.columns import Output
from dolma.taggers.catalogue import PACKAGE, TaggerEntry, by_family, family_of
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import available, find, make_tagger
from dolma.taggers.tagger import needs_of


def entry_of(name: str) -> TaggerEntry:
    """The entry of a tagger, without its speed.

    Raises:
        ConfigError: it cannot be found or made.
    """
    found = find(name)
    # What a class declares is known without an instance, which may have to load a model.
    declares = inspect.isclass(found) and isinstance(getattr(found, "outputs", None), Mapping)
    tagger = found if declares else make_tagger(TaggerSpec(use=name))
    outputs: Mapping[str, Output] = tagger.outputs
    place = available().get(name, name)
    return TaggerEntry(
        name=name,
        family=family_of(place),
        at=place,
        meaning=(inspect.getdoc(tagger) or "").split("\n")[0],
        languages=getattr(tagger, "languages", "") if isinstance(getattr(tagger, "languages", ""), str) else "",
        needs=needs_of(tagger),
        outputs=tuple(
            {"name": f"{tagger.name}.{key}", "kind": out.kind}
            | {"unit": out.unit, "range": out.range, "meaning": out.meaning}
            for key, out in outputs.items()
        ),
        version=tagger.version if declares and _is_whole(found) else None,
    )


def _is_whole(found: type) -> bool:
    """Whether a class says all that there is: it takes no options, opens no files and has no vectors."""
    plain = not inspect.signature(found).parameters and not hasattr(found, "files")
    light = all(need.kind == "metadata" for need in needs_of(found))
    outputs: Mapping[str, Output] = getattr(found, "outputs", {})
    return plain and light and hasattr(found, "version") and all(out.kind != "vector" for out in outputs.values())


def built_in() -> bytes:
    """`catalogue.json`: a line for each family and tagger."""
    entries = by_family(map(entry_of, BUILT_IN))
    modules = {entry.family: importlib.import_module(f"{PACKAGE}{entry.family}") for entry in entries}
    families = {family: inspect.getdoc(module) or "" for family, module in modules.items()}
    said = ",\n".join(f"  {_json(family)}: {_json(text)}" for family, text in families.items())
    taggers = ",\n".join(f"  {_json(entry)}" for entry in entries)
    return f'{{"families": {{\n{said}\n}}, "taggers": [\n{taggers}\n]}}\n'.encode()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    Path(__file__).with_name("catalogue.json").write_bytes(built_in())
