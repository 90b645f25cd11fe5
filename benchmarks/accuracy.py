"""Figures on labelled documents that docs/taggers.md shows: `taggers/accuracy.json`, by the scripts that print them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dolma.taggers.catalogue import Accuracy

FILE = Path(__file__).parent.parent / "taggers" / "accuracy.json"


def keep(found: Sequence[Accuracy]) -> None:
    """Put these in the place of all that their scripts have left there before."""
    scripts = {one.script for one in found}
    others = [one for one in msgspec.json.decode(FILE.read_bytes(), type=list[Accuracy]) if one.script not in scripts]
    every = sorted([*others, *found], key=lambda one: (one.tagger, one.script))
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(every), indent=1) + b"\n")
