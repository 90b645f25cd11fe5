"""Comments are found as by the readable twin. Run: `pytest tests/kernels/test_comments.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.comments import comment_sums, syntaxes_of
from dolma.kernels.reference.comments import Syntax, Token, begins, comments, first_comment
from dolma.taggers.code_syntax import SYNTAXES, compiled_syntaxes, syntax_of, syntax_rows

PARTS = [
    "\n",
    "\n",
    " ",
    "\t",
    "a",
    "é",
    "漢",
    "\\",
    "'",
    '"',
    "`",
    '"""',
    "'''",
    "/",
    "//",
    "/*",
    "*/",
    "#",
    "#!",
    "--",
    ";",
]
PARTS += [
    "<!--",
    "-->",
    "(*",
    "*)",
    "{-",
    "-}",
    "[[",
    "]]",
    "#|",
    "|#",
    "%",
    "=begin",
    "=end",
    "=cut",
    "=head",
    "<?php",
    "?>",
]
PARTS += [
    "[",
    "]",
    "(",
    ":",
    "=",
    "{",
    "}",
    "r",
    "R",
    "$#",
    "<?xml",
    "<!DOCTYPE",
    ">",
    "#[",
    "'x'",
    "'\\n'",
    "x",
    "!",
    "rem ",
]
texts = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=1)), max_size=30).map("".join)


def expected(text: str, syntax: Syntax) -> list[int]:
    found, documentation = comments(text, syntax)
    head = first_comment(text, begins(text, syntax), found)
    sums = [sum(end - start for start, end in spans) for spans in (found, documentation)]
    ends = [len(text[:place].encode()) for place in head] if head else [-1, -1]
    return [len(found), *sums, *ends]


def measured(text: str, name: str) -> list[int]:
    batch = TextBatch.of([text])
    rows = np.array([syntax_rows()[name]])
    return comment_sums(batch.utf8, batch.offsets, compiled_syntaxes(), rows)[0].tolist()


@pytest.mark.property
@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(sorted(SYNTAXES)), texts)
@example("python", '"""a"""\n# b\ndef f():\n    # c\n    r"""d"""\n    x = """e"""\n')
@example("javascript", "a = /[/'\"]/; // b\nc = d / e; /* f")
@example("javascript", "(/" + "é\\é" * 166 + "/ // a")
@example("javascript", "(/" + "é\\é" * 166 + "a/ // a")
@example("javascript", "(/" + "é" * 498 + "/ // a")
@example("javascript", "(/" + "é" * 499 + "/ // a")
@example("rust", "fn f<'a>(x: &'a str) { '\"'; '\\''; r#\"// \"# } // é /* ")
def test_comments_equal_those_of_the_twin(name: str, text: str) -> None:
    text = TextBatch.of([text]).text(0)
    assert measured(text, name) == expected(text, syntax_of(name))


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(SYNTAXES)), texts), max_size=5))
def test_a_document_does_not_depend_on_the_others(documents: list[tuple[str, str]]) -> None:
    batch = TextBatch.of([text for _, text in documents])
    rows = np.array([syntax_rows()[name] for name, _ in documents], dtype=np.int64)
    sums = comment_sums(batch.utf8, batch.offsets, compiled_syntaxes(), rows)
    sums[:, 3:] -= np.where(sums[:, 3:] >= 0, batch.offsets[:-1, None], 0)
    assert sums.tolist() == [measured(batch.text(i), name) for i, (name, _) in enumerate(documents)]


@pytest.mark.parametrize("name", sorted(SYNTAXES))
@pytest.mark.parametrize("part", ["'", '"', "`", "/*", "/", "#", "--[[", "(*", "<!--", "\\", '"""', " \t", "(/["])
def test_a_text_of_one_mark_is_read_a_few_times(name: str, part: str) -> None:
    measured(part * 200_000, name)


def test_without_a_syntax_nothing_is_a_comment():
    batch = TextBatch.of(["# a", "// b"])
    assert (
        comment_sums(batch.utf8, batch.offsets, compiled_syntaxes(), np.array([-1, -1])).tolist()
        == [[0, 0, 0, -1, -1]] * 2
    )


@pytest.mark.parametrize("opens", ["", "123456789", "é"])
def test_what_opens_a_comment_has_one_to_eight_bytes(opens: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 8 of ASCII"):
        syntaxes_of([Syntax(tokens=(Token(opens=opens, kind="line"),))])
