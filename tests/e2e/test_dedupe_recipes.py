"""The recipes of published corpora that remove copies: what they leave of some documents, and their numbers.

Run: pytest tests/e2e/test_dedupe_recipes.py
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dolma.config import read_recipe
from dolma.data import streams
from dolma.dedupers.dedupe import method_of
from dolma.dedupers.lsh import Bands
from dolma.dedupers.minhash import MinHash

if TYPE_CHECKING:
    from .conftest import Ended, Place

pytestmark = pytest.mark.e2e
CONFIGS = Path(__file__).parents[2] / "configs"


def words(seed: int, n: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghij", k=6)) for _ in range(n))


def left(place: Place, dolma: Callable[..., Ended], recipe: str) -> dict[str, str]:
    """The texts that the recipe leaves of the documents of a place, by id."""
    given = ("--documents", place.path("documents"), "--output", place.path("out"), "--workers", "1")
    ended = dolma("run", str(CONFIGS / f"{recipe}.yaml"), *given)
    assert ended.status == 0, ended.err
    return {record["id"]: record["text"] for record in _records(Path(place.path("out", "final")))}


def _records(folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted((folder / "documents").rglob("*.jsonl*")):
        for line in b"".join(streams.read_chunks(str(path))).splitlines():
            yield json.loads(line)


def test_dolma_17(place: Place, dolma: Callable[..., Ended]) -> None:
    line, half, other = words(1, 30), words(2, 40), words(3, 60)
    texts = {
        "first": f"{line}\n{half}\n",
        "equal": f"{line}\n{half}\n",
        "line": f"{line}\n{words(4, 60)}\n",
        "ngrams": f"{half} {words(5, 20)}\n",
        "few-ngrams": f"{other}\n",
        "below": f"{' '.join(other.split()[:30])} {words(6, 40)}\n",
        "short": "a short text\n",
    }
    place.write("a.jsonl", ({"id": name, "source": "web", "text": text} for name, text in texts.items()))
    expected = {name: texts[name] for name in ("first", "few-ngrams", "below")} | {"line": f"{words(4, 60)}\n"}
    assert left(place, dolma, "dolma17_dedupe") == expected


def test_olmo_3(place: Place, dolma: Callable[..., Ended]) -> None:
    text, boilerplate = words(1, 200), words(2, 80)
    texts = {
        "equal": ("2020-01-01", text),
        "old": ("2020-01-02", text),
        "recent": ("2024-01-01", f"{text} and more"),
        "page": ("2021-01-01", f"{words(3, 100)}\n{boilerplate}"),
        "footer": ("2021-01-01", f"{words(4, 100)}\n{boilerplate}"),
        "shorter": ("2021-01-01", f"{words(5, 100)}\n{boilerplate[:400]}"),
    }
    place.write(
        "a.jsonl",
        ({"id": name, "source": "web", "created": day, "text": text} for name, (day, text) in texts.items()),
    )
    expected = {name: texts[name][1] for name in ("recent", "page", "footer", "shorter")}
    expected["footer"] = words(4, 100)
    assert left(place, dolma, "olmo3_dedupe") == expected


@pytest.mark.parametrize(
    ("recipe", "stage", "bands", "verify", "chances"),
    [
        ("olmo3_dedupe", "alike", Bands(n=26, rows=11), True, {0.8: 0.9, 0.6: 0.1}),
        ("fineweb", "near", Bands(n=14, rows=8), False, {0.7: 0.56, 0.75: 0.77, 0.8: 0.92, 0.85: 0.988}),
    ],
)
def test_near_duplicates_are_found_with_the_chances_that_were_published(
    recipe: str, stage: str, bands: Bands, verify: bool, chances: dict[float, float]
) -> None:
    read = read_recipe(str(CONFIGS / f"{recipe}.yaml"))
    (section,) = read.stages[stage].dedupes
    method = method_of(section)
    assert isinstance(method, MinHash)
    assert (method.likeness.bands, method.likeness.n, method.verify) == (bands, 5, verify)
    assert {at: bands.found(at) for at in chances} == pytest.approx(chances, abs=0.011)
