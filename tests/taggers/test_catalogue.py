"""What `dolma list` and docs/taggers.md know. Run: pytest tests/taggers/test_catalogue.py"""

from __future__ import annotations

import pytest

from dolma.taggers.catalogue import catalogue, manual, speeds
from dolma.taggers.names import BUILT_IN


def test_an_entry_has_place_family_meaning_and_outputs() -> None:
    (entry,) = catalogue(["length"])
    assert (entry.name, entry.family, entry.at) == ("length", "length", "dolma.taggers.length:Length")
    assert entry.meaning.startswith("Characters, bytes, words")
    assert entry.outputs[0] == {
        "name": "length.characters",
        "kind": "int",
        "unit": "code points",
        "range": ">= 0",
        "meaning": "Unicode code points",
    }


def test_what_needs_a_model_is_known_without_it() -> None:
    (entry,) = catalogue(["tokens"])
    assert [need.kind for need in entry.needs] == ["model"]
    assert entry.problem == ""


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_tagger_is_in_the_manual(name: str) -> None:
    assert f"\n### {name}\n" in manual()


def test_speeds_are_of_taggers_that_exist() -> None:
    assert set(speeds().megabytes_per_second) <= set(BUILT_IN)
