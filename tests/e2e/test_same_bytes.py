"""`pytest tests/e2e/test_same_bytes.py`: one recipe gives the same bytes at any worker count, file order and place."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Ended

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
SAMPLE = sorted((REPOSITORY / "data" / "sample").glob("*/documents/*.jsonl.gz"))


def tree(folder: Path) -> dict[str, bytes]:
    """All outputs but `recipe.yaml`, which says how many workers there were and how files were listed."""
    left_out = ("recipe.yaml", "_recipe.yaml", ".inputs.json")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in left_out]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The quickstart without training, over these files, with small token shards and some sampling.

    Token rows name the mixed files as the recipe does, so every run writes to `out`, each in a folder of its own.
    """

    def write(name: str, documents: list[str]) -> Path:
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        values = yaml.safe_load((REPOSITORY / "configs" / "quickstart.yaml").read_text())
        values.pop("train")
        values |= {"documents": documents, "output": "out"}
        values["mix"]["sources"] = {"books": {"repeat": 2.5}, "reference": {"repeat": 0.3}}
        values["tokenize"] = {
            "tokenizer": str(REPOSITORY / "data" / "sample" / "tokenizer.json"),
            "max_tokens_per_shard": 100_000,
        }
        path = tmp_path / name / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_workers_and_order_of_files_change_no_byte(
    recipe: Callable[..., Path], dolma: Callable[..., Ended], tmp_path: Path
) -> None:
    files = [str(path) for path in SAMPLE]
    shuffled = random.Random(3).sample(files, len(files))
    runs = {
        "one": (files, 1),
        "two": (files, 2),
        "five": (shuffled, 5),
        "patterns": ([str(REPOSITORY / "data/sample/*/documents/*.gz")], 1),
    }
    for name, (documents, workers) in runs.items():
        ended = dolma("run", recipe(name, documents), "--workers", workers)
        assert ended.status == 0, ended.err
    expected = tree(tmp_path / "one" / "out")
    assert len([path for path in expected if path.startswith("tokens/part-")]) > 5
    for name in runs:
        found = tree(tmp_path / name / "out")
        assert sorted(found) == sorted(expected), name
        assert [path for path in found if found[path] != expected[path]] == [], name


def test_documents_elsewhere_change_no_byte_of_attributes_or_tokens(
    recipe: Callable[..., Path], dolma: Callable[..., Ended], tmp_path: Path
) -> None:
    shutil.copytree(REPOSITORY / "data" / "sample", tmp_path / "copy" / "sample")
    assert dolma("run", recipe("here", [str(path) for path in SAMPLE])).status == 0
    assert dolma("run", recipe("there", [str(tmp_path / "copy/sample/*/documents/*.gz")])).status == 0
    here, there = tree(tmp_path / "here" / "out"), tree(tmp_path / "there" / "out")
    # What names the files that were read, their paths and checksums, is not compared: manifests.
    compared = [path for path in here if not path.endswith(("manifest.json", "stat.json"))]
    assert len(compared) > 50
    assert sorted(here) == sorted(there)
    assert [path for path in compared if here[path] != there[path] and not path.startswith("mixed/rows/")] == []


def test_another_seed_gives_another_sample(
    recipe: Callable[..., Path], dolma: Callable[..., Ended], tmp_path: Path
) -> None:
    path = recipe("seed", [str(path) for path in SAMPLE])
    assert dolma("run", path).status == 0
    before = tree(tmp_path / "seed" / "out")
    assert dolma("run", path, "--seed", "1", "--overwrite").status == 0
    after = tree(tmp_path / "seed" / "out")
    changed = {path.split("/")[0] for path in before if before[path] != after.get(path)}
    assert changed == {"mixed", "tokens", "stat"}
