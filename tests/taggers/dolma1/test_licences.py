"""Answers of Dolma 1.2.1 about licences (tests/goldens/make_dolma1_code.py), and the cases in which ours are others.

Run: `pytest tests/taggers/dolma1/test_licences.py`.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.errors import ConfigError
from dolma.taggers.dolma1.licences import CcRe, CcReFast

GOLDEN = Path(__file__).parents[2] / "goldens" / "dolma1_code.json.gz"
TAGGERS = {"cc_re": CcRe, "cc_re_fast": CcReFast}
# Ours are other than 1.2.1's, which takes the beginning of "deed", "legalcode" and "igo" for a language.
LANGUAGES = {"cc_by_4.0_de": "cc_by_4.0", "cc_by_3.0_ig": "cc_by_3.0"}


@functools.cache
def goldens() -> dict[str, Any]:
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as file:
        return json.load(file)


def found(tagger: Any, *pages: dict | None, text: str = "a page") -> list[list[tuple[str, float]]]:
    """Name as 1.x has it and score of each licence of each page."""
    batch = TextBatch.of(
        [text] * len(pages), metadata=[None if page is None else json.dumps(page).encode() for page in pages]
    )
    columns = {name: column.to_pylist() for name, column in tagger(batch).items()}
    rows = []
    for i in range(len(pages)):
        names = (columns["licences"][i] or "").split()
        spans = [(span["score"], name) for name in columns if name != "licences" for span in columns[name][i]]
        assert all(span["end"] == len(text) for name in columns if name != "licences" for span in columns[name][i])
        spans.sort(reverse=True)
        assert [name for _, name in spans] == [_output(name) for name in names]
        rows.append([(name, round(score, 5)) for name, (score, _) in zip(names, spans, strict=True)])
    return rows


def _output(name: str) -> str:
    """The output that tells of a licence of 1.x."""
    return re.sub(r"[-/]", "_", re.match(r"cc_(?:publicdomain/[a-z]+|[a-z-]+)", name)[0])


@pytest.mark.golden
@pytest.mark.parametrize("name", TAGGERS)
def test_licences_are_those_of_dolma1_but_for_languages_that_are_none(name: str) -> None:
    theirs = goldens()["answers"][name]
    ids = [id for id, _ in goldens()["pages"]]
    ours = found(TAGGERS[name](), *(page for _, page in goldens()["pages"]))
    for id, answer in zip(ids, ours, strict=True):
        if id == "no html":
            assert theirs[id] == {"error": "ValueError"} and answer == []
            continue
        expected = [
            (LANGUAGES.get(key, key) if id == "no language" else key, score)
            for key, spans in theirs[id]["attributes"].items()
            for _, _, score in spans
        ]
        assert answer == sorted(expected, key=lambda pair: -pair[1])


def test_a_page_without_html_has_no_licence():
    """1.2.1: the run ends."""
    assert found(CcRe(), {}, {"html": None}, {"html": 5}, None) == [[], [], [], []]
    assert CcRe()(TextBatch.of(["a"]))["licences"].to_pylist() == [None]


@pytest.mark.parametrize(
    "site",
    [
        b"creativecommons.org/",
        b"creativecommons.org\\/",
        b"\\u0063reativecommons.org/",
        b"creativecommons\\u002Eorg/",
        b"creativecommon\\u0073.org/",
    ],
)
def test_the_site_is_seen_however_json_writes_it(site: bytes) -> None:
    metadata = b'{"html":"\\u003ca href=\\"http://' + site + b'licenses/by/3.0/\\"\\u003e"}'
    batch = TextBatch.of(["a"], metadata=[metadata])
    assert CcRe()(batch)["licences"].to_pylist() == ["cc_by_3.0"]


def test_the_html_may_be_elsewhere():
    page = {"page": {"source": '<a href="https://creativecommons.org/licenses/by/4.0/">'}}
    assert found(CcRe(field="metadata.page.source"), page) == [[("cc_by_4.0", 1.0)]]
    with pytest.raises(ConfigError, match="field 'html'"):
        CcRe(field="html")


PARTS = [
    "<a ",
    "<A\n",
    "<meta ",
    "<b ",
    "<a",
    "\u00a0",
    "href=",
    "content=",
    "http://",
    "https://",
    "httpss://",
    '"',
    "'",
]
PARTS += [
    "&quot;",
    ">",
    "<",
    "\n",
    " ",
    "creativecommons.org/licenses/",
    "creativecommons.org/publicdomain/",
    "by",
    "by-nc",
]
PARTS += ["zero", "/3.0", "/deed.de", "/us/", "/", "title=हिन्दी ", "+", "é", "«", "²"]
PARTS += [
    '<a href="http://creativecommons.org/licenses/by',
    "<meta content=http://creativecommons.org/publicdomain/zero/1.0",
]


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=18).map("".join))
def test_links_are_those_of_one_expression(html: str) -> None:
    regex = pytest.importorskip("regex")
    expression = regex.compile(
        r"""<(?:a|A|meta)\s[\w\p{P}\s=]*(?:href|HREF|content)=(?:'|"|&quot;)?https*://creativecommons\.org/"""
        r"""(?:licenses/(?P<k>by(?:-nc)?(?:-nd)?(?:-sa)?)|(?P<d>publicdomain/(?:zero|certification|mark)))"""
        r"""(?:/(?P<v>\d+\.\d+))?(?:(?:/\w{2})?/(?:(?:deed|legalcode)\.)?(?P<l>\w{2})(?![A-Za-z]))?"""
        r""".*?(?:'|"|&quot;).*?>"""
    )
    expected = [
        "_".join(part for part in ("cc", match["k"] or match["d"], match["v"], match["l"]) if part)
        for match in expression.finditer(html)
    ]
    assert [name for name, _ in found(CcRe(), {"html": html})[0]] == expected


@pytest.mark.parametrize(
    "html",
    [
        "<a " + "href=http://creativecommons.org/licenses/by " * 50_000,
        "<a href=http://creativecommons.org/licenses/by " * 50_000,
        "creativecommons.org/" * 100_000,
        "http" + "s" * 1_000_000 + "://creativecommons.org/licenses/by",
    ],
    ids=["one tag", "many tags", "sites", "scheme"],
)
def test_a_page_of_links_that_never_end_is_read_once(html: str) -> None:
    assert found(CcRe(), {"html": html}) == [[]]
