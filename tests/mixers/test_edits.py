"""Edits of texts in whole mixes. Run: pytest tests/mixers/test_edits.py"""

from __future__ import annotations

from typing import Any

import pytest

from dolma.config import MixConfig, TagConfig
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError, DataError
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

ONLY = {"attribute": "my.spans", "keep_only": True}
SAMPLED = [{}, {"web": {"repeat": 1}}]


@pytest.mark.parametrize("sources", SAMPLED, ids=["in one pass", "sampled"])
def test_documents_that_edits_do_not_change_are_copied_as_the_bytes_they_were(corpus: Any, sources: Any) -> None:
    lines = [
        b'{"id": "w-0",  "text": "a\\u00e9\\nb", "source": "web", "x": 1.50}',
        b'{ "id":"w-1", "text":"ab\\nc" , "source":"web"}',
        b'{ "id":"w-2", "text":"" , "source":"web"}',
    ]
    corpus.write("web", lines)
    ids = ["w-0", "w-1", "w-2"]
    corpus.tag("web", ids=ids, spans=[[(0, 4, 1.0)], [(0, 2, 1.0)], []], more=[[(0, 1, 1.0)], [(1, 1, 1.0)], []])
    edits = [ONLY, {"attribute": "my.more", "replace": "{}"}]
    report = corpus.mix(spans=edits, sources=sources)
    assert corpus.lines() == [lines[0], b'{"id":"w-1","text":"ab","source":"web"}', lines[2]]
    assert report.details.edited_documents == 1
    assert [row["edited_bytes"] - row["bytes"] for row in corpus.rows(of="decisions")] == [0, -2, 0]


@pytest.mark.parametrize("sources", SAMPLED, ids=["in one pass", "sampled"])
def test_the_least_length_is_of_the_text_that_spans_keep(corpus: Any, sources: Any) -> None:
    corpus.write_texts("web", ["éé\nab", "éé\nab", "éé\nab"])
    corpus.tag("web", spans=[[(0, 1, 1.0)], [(0, 4, 1.0)], []])
    report = corpus.mix(spans=[{**ONLY, "lines": True}], min_length=3, sources=sources)
    assert [record["text"] for record in corpus.records()] == ["éé\nab"]
    assert report.ledger.account("web").dropped["min_length"].documents == 2


@pytest.mark.parametrize("sources", SAMPLED, ids=["in one pass", "sampled"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_field_replaces_spans_whatever_the_format(corpus: Any, sources: Any, name: str) -> None:
    corpus.write("web", [{"id": f"web-{i}", "text": "ab", "metadata": {"mask": f"<{i}>"}} for i in range(3)])
    corpus.mix(format=name[1:])
    corpus.folder = corpus.base / "second"
    documents = corpus.folder / "web" / "documents"
    documents.mkdir(parents=True)
    (corpus.out / "documents" / "web" / name).rename(documents / name)
    corpus.tag("web", name=name, spans=[[(0, 1, 1.0)], [], [(1, 2, 1.0)]])
    edit = {"attribute": "my.spans", "replace_field": "metadata.mask"}
    corpus.mix(spans=[edit], sources=sources, min_length=3, output=corpus.base / "edited")
    assert [record["text"] for record in corpus.records(output=corpus.base / "edited")] == ["<0>b", "a<2>"]


def test_a_field_without_a_value_ends_the_mix_before_anything_is_there(corpus: Any) -> None:
    path = corpus.write("web", [{"id": "a", "text": "ab", "metadata": {"mask": "*"}}, {"id": "b", "text": "ab"}])
    corpus.tag("web", ids=["a", "b"], spans=[[(0, 1, 1.0)]] * 2)
    with pytest.raises(DataError, match=r"has no text, number or truth value in the field 'metadata\.mask'") as found:
        corpus.mix(spans=[{"attribute": "my.spans", "replace_field": "metadata.mask"}])
    assert str(found.value).startswith(f"{path}:2: ")
    assert not list(corpus.out.rglob("*.zst"))


@pytest.mark.parametrize(
    ("keys", "both"),
    [
        ({"replace": "x", "keep_only": True}, "`replace` and `keep_only`"),
        ({"replace": "x", "replace_field": "y"}, "`replace` and `replace_field`"),
        ({"replace": "x", "lines": True}, "`replace` and `lines`"),
        ({"replace_field": "y", "keep_only": True, "lines": True}, "`replace_field` and `keep_only`"),
    ],
)
def test_an_edit_does_one_thing(corpus: Any, keys: dict[str, Any], both: str) -> None:
    with pytest.raises(ConfigError, match=rf"gives {both}, which exclude each other") as found:
        corpus.mix(spans=[{"attribute": "my.spans", **keys}])
    assert "$.mix.spans[0]" in str(found.value)


def test_two_workers_edit_as_one_does(corpus: Any) -> None:
    for source in ("books", "web"):
        corpus.write_texts(source, [f"line {i:02d}\nmore\n\nend" for i in range(50)])
        corpus.tag(source, spans=[[(i % 7, 7, 1.0), (3, 12, 0.1)] for i in range(50)], more=[[(14, 17, 1.0)]] * 50)
    spans = [{"attribute": "my.spans", "min_score": 0.5, "lines": True}, {"attribute": "my.more", "replace": "<{}>"}]
    corpus.mix(spans=spans, workers=2)
    assert corpus.records()[3]["text"] == "more\n\n<end>"
    corpus.mix(spans=spans, workers=1, output=corpus.base / "one")
    assert corpus.files() == corpus.files(output=corpus.base / "one")


def test_rules_see_the_page_that_c4_has_left_in_a_second_mix(corpus: Any) -> None:
    page = "\n".join(["A sentence of many words stands here, and it ends well."] * 3 + ["menu"] * 7)
    corpus.write_texts("web", [page])
    options, attributes = RunOptions(workers=1), str(corpus.base / "first")
    dataset = Dataset(documents=(str(corpus.folder / "*" / "documents" / "*"),), attributes=attributes)
    tag(dataset, TagConfig(taggers=["c4_datatrove", "fineweb"]), options=options)
    rules = ["fineweb.short_line_ratio <= 0.67"]
    assert corpus.mix(dataset=dataset, keep=rules).ledger.total().out.documents == 0
    lines = [{"attribute": "c4_datatrove.too_few_words_lines", "lines": True}]
    clean = corpus.mix(dataset=dataset, spans=lines, output=corpus.base / "clean")
    assert clean.details.spans[0].spans == 7
    again = Dataset(documents=(str(corpus.base / "clean" / "documents"),), attributes=str(corpus.base / "second"))
    tag(again, TagConfig(taggers=["fineweb"]), options=options)
    mix(again, MixConfig(keep=rules), output=str(corpus.base / "final"), options=options)
    (record,) = corpus.records(output=corpus.base / "final")
    assert record["text"] == "\n".join(page.split("\n")[:3])
