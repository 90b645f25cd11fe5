"""Files without the documents that go. Run: pytest tests/removal/test_rewrite.py"""

from __future__ import annotations

from dolma.removal.rewrite import without_values


def test_an_id_that_is_a_key_of_statistics_takes_nothing_but_a_value() -> None:
    top = {"kind": "text", "all": {"type": "text", "count": 2, "top": {"all": 1, "en": 1}}}
    found = {"sources": {"web": {"documents": 2}}, "total": {}, "attributes": {"language": {"top": top}}}
    left = without_values(found, {"all", "kind", "web", "total", "language", "count"})
    assert left["attributes"]["language"]["top"]["all"].pop("top") == {"en": 1}
    top["all"].pop("top")
    assert left == found
