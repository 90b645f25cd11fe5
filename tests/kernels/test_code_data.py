"""Signs of data are found as by the readable twin. Run: `pytest tests/kernels/test_code_data.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.code_data import data_sums, visible_lengths
from dolma.kernels.reference import code_data as reference

OF_DATA = [
    "0x12,",
    "0x12",
    "\\x41",
    "\\x41" * 8,
    "ab,",
    "ab ",
    "ab\u3000",
    "cd\n",
    "0x1f, ",
    "12 " * 8,
    "ab," * 7,
    "\\u00e9",
]
OF_DATA += [
    "\\u00e9" * 7,
    "QUJD" * 15,
    "QUJD",
    "=",
    "/",
    "+",
    "x",
    "X",
    "g",
    "_",
    "é",
    "²",
    ",",
    " ",
    "\n",
    "\r",
    "\x1c",
    "1",
    "-",
]
OF_DATA += ["{{", "{%", "<%", "<?", "<?xml", "{", "<", "}"]
OF_HTML = [
    "<",
    ">",
    "<p>",
    "</p",
    "<a href=",
    '"',
    "'",
    "=",
    "<!--",
    "-->",
    "--",
    "<script>",
    "<SCRIPT ",
    "<style",
    "<scripts>",
]
OF_HTML += [
    "</script",
    "</STYLE>",
    "&",
    "&amp;",
    "&#12;",
    "&#x1f;",
    "#",
    ";",
    "a",
    "é",
    "漢",
    " ",
    "\n",
    "/",
    "!",
    "?",
    "a" * 31,
]
data = st.lists(st.one_of(st.sampled_from(OF_DATA), st.text(max_size=1)), max_size=30).map("".join)
pages = st.lists(st.one_of(st.sampled_from(OF_HTML), st.text(max_size=1)), max_size=30).map("".join)


@pytest.mark.property
@settings(max_examples=1000, deadline=None)
@given(st.lists(data, max_size=3))
@example(["ab," * 8, "0x12, " * 8, "\\x41" * 9, "a\\x41" * 2 + "\\x42" * 8, "12 34 " * 4 + "g", "é" + "12 " * 8])
@example(
    ["QUJD" * 16, "QUJD\n" * 13, "\\u00e9" * 8, "\\\\u00e9" * 8 + "\\u00e9" * 7, "1,2\n0xff\n-\nadd 1\nsum 1\n\n 1"]
)
def test_signs_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    assert data_sums(batch.utf8, batch.offsets).tolist() == [reference.data_sums(text) for text in batch.texts()]


@pytest.mark.property
@settings(max_examples=700, deadline=None)
@given(st.lists(pages, max_size=3))
@example(
    ["<script>a</script>b", "<script", "<style>a</script></style >b", "<!-->a-->b", "a < b & c &lt; d", "<a b='>'>c"]
)
def test_visible_text_equals_that_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = visible_lengths(batch.utf8, batch.offsets, np.ones(len(batch), dtype=bool))
    assert found.tolist() == [reference.visible_length(text) for text in batch.texts()]


def test_well_formed_pages_have_the_text_that_beautiful_soup_finds():
    bs4 = pytest.importorskip("bs4")
    page = "<!DOCTYPE html>\n<html><head><title>T &amp; t</title><style>p > a {}</style></head>\n<body class='a>b'>"
    page += "<p>Some <b>bold</b> text&#33;</p><!-- no --><script>if (a < b) {}</script><br/></body></html>\n"
    soup = bs4.BeautifulSoup(page, features="html.parser")
    for element in soup(["script", "style"]):
        element.extract()
    batch = TextBatch.of([page])
    assert visible_lengths(batch.utf8, batch.offsets, np.array([True])).tolist() == [len(soup.get_text())]


@pytest.mark.parametrize(
    "part", ["ab,", "\\x41", "<script>", "<a b='", "&", "\\u00e9", "ab \u3000", "0x", "{%", "<!--", "ab  "]
)
def test_a_text_of_one_mark_is_read_a_few_times(part: str) -> None:
    batch = TextBatch.of([part * 300_000])
    data_sums(batch.utf8, batch.offsets)
    visible_lengths(batch.utf8, batch.offsets, np.array([True]))
