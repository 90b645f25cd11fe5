"""What benchmarks on labelled documents share: arguments, result files, and the figures that docs/taggers.md shows.

Those are in `taggers/accuracy.json`, written by the scripts that print them.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dolma.taggers.catalogue import Accuracy

HERE = Path(__file__).parent
FILE = HERE.parent / "taggers" / "accuracy.json"


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser of `documents`, `--write` and `--corpus`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--write", metavar="DATE")
    parser.add_argument("--corpus", default="", help="what the documents are, for the result file")
    return parser


def write_result(name: str, title: str, found: str, *, date: str, corpus: str) -> None:
    """Leave a report as `benchmarks/results/DATE-NAME.md`."""
    head = f"# {title}, {date}\n\n`python -m benchmarks.{name}`, Python {platform.python_version()}"
    text = "\n\n".join(filter(None, (head, corpus, found)))
    (HERE / "results" / f"{date}-{name}.md").write_text(text, encoding="utf-8")


def keep(found: Sequence[Accuracy]) -> None:
    """Put these in the place of all that their scripts have left there before."""
    scripts = {one.script for one in found}
    others = [one for one in msgspec.json.decode(FILE.read_bytes(), type=list[Accuracy]) if one.script not in scripts]
    every = sorted([*others, *found], key=lambda one: (one.tagger, one.script))
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(every), indent=1) + b"\n")
