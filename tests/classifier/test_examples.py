"""Lines, choices and the two sides of the split. Run: pytest tests/classifier/test_examples.py"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.classifier.examples import Choice, chosen_examples, line_of, side_key
from dolma.errors import ConfigError, DataError

WORDS = [
    "a",
    "B",
    "é",
    "É",
    "</s>",
    "__label__x",
    "x__label__",
    "</s>.",
    " ",
    "\n",
    "\t",
    "\0",
    "\r\n",
    "\u2028",
    "ß",
    "İ",
    "Σ",
]

ALL = Choice(balanced=False)


def sides(labelled, choice: Choice = ALL) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """Trained and judged lines, in order."""
    with chosen_examples(labelled, choice) as examples:
        return list(examples.lines(examples.trained)), list(examples.lines(examples.judged))


def texts(prefix: str, n: int) -> list[str]:
    return [f"{prefix} {i}" for i in range(n)]


# --- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", b""),
        (" \n\0\t", b""),
        ("a\nb\r\nc\n", b"a b\r c"),
        ("__label__good text", b"text"),
        ("a</s>b </s> __label__", b"a</s>b"),
        ("__label__</s>__label__", b""),
        ("x__label__y", b"x__label__y"),
        ("a\0</s>\0b", b"a\0\0b"),
    ],
)
def test_a_line_has_no_newline_and_no_command(text, line):
    assert line_of(text.encode()) == line


def test_lower_case_is_that_of_python():
    assert line_of("ÉTÉ İ ΑΣ".encode(), lower=True).decode() == "été i̇ ας"


@pytest.mark.property
@given(st.lists(st.sampled_from(WORDS)).map(lambda parts: "".join(parts).encode()))
def test_a_line_is_its_own_line(text):
    for lower in (False, True):
        line = line_of(text, lower=lower)
        assert line_of(line, lower=lower) == line
        assert b"\n" not in line


@pytest.mark.parametrize("other", ["Two  words", " two\nWORDS\t", "TWO\u2003words"])
def test_case_and_spacing_change_no_side(other):
    assert side_key(other.encode()) == side_key(b"two words")
    assert side_key(other.encode()) != side_key(b"twowords")


@pytest.mark.property
@given(st.text().map(str.encode))
def test_lower_case_changes_no_side(text):
    assert side_key(line_of(text)) == side_key(line_of(text, lower=True))


# --- the split -------------------------------------------------------------------------------------------------------


def test_about_the_share_is_held_out(of_texts):
    trained, judged = sides(of_texts({"x": texts("x", 1000), "y": texts("y", 1000)}), Choice(held_out=0.2))
    assert len(trained) + len(judged) == 2000
    assert 340 < len(judged) < 460
    assert len(set(trained)) + len(set(judged)) == 2000


def test_a_document_stays_on_its_side_when_others_are_added(of_texts):
    few = sides(of_texts({"x": texts("x", 30), "y": texts("y", 30)}))
    many = sides(of_texts({"x": texts("x", 90), "y": texts("y", 50)}))
    assert set(few[0]) < set(many[0])
    assert set(few[1]) < set(many[1])


def test_neither_order_nor_ids_nor_batches_matter(of_texts):
    x, y = texts("x", 50), texts("y", 40)
    expected = sides(of_texts({"x": x, "y": y}), Choice(per_class=30))
    shuffled = random.Random(0).sample(x, 50), random.Random(1).sample(y, 40)
    trained, judged = sides(of_texts(dict(zip("xy", shuffled, strict=True)), batch=3), Choice(per_class=30))
    assert trained == expected[0]
    assert sorted(judged) == sorted(expected[1])


def test_another_seed_makes_other_choices(of_texts):
    labelled = of_texts({"x": texts("x", 50), "y": texts("y", 50)})
    first, second = (sides(labelled, Choice(per_class=20, seed=seed)) for seed in (0, 1))
    assert set(first[0] + first[1]) != set(second[0] + second[1])
    first, second = (sides(labelled, Choice(balanced=False, seed=seed)) for seed in (0, 1))
    assert set(first[1]) != set(second[1])
    both = set(first[0]) & set(second[0])
    assert [line for line in first[0] if line in both] != [line for line in second[0] if line in both]


def test_lines_to_train_on_are_shuffled(of_texts):
    trained, _ = sides(of_texts({"x": texts("x", 50), "y": texts("y", 50)}))
    assert trained != sorted(trained)
    assert len({index for index, _ in trained[:20]}) == 2


@pytest.mark.property
@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", " ", "\n", "c", "Σ", "σ", "ς"])).map("".join), min_size=1))
def test_no_held_out_text_is_trained_on_in_any_case_or_spacing(of_texts, found):
    labelled = of_texts({"x": [*found, "x"], "y": [*(text.upper() for text in found), "y"]})
    trained, judged = ({side_key(line) for _, line in side} for side in sides(labelled, Choice(held_out=0.5)))
    assert not trained & judged


# --- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "counts"),
    [(Choice(), [20, 20]), (Choice(balanced=False), [50, 20]), (Choice(per_class=7), [7, 7])],
    ids=["balanced", "all", "per class"],
)
def test_how_many_are_chosen(of_texts, choice, counts):
    with chosen_examples(of_texts({"x": texts("x", 50), "y": texts("y", 20)}), choice) as examples:
        assert examples.found == (50, 20)
        both = zip(examples.counts(examples.trained), examples.counts(examples.judged), strict=True)
        assert [trained + judged for trained, judged in both] == counts


def test_more_per_class_are_the_same_and_others(of_texts):
    labelled = of_texts({"x": texts("x", 50), "y": texts("y", 50)})
    few, many = (sides(labelled, Choice(per_class=n)) for n in (10, 20))
    assert set(few[0]) < set(many[0])
    assert set(few[1]) < set(many[1])


def test_repeated_lines_are_counted_one_by_one(of_texts):
    trained, judged = sides(of_texts({"x": ["same"] * 9, "y": texts("y", 9)}), Choice(per_class=5))
    assert [index for index, _ in trained + judged].count(0) == 5


def test_blank_and_unlabelled_documents_are_counted(of_texts):
    labelled = of_texts({"x": ["x", " ", "__label__x"], "y": ["y", "\n"]}, unlabelled=["", "none", "of them"])
    with chosen_examples(labelled, Choice()) as examples:
        assert (examples.blank, examples.unlabelled, examples.found) == (3, 3, (1, 1))


def test_a_class_without_text_is_refused(of_texts):
    with pytest.raises(
        ConfigError, match="the class 'y' has 0 documents with text, at least two are needed\n  give more"
    ):
        sides(of_texts({"x": ["x"], "y": [" "]}))


def test_fewer_than_asked_for_are_refused(of_texts):
    message = "'y' has 3 documents with text, 4 were asked for\n  give more of it or a smaller --per-class"
    with pytest.raises(ConfigError, match=message):
        sides(of_texts({"x": texts("x", 9), "y": texts("y", 3)}), Choice(per_class=4))


# --- the file of lines -----------------------------------------------------------------------------------------------


def test_the_file_of_lines_goes_with_the_block(of_texts):
    with chosen_examples(of_texts({"x": ["x"], "y": ["y"]}), Choice()) as examples:
        path = examples.path
        assert path.is_file()
    assert not path.parent.exists()


@pytest.mark.parametrize("later", [["x", "z"], ["x", "y", "z"], ["x"]], ids=["others", "more", "fewer"])
def test_documents_that_change_in_between_are_noticed(of_texts, later):
    class Changing:
        labels = ("x", "y")
        times = 0

        def __iter__(self):
            self.times += 1
            found = ["x", "y"] if self.times == 1 else later
            return iter(of_texts({"x": found[:1], "y": found[1:]}))

    with pytest.raises(DataError, match="the documents changed while they were read"):
        sides(Changing())
