"""Measuring texts that are no files."""

from __future__ import annotations

import pytest

import dolma
from dolma.api.texts import tag_texts
from dolma.errors import ConfigError


@dolma.document_tagger(name="shout", n=dolma.DocInt("exclamation marks"))
def shout(text):
    """How loud a text is."""
    return {"n": text.count("!")}


def test_a_row_per_text_and_a_column_per_output():
    rows = tag_texts(["a!", "", "c d!!"], ["length", shout])
    assert rows.column_names[:2] == ["length.characters", "length.bytes"]
    assert rows["length.words"].to_pylist() == [1, 0, 2]
    assert rows["shout.n"].to_pylist() == [1, 0, 2]
    assert rows["shout.error"].null_count == 3


def test_no_text_gives_no_row():
    rows = tag_texts([], ["length"])
    assert rows.num_rows == 0
    assert "length.words" in rows.column_names


def test_many_texts_come_in_order():
    texts = [f"{i} " + "x" * 200_000 for i in range(30)]
    assert tag_texts(texts, ["length"])["length.characters"].to_pylist() == [len(text) for text in texts]


def test_a_text_that_a_tagger_fails_on_says_why():
    @dolma.document_tagger(name="fails", n=dolma.DocInt("a number"))
    def fails(text):
        return {"n": 1 // len(text)}

    rows = tag_texts(["a", ""], [fails])
    assert rows["fails.n"].to_pylist() == [1, None]
    assert "ZeroDivisionError" in rows["fails.error"][1].as_py()


def test_settings_are_those_of_a_recipe():
    rows = tag_texts(["a", "bcd"], ["length"], max_document_bytes=2)
    assert rows["length.words"].to_pylist() == [1, None]
    with pytest.raises(ConfigError, match=r"\$\.tag\.max_bytes: unknown key"):
        tag_texts(["a"], ["length"], max_bytes=2)


def test_an_unknown_tagger_is_named():
    with pytest.raises(ConfigError, match="no tagger 'lenght'; did you mean 'length'"):
        tag_texts(["a"], ["lenght"])


@pytest.mark.parametrize("taggers", [[], [str]])
def test_what_is_no_tagger_is_named(taggers):
    with pytest.raises(ConfigError, match="expected names of taggers or taggers"):
        tag_texts(["a"], taggers)


def test_two_taggers_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="two taggers are called 'shout'"):
        tag_texts(["a"], [shout, shout])


def test_a_text_that_is_no_string_is_named():
    with pytest.raises(ConfigError, match=r"`texts\[1\]` is int, expected a string"):
        tag_texts(["a", 1], ["length"])


def test_one_string_is_not_taken_for_texts_of_a_letter() -> None:
    with pytest.raises(TypeError, match=r"`texts` is 'abc', expected several texts\n  such as texts=\[\"one text\"\]"):
        dolma.tag(texts="abc", taggers=["length"])
