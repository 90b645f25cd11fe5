"""Manifests: an edited one is found by `verify`, whatever the edit.

Made for edits of settings, inputs, ledger, fingerprint and outputs that passed.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dolma.config import TagConfig, make_recipe
from dolma.data.dataset import Dataset
from dolma.data.manifest import manifest_path
from dolma.errors import DolmaError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag
from dolma.verification import verify
from tests.fuzz.choices import Choices

CODE = ("dolma/data/manifest.py", "dolma/verification.py")
_VALUES: tuple[Any, ...] = (None, 0, 1, -1, "", "x", [], {}, True, 1.5, 10**30, ["x"], {"x": 1}, "../../x", "\0")


def check(choices: Choices, folder: Path) -> None:
    """Change one place of the manifest of a finished stage, and verify."""
    made = folder / "made"
    shutil.copytree(prepare(), made)
    path = Path(manifest_path(str(made)) or "")
    before = path.read_bytes()
    if choices.chance(4):
        path.write_bytes(choices.changed(before))
    else:
        content = json.loads(before)
        _edit(content, choices)
        path.write_text(json.dumps(content))
    same = _same(path.read_bytes(), before)
    try:
        problems = verify([str(made)], make_recipe({})).problems
    except DolmaError:
        problems = ["refused"]
    assert bool(problems) or same, path.read_text(errors="replace")


def _edit(node: Any, choices: Choices) -> None:
    while True:
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = choices.pick(keys)
        if isinstance(node[key], dict | list) and node[key] and not choices.chance(4):
            node = node[key]
            continue
        if choices.chance(3):
            del node[key]
        else:
            node[key] = choices.pick(_VALUES)
        return


def _same(one: bytes, two: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(two))
    except (ValueError, RecursionError):
        return False


@functools.cache
def prepare() -> Path:
    """The folder of a finished stage."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-manifest-"))
    documents = folder / "documents"
    documents.mkdir()
    (documents / "a.jsonl").write_text('{"id": "a", "text": "one two"}\n{"id": "b", "text": ""}\n')
    dataset = Dataset(documents=(str(documents),), attributes=str(folder / "attributes"))
    tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    return folder / "attributes" / "length"
