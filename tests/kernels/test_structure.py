"""Marks of lines and links are found as by regular expressions. Run: `pytest tests/kernels/test_structure.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.reference import structure as reference
from dolma.kernels.structure import line_kinds, link_sums
from dolma.kernels.views import line_spans

OF_LINES = [
    "\n",
    "\n",
    "\n",
    " ",
    "\t",
    "|",
    "||",
    "a",
    "12",
    "(",
    ")",
    ".",
    "-",
    "*",
    "•",
    "==",
    "=",
    "#",
    "```",
    "~~~",
]
OF_LINES += ["<li>", "<h2 ", "<tr>", "\u3000", "é", "---", "- ", "1. ", "漢"]
OF_LINKS = [
    "http",
    "https",
    "ftp",
    "://",
    ":",
    "/",
    "www.",
    "WWW.",
    "a",
    ".",
    "é",
    "](",
    "]",
    "<a ",
    "<A\n",
    "<ab",
    '="',
    "=",
]
OF_LINKS += [" ", "'", ")", ",", "?x=1", "HTTP://", "s", "\x7f", "w", "-", "@"]
lines = st.lists(st.one_of(st.sampled_from(OF_LINES), st.text(max_size=2)), max_size=30).map("".join)
links = st.lists(st.one_of(st.sampled_from(OF_LINKS), st.text(max_size=2)), max_size=25).map("".join)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(lines, max_size=4))
@example(
    [
        "* * *\n- - a\n* **b**\n-\n- \n+ é",
        "== a ==\n====\n=====\n==a=\n=a",
        "a\n---\n---\n\n---",
        "a||b||c|d|\n|a|",
        "0\t\t|\na\t\tb\tc",
    ]
)
@example(["(a) b\n(1. b\na. b\na) b\n1234. b\n12)b\n(12) b\n(", "#\n####### a\n#a\n# a", "```\n~~~\n````\n~~~"])
def test_kinds_of_lines_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = line_kinds(batch.utf8, batch.view(line_spans))
    assert found.tolist() == [reference.line_kinds(text) for text in batch.texts()]


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.lists(links, max_size=4))
@example(["http://", "http:/", "ahttp://b", "HTTPS://b...", "www.", "www.a", "x@www.a", "http://www.a", "a]", "<a"])
def test_links_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    assert link_sums(batch.utf8, batch.offsets).tolist() == [reference.link_sums(text) for text in batch.texts()]


def test_a_line_of_a_million_marks_is_read_once():
    batch = TextBatch.of(["||" * 500_000, "www." * 250_000, "://" * 300_000])
    assert line_kinds(batch.utf8, batch.view(line_spans))[:, 4].tolist() == [0, 0, 0]
    assert link_sums(batch.utf8, batch.offsets)[:, 0].tolist() == [0, 1, 0]
