"""What `dolma list` and docs/taggers.md know. Run: pytest tests/taggers/test_catalogue.py"""

from __future__ import annotations

from pathlib import Path

import pytest

from dolma.config import TaggerSpec
from dolma.taggers.catalogue import accuracy, catalogue, manual, speeds
from dolma.taggers.catalogue import built_in as described
from dolma.taggers.declared import built_in
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import declared_taggers, make_tagger
from dolma.taggers.tagger import files_of, needs_of


@pytest.fixture(scope="module")
def page() -> str:
    return manual()


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
def test_a_built_in_tagger_is_in_the_manual(name: str, page: str) -> None:
    assert f"\n### {name}\n" in page


def test_the_page_of_taggers_is_the_manual(page: str) -> None:
    kept = (Path(__file__).parents[2] / "docs" / "taggers.md").read_text(encoding="utf-8")
    assert kept == page, "run `dolma list --markdown > docs/taggers.md`"


def test_the_catalogue_is_what_the_taggers_declare() -> None:
    kept = (Path(__file__).parents[2] / "taggers" / "catalogue.json").read_bytes()
    assert kept == built_in(), "run `python -m dolma.taggers.declared`"


@pytest.mark.parametrize("name", [entry.name for entry in described().taggers if entry.version is not None])
def test_a_tagger_that_need_not_be_made_is_declared_as_it_is(name: str) -> None:
    spec = TaggerSpec(use=name)
    (known,), made = declared_taggers([spec]), make_tagger(spec)
    assert type(known) is not type(made)
    assert (known.name, known.version, known.outputs) == (made.name, made.version, made.outputs)
    assert (needs_of(known), files_of(known)) == (needs_of(made), files_of(made))


def test_the_manual_has_figures_on_labelled_documents(page: str) -> None:
    for name in ("pii", "language", "fasttext", "code"):
        assert any(one.tagger == name for one in accuracy())
    assert "| Presidio's synthetic sentences, EMAIL_ADDRESS | 51 |" in page


def test_figures_are_of_taggers_that_exist_and_shares() -> None:
    for one in accuracy():
        assert one.tagger in BUILT_IN
        assert one.n > 0
        assert all(0 <= value <= 1 for value in one.values.values())


def test_speeds_are_of_taggers_that_exist() -> None:
    assert set(speeds().megabytes_per_second) <= set(BUILT_IN)
