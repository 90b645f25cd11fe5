"""Whole mixes on small corpora. Run: pytest tests/mixers/test_stage.py"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma.config import DedupeConfig, MixConfig, SpanEdit, TagConfig, make_recipe
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.data.manifest import read_manifest
from dolma.dedupers.dedupe import dedupe
from dolma.errors import AlignmentError, ConfigError, DataError, OutputExistsError, RecordError, Unfinished
from dolma.mixers.mix import mix, plan
from dolma.mixers.notes import tables
from dolma.runner.ledger import Tally
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag
from dolma.verification import verify

EMAIL = {"attribute": "my.spans", "replace": "|||EMAIL_ADDRESS|||"}


@pytest.fixture
def three(corpus: Any) -> Any:
    """Three sources of thirty documents of 1 to 30 bytes, `my.n` counting from 0."""
    for source in ("books", "code", "web"):
        corpus.write_texts(source, ["x" * (i + 1) for i in range(30)])
        corpus.tag(source, n=list(range(30)), flag=[i % 2 == 0 for i in range(30)])
    return corpus


# --- what is written -------------------------------------------------------------------------------------------------


def test_kept_records_go_through_byte_for_byte(corpus: Any) -> None:
    lines = [
        b'{"id": "w-0", "text":  "a\\u00e9", "source": "web", "x": 1.50, "deep": {"b": [1,2], "a": null}}',
        b'{ "source":"web","text":"drop", "id":"w-1" }',
        '{"id":"w-2","text":"中😀","source":"web","big":12345678901234567890123}'.encode(),
    ]
    corpus.write("web", lines)
    corpus.tag("web", ids=["w-0", "w-1", "w-2"], n=[1, 0, 1])
    corpus.mix(keep=["my.n = 1"])
    assert corpus.lines() == [lines[0], lines[2]]


def test_one_file_per_shard_under_the_shards_name(three: Any) -> None:
    three.write_texts("web", ["more"], name="deeper/b.jsonl.gz")
    three.tag("web", n=[5], flag=[True], ids=["web-0"], name="deeper/b.jsonl.gz")
    three.mix(keep=["my.n > 3"], format=".jsonl.gz")
    assert list(three.files()) == [
        "decisions/books/a.parquet",
        "decisions/code/a.parquet",
        "decisions/web/a.parquet",
        "decisions/web/deeper/b.parquet",
        "documents/books/a.jsonl.gz",
        "documents/code/a.jsonl.gz",
        "documents/web/a.jsonl.gz",
        "documents/web/deeper/b.jsonl.gz",
        "manifest.json",
        "rows/books/a.parquet",
        "rows/code/a.parquet",
        "rows/web/a.parquet",
        "rows/web/deeper/b.parquet",
        "waterfall.parquet",
    ]


@pytest.mark.parametrize("format", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.bz2", ".jsonl.xz"])
def test_every_format_holds_the_same_records(three: Any, format: str) -> None:
    three.mix(keep=["my.n < 5"], format=format)
    assert len(three.records(f"web/a{format}")) == 5


def test_parquet_out_and_in_again(three: Any) -> None:
    three.mix(keep=["my.n < 5"], format=".parquet")
    dataset = Dataset(documents=(str(three.out / "documents"),))
    found = [
        (batch.ids[i], batch.text(i), batch.sources[i])
        for shard in dataset.shards()
        for batch in read_batches(shard, Reading(), intake=Intake())
        for i in range(len(batch))
    ]
    assert found[:2] == [("books-0", "x", "books"), ("books-1", "xx", "books")]
    assert len(found) == 15


def test_a_record_without_id_or_source_gets_those_it_was_judged_under(corpus: Any) -> None:
    corpus.write(
        "web", [{"text": "a", "source": None}, {"text": "b", "id": 7}, {"text": "c", "id": "x", "source": "y"}]
    )
    corpus.mix(keep=["document.source IN ('web', 'y')"])
    assert corpus.lines()[0] == b'{"id":"web/a.jsonl:1","text":"a","source":"web"}'
    assert corpus.lines()[1] == b'{"source":"web","text": "b", "id": 7}'
    assert corpus.lines()[2] == b'{"text": "c", "id": "x", "source": "y"}'


def test_a_mix_of_a_mix_has_the_same_ids_and_sources(corpus: Any) -> None:
    corpus.write("web", [{"text": "a"}, {"text": "b"}])
    corpus.write("code", [{"text": "c"}])
    first = corpus.mix()
    again = corpus.mix(output=corpus.base / "again", dataset=Dataset(documents=(str(corpus.out / "documents"),)))
    assert corpus.lines(output=corpus.base / "again") == corpus.lines()
    assert again.ledger.accounts.keys() == first.ledger.accounts.keys() == {"web", "code"}


def test_fields_may_have_other_names(corpus: Any) -> None:
    records = [{"key": {"id": f"k{i}"}, "body": {"content": f"mail a@b.c {i}", "lang": "en"}} for i in range(3)]
    corpus.write("web", records)
    corpus.tag("web", ids=["k0", "k1", "k2"], spans=[[], [(5, 10, 1.0)], []])
    reading = Reading(text="body.content", id="key.id", source="key.from")
    corpus.mix(spans=[EMAIL], reading=reading)
    assert corpus.records()[1] == {
        "key": {"id": "k1", "from": "web"},
        "body": {"content": "mail |||EMAIL_ADDRESS||| 1", "lang": "en"},
    }


def test_a_damaged_record_is_written_as_it_was_judged(corpus: Any) -> None:
    corpus.write("web", [b'{"id":"a","source":"web","text":"x\\ud800y"}', b'{"id":"b","source":"web","text":"\xff!"}'])
    report = corpus.mix()
    assert [record["text"] for record in corpus.records()] == ["x\ufffdy", "\ufffd!"]
    assert report.ledger.repaired == {"lone_surrogate": 1, "invalid_utf8": 1}


def test_rows_say_where_each_document_came_from(corpus: Any) -> None:
    records: list[Any] = [{"id": f"{i}", "text": "t" * i, "source": "web"} for i in range(6)]
    path = corpus.write("web", [records[0], b"", b"{broken", *records[1:]])
    corpus.mix(drop=["document.bytes IN (0, 3)"], reading=Reading(on_error="skip"))
    lines = path.read_bytes().split(b"\n")
    assert [row["line"] for row in corpus.rows()] == [4, 5, 7, 8]
    assert {row["shard"] for row in corpus.rows()} == {"web/a.jsonl"}
    for row, written in zip(corpus.rows(), corpus.lines(), strict=True):
        assert lines[row["line"] - 1] == written
        assert row["id"] == json.loads(written)["id"]
        assert row["copy"] == 0


def test_an_empty_shard_becomes_an_empty_file(corpus: Any) -> None:
    corpus.write_texts("a", [])
    corpus.write_texts("b", ["text"])
    assert corpus.mix().ledger.total().out.documents == 1
    assert corpus.lines("a/a.jsonl.zst") == []


# --- edits and length ------------------------------------------------------------------------------------------------


def test_spans_are_replaced_and_counted(corpus: Any) -> None:
    corpus.write_texts("web", ["mail a@b.c now", "none", "é a@b.c"])
    corpus.tag("web", spans=[[(5, 10, 1.0)], [], [(2, 7, 1.0)]])
    report = corpus.mix(spans=[EMAIL])
    assert [record["text"] for record in corpus.records()] == [
        "mail |||EMAIL_ADDRESS||| now",
        "none",
        "é |||EMAIL_ADDRESS|||",
    ]
    assert (report.details.edited_documents, report.details.spans[0].spans) == (2, 2)
    assert report.ledger.total().out.bytes == sum(len(record["text"].encode()) for record in corpus.records())


def test_an_edited_record_keeps_its_other_fields(corpus: Any) -> None:
    corpus.write("web", [b'{"x": 1.50, "id": "a", "text": "ab", "source": "web", "m": {"k":  [1]}}'])
    corpus.tag("web", ids=["a"], spans=[[(0, 1, 1.0)]])
    corpus.mix(spans=[{"attribute": "my.spans"}])
    assert corpus.lines() == [b'{"x":1.50,"id":"a","text":"b","source":"web","m":{"k":  [1]}}']


@pytest.mark.parametrize(("missing", "texts"), [("keep", ["secret", "s"]), ("drop", ["s"])])
def test_a_span_list_that_is_null_is_treated_as_missing(corpus: Any, missing: str, texts: list[str]) -> None:
    corpus.write_texts("web", ["secret", "secret"])
    corpus.tag("web", spans=[None, [(1, 6, 1.0)]])
    report = corpus.mix(spans=[{"attribute": "my.spans"}], missing=missing)
    assert [record["text"] for record in corpus.records()] == texts
    dropped = report.ledger.account("web").dropped
    assert list(dropped) == ["edited away", *([] if missing == "keep" else ["spans: my.spans"])]


def test_a_span_list_that_is_null_is_an_error_by_default(corpus: Any) -> None:
    path = corpus.write_texts("web", ["secret", "secret"])
    corpus.tag("web", spans=[[], None])
    with pytest.raises(DataError, match=r"the rule `spans: my.spans` is NULL for document 'web-1'") as found:
        corpus.mix(spans=[{"attribute": "my.spans"}])
    assert str(found.value).startswith(f"{path}:2: ")


def test_the_least_length_is_of_the_text_after_edits(corpus: Any) -> None:
    corpus.write_texts("web", ["éé", "éééé", "éééé"])
    corpus.tag("web", spans=[[], [], [(1, 4, 1.0)]])
    report = corpus.mix(spans=[{"attribute": "my.spans"}], min_length=3)
    assert corpus.ids() == ["web-1"]
    assert report.ledger.account("web").dropped["min_length"].documents == 2


# --- accounts --------------------------------------------------------------------------------------------------------


def test_the_ledger_balances_and_names_the_rules(three: Any) -> None:
    report = three.mix(keep=["my.n >= 10"], drop=["my.flag", "document.source = 'code'"])
    account = report.ledger.account("web")
    assert (account.taken.documents, account.out.documents) == (30, 10)
    assert {reason: tally.documents for reason, tally in account.dropped.items()} == {
        "keep: my.n >= 10": 10,
        "drop: my.flag": 10,
    }
    assert report.ledger.account("code").dropped["drop: document.source = 'code'"].documents == 10
    total = report.ledger.total()
    assert total.taken.bytes == total.out.bytes + sum(tally.bytes for tally in total.dropped.values())


@pytest.mark.parametrize("sources", [{}, {"web": {"repeat": 0.5}}, {"web": {"repeat": 2.5}}])
def test_bytes_that_edits_take_or_add_are_in_the_ledger_by_source(corpus: Any, sources: Any) -> None:
    for source, texts in {"web": ["é secret"] * 6 + ["secret"], "code": ["abcd"]}.items():
        corpus.write_texts(source, texts)
        corpus.tag(source, spans=[[(0, 3, 1.0)]] * len(texts), n=list(range(len(texts))))
    report = corpus.mix(
        spans=[{"attribute": "my.spans", "replace": "|||"}], keep=["my.n < 5"], min_length=2, sources=sources
    )
    accounts = report.ledger.accounts
    assert accounts["web"].dropped["edited away"] == Tally(bytes=5)
    assert list(accounts["code"].dropped) == []  # as long as before
    for account in accounts.values():
        assert account.taken.bytes == account.out.bytes + sum(tally.bytes for tally in account.dropped.values())


def test_groups_stand_in_ledger_waterfall_and_decisions_by_their_names(three: Any) -> None:
    groups = {
        "long": {"keep": {"ten": "my.n >= 10"}},
        "web": {"drop": {"even": "my.flag"}, "sources": ["web"]},
    }
    report = three.mix(rules=groups)
    ledger = report.ledger
    assert {reason: tally.documents for reason, tally in ledger.account("web").dropped.items()} == {
        "long: ten": 10,
        "web: even": 10,
    }
    assert list(ledger.account("code").dropped) == ["long: ten"]
    assert {(row.rule, row.source) for row in report.details.waterfall} == {
        *(("long: ten", source) for source in ("books", "code", "web")),
        ("web: even", "web"),
    }
    fired = [row["rules"] for row in three.rows(of="decisions") if row["id"] == "web-2"]
    assert fired == [["long: ten", "web: even"]]
    assert three.preview(rules=groups).ledger == ledger


@pytest.mark.parametrize("shares", [{}, {"sources": {"web": {"repeat": 0.5}}}])
def test_a_source_of_rules_that_no_document_is_of_is_an_error(three: Any, shares: Any) -> None:
    groups = {"forum": {"keep": ["my.n > 1"], "sources": ["books", "wep"]}}
    with pytest.raises(ConfigError, match=r"^\$.mix.rules.forum.sources\[1\]: no document .*\n  did you mean 'web'"):
        three.mix(rules=groups, **shares)
    assert not (three.out / "manifest.json").exists()


@pytest.mark.parametrize("more", [{}, {"sources": {"web": {"repeat": 0.5}}}])
@pytest.mark.parametrize("format", [".jsonl", ".parquet"])
def test_dropped_documents_are_kept_aside_with_the_rules(corpus: Any, more: Any, format: str) -> None:
    corpus.write("web", [{"id": f"{i}", "text": "abc"[:i], "n": i} for i in range(4)])
    corpus.tag("web", ids=list("0123"), n=list(range(4)), flag=[True, False, True, False], spans=[[(0, 1, 1.0)]] * 4)
    rules: dict[str, Any] = {"keep": ["my.n > 0"], "rules": {"b": {"drop": {"flagged": "my.flag"}}}, "min_length": 1}
    corpus.mix(**rules, **more, dropped=True, format=format, spans=[{"attribute": "my.spans"}])
    dropped = Dataset(documents=(str(corpus.out / "dropped"),))
    found = [
        json.loads(record)
        for shard in dropped.shards()
        for batch in read_batches(shard, Reading(), intake=Intake(), records=True)
        for record in batch.records or []
    ]
    assert [(record["id"], record["text"], record["n"], record["dropped_by"]) for record in found] == [
        ("0", "", 0, ["keep: my.n > 0", "b: flagged"]),
        ("1", "a", 1, ["min_length"]),
        ("2", "ab", 2, ["b: flagged"]),
    ]
    assert {record["source"] for record in found} == {"web"}
    assert [shard.name for shard in Dataset(documents=(str(corpus.out),)).shards()] == [f"web/a{format}"]
    assert verify([str(corpus.out)], make_recipe({})).problems == []


def test_the_waterfall_is_in_report_and_manifest(three: Any) -> None:
    report = three.mix(keep=["my.n >= 10"], drop=["my.flag"])
    rows = {(row.rule, row.source): row for row in report.details.waterfall}
    first, second = rows["keep: my.n >= 10", "web"], rows["drop: my.flag", "web"]
    assert (first.documents, first.alone, first.total, first.bytes) == (10, 5, 10, 55)
    assert (second.documents, second.alone, second.total) == (10, 10, 15)
    assert first.samples == ["web-0", "web-1", "web-2"]
    manifest = read_manifest(str(three.out))
    assert manifest is not None
    assert len(manifest.notes["waterfall"]) == 6
    table = pq.read_table(three.out / "waterfall.parquet").to_pylist()
    assert [(row["rule"], row["source"], row["total"]) for row in table] == [
        (row.rule, row.source, row.total) for row in report.details.waterfall
    ]
    assert table[2]["overlaps"] == [{"rule": "drop: my.flag", "documents": 5}]
    assert table[2]["samples"] == ["web-0", "web-1", "web-2"]


def test_the_report_has_a_row_of_all_sources_for_each_rule_and_none_where_it_drops_nothing(three: Any) -> None:
    report = three.mix(
        keep=["my.n >= 0"], rules={"few": {"keep": {"long": "my.n > 27"}, "sources": ["web"]}}, overwrite=True
    )
    shown = next(table for table in tables(report.ledger, report.details) if table.title == "rules")
    assert [row[:3] for row in shown.rows] == [
        ["keep: my.n >= 0", "all", 0],
        ["few: long", "all", 28],
        ["few: long", "web", 28],
    ]
    ledger = next(tables(report.ledger, report.details))
    assert [row[1] for row in ledger.rows] == ["in", "out", "in", "out", "in", "- few: long", "out"]


def test_a_report_says_how_many_were_written_with_copies(three: Any) -> None:
    report = three.mix(sources={"web": {"repeat": 2}})
    assert "90 documents in, 90 out (120 with copies)" in report.summary


def test_the_table_of_sources_says_by_how_much_they_differ_from_what_was_asked(three: Any) -> None:
    shares = {source: {"share": 1 / 3} for source in ("books", "code", "web")}
    report = three.mix(sources=shares, total=300)
    shown = list(tables(report.ledger, report.details))[-1]
    found = [dict(zip(shown.headers, row, strict=True)) for row in shown.rows]
    assert [row["achieved - asked"] for row in found] == [row["achieved"] - row["asked"] for row in found]
    assert all(abs(row["achieved - asked"]) <= 15 for row in found)


def test_the_report_shows_the_rules_that_drop_most_together(three: Any) -> None:
    report = three.mix(keep=["my.n >= 10", "my.n >= 12"], drop=["my.flag"])
    shown = next(table for table in tables(report.ledger, report.details) if "same" in table.title)
    assert shown.rows == [
        ["keep: my.n >= 10", "keep: my.n >= 12", 30],
        ["keep: my.n >= 12", "drop: my.flag", 18],
        ["keep: my.n >= 10", "drop: my.flag", 15],
    ]


def test_a_second_run_has_nothing_to_do_and_tells_the_same(three: Any) -> None:
    first = three.mix(keep=["my.n >= 10", "my.n < 100"])
    again = three.mix(keep=["my.n >= 10", "my.n < 100"])
    assert (first.complete_before, again.complete_before) == (False, True)
    assert again.details == first.details
    assert again.warnings == ["the rule `keep: my.n < 100` drops no document of 90"]


def test_another_rule_does_not_overwrite_unasked(three: Any) -> None:
    three.mix(keep=["my.n >= 10"])
    with pytest.raises(OutputExistsError, match=r'keep now lacks \["my.n >= 10"\] and has \["my.n >= 20"\]'):
        three.mix(keep=["my.n >= 20"])
    three.mix(keep=["my.n >= 20"], overwrite=True)
    assert len(three.ids()) == 30


def test_a_mix_stays_where_attributes_of_another_have_no_ids(three: Any) -> None:
    three.mix(keep=["my.n >= 10"])
    path = three.folder / "web" / "attributes" / "my" / "a.jsonl.parquet"
    pq.write_table(pq.read_table(path).drop_columns("id"), path)
    with pytest.raises(DataError, match="no column 'id'"):
        three.mix(keep=["my.n >= 20"], overwrite=True)
    assert len(three.ids()) == 60


@pytest.mark.parametrize(("total", "line"), [(99_000_000, None), (None, b"no json")])
def test_a_mix_stays_where_one_with_shares_cannot_be_made(corpus: Any, total: int | None, line: bytes | None) -> None:
    corpus.write_texts("web", ["one", "two"])
    corpus.mix(keep=["document.bytes > 0"])
    before = {path: path.read_bytes() for path in sorted(corpus.out.rglob("*")) if path.is_file()}
    if line is not None:
        corpus.write("web", [{"id": "web-0", "text": "x"}, line])
    with pytest.raises(RecordError if line else ConfigError, match=r"not valid JSON|of 99,000,000 bytes"):
        corpus.mix(sources={"web": {"share": 1.0}}, total=total, overwrite=True)
    assert {path: path.read_bytes() for path in before} == before
    corpus.write_texts("web", ["one", "two", "three"])
    corpus.mix(sources={"web": {"repeat": 2}}, overwrite=True)
    assert len(corpus.ids()) == 6


def test_attributes_that_changed_make_another_mix(three: Any) -> None:
    three.mix(keep=["my.n >= 10"])
    three.tag("web", n=list(range(30, 60)), flag=[True] * 30)
    with pytest.raises(OutputExistsError, match=r"attributes/my/web/a\.jsonl"):
        three.mix(keep=["my.n >= 10"])


def test_nothing_left_is_a_warning(three: Any) -> None:
    report = three.mix(drop=["my.n >= 0"])
    assert report.warnings == [
        "the rule `drop: my.n >= 0` drops 90 of 90 documents",
        "no document is left of 90; the output is empty",
    ]
    assert three.lines() == []


def test_bad_records_are_counted_and_put_aside_once(corpus: Any, tmp_path: Path) -> None:
    corpus.write("web", [{"id": "a", "text": "x"}, b"{broken", {"id": "b", "text": "y"}])
    reading = Reading(on_error="quarantine", quarantine=str(tmp_path / "bad"))
    report = corpus.mix(sources={"web": {"repeat": 1}}, reading=reading)
    account = report.ledger.account("web")
    assert (account.taken.documents, account.out.documents, account.failed) == (3, 2, 1)
    put_aside = [path.read_bytes() for path in (tmp_path / "bad").rglob("*.jsonl*") if path.is_file()]
    assert put_aside.count(b"{broken\n") == 1


def test_a_bad_record_stops_by_default(corpus: Any) -> None:
    corpus.write("web", [{"id": "a", "text": "x"}, b"{broken"])
    with pytest.raises(RecordError, match=r"a.jsonl:2: not valid JSON"):
        corpus.mix()
    assert not list(corpus.out.rglob("*.zst"))


def test_a_null_stops_before_anything_is_published(three: Any) -> None:
    three.tag("web", n=[*range(29), None], flag=[True] * 30)
    with pytest.raises(DataError, match=r"web/documents/a.jsonl:30: the rule `keep: my.n >= 0` is NULL"):
        three.mix(keep=["my.n >= 0"])
    assert not (three.out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("missing", "rule", "kept"),
    [
        ("keep", {"keep": ["my.n > 1"]}, ["a-0", "a-1", "b-1", "b-2"]),
        ("drop", {"keep": ["my.n > 1"]}, ["b-1"]),
        ("keep", {"drop": ["my.n > 1"]}, ["a-0", "a-1", "b-0", "b-2"]),
        ("drop", {"drop": ["my.n > 1"]}, ["b-0"]),
    ],
)
def test_attributes_missing_in_some_documents_and_in_whole_files(
    corpus: Any, missing: str, rule: dict[str, Any], kept: list[str]
) -> None:
    corpus.write_texts("a", ["x", "y"])
    corpus.tag("a", n=[None, None])
    corpus.write_texts("b", ["x", "y", "z"])
    corpus.tag("b", n=[1, 2, None])
    corpus.mix(missing=missing, **rule)
    assert corpus.ids() == kept


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_the_same_file_twice_is_refused(three: Any) -> None:
    path = str(three.folder / "web" / "documents" / "a.jsonl")
    with pytest.raises(ConfigError, match="listed twice"):
        three.mix(dataset=three.dataset(path, path))


def test_two_files_with_the_same_bytes_are_refused(three: Any) -> None:
    documents = three.folder / "web" / "documents"
    shutil.copy(documents / "a.jsonl", documents / "b.jsonl")
    with pytest.raises(ConfigError) as found:
        three.mix()
    assert str(found.value) == (
        f"$.mix.allow_duplicate_inputs: {documents}/a.jsonl and {documents}/b.jsonl have the same bytes, so their "
        "documents would be in the mix twice\n"
        "  leave one out, or set `allow_duplicate_inputs: true`; `repeat` is how a source is repeated"
    )
    assert three.mix(allow_duplicate_inputs=True).ledger.account("web").out.documents == 60


def test_attributes_of_an_earlier_version_of_a_file_are_refused(corpus: Any) -> None:
    path = corpus.write_texts("web", ["one", "two"])
    tag(corpus.dataset(), TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    corpus.mix(keep=["length.words = 1"])
    corpus.write_texts("web", ["one", "two words"])
    with pytest.raises(AlignmentError) as found:
        corpus.mix(keep=["length.words = 1"])
    assert str(found.value) == (
        f"{path}: is not the file that {corpus.folder}/web/attributes/length/a.jsonl.parquet was made from: "
        "its bytes have changed since\n  make the attributes 'length' again, with `--overwrite`"
    )


def test_attributes_of_another_file_with_the_same_ids_are_refused(corpus: Any) -> None:
    one, other = (corpus.write_texts("web", [text], name=f"{name}.jsonl") for name, text in (("a", "x"), ("b", "x y")))
    tag(corpus.dataset(), TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    with pytest.raises(
        AlignmentError, match=r"a\.jsonl: is not the file that .*/length/a\.jsonl\.parquet was made from"
    ):
        corpus.mix(keep=["length.words = 1"])


@pytest.mark.parametrize("pattern", ["*/documents/*", "web/documents", "web/documents/sub/*", "**/*.jsonl"])
def test_attributes_fit_whatever_pattern_finds_the_file(corpus: Any, pattern: str) -> None:
    for source, text in (("web", "one"), ("books", "one two")):
        corpus.write_texts(source, [text], name="sub/a.jsonl")
        corpus.write_texts(source, [text * 3], name="a.jsonl")
    dedupe(corpus.dataset(), DedupeConfig(), options=RunOptions(workers=1))
    dataset = corpus.dataset(f"{corpus.folder}/{pattern}")
    assert corpus.mix(dataset=dataset, drop=["dedupe.duplicate"]).ledger.total().out.documents > 0


def test_empty_files_are_not_copies_of_each_other(corpus: Any) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl.gz", "d.jsonl.gz"):
        corpus.write("web", [], name=name)
    corpus.write_texts("web", ["text"], name="e.jsonl")
    assert corpus.mix().ledger.total().taken.documents == 1


def test_two_shards_of_one_output_name_are_refused(corpus: Any) -> None:
    corpus.write_texts("web", ["a"], name="a.jsonl")
    corpus.write_texts("web", ["b"], name="a.jsonl.gz")
    with pytest.raises(ConfigError, match=r"would both become documents/web/a.jsonl.zst"):
        corpus.mix()


def test_a_format_that_is_none_is_refused(three: Any) -> None:
    with pytest.raises(ConfigError, match=r"\$.mix.format: is '.jsonl.lzo', expected .jsonl, .csv"):
        three.mix(format=".jsonl.lzo")


def test_nothing_is_read_before_rules_are_checked(three: Any) -> None:
    (three.folder / "web" / "documents" / "a.jsonl").write_bytes(b"no json at all")
    with pytest.raises(ConfigError, match=r"\$.mix.drop\[0\]: no attribute 'my.nn'"):
        three.mix(drop=["my.nn > 1"])
    assert not three.out.exists()


# --- sampling --------------------------------------------------------------------------------------------------------


def test_shares_come_out_within_half_a_document(three: Any) -> None:
    report = three.mix(
        sources={"books": {"share": 0.7}, "code": {"share": 0.2}, "web": {"share": 0.1}}, keep=["my.n >= 2"]
    )
    by_source = Counter()
    for record in three.records():
        by_source[record["source"]] += len(record["text"])
    total = sum(range(3, 31)) / 0.7
    for source, share in (("books", 0.7), ("code", 0.2), ("web", 0.1)):
        assert abs(by_source[source] - share * total) <= 15
        assert report.ledger.account(source).written.bytes == by_source[source]
    assert len(set(three.ids())) == len(three.ids())


@pytest.mark.parametrize(("small", "n"), [(0.001, 0), (0.1, 3)])
def test_extreme_shares_of_equal_sources(corpus: Any, small: float, n: int) -> None:
    for source in ("a", "b"):
        corpus.write_texts(source, [source * 10] * 30)
    report = corpus.mix(sources={"a": {"share": small}, "b": {"share": 1 - small}})
    assert report.ledger.account("b").out.documents == 30
    assert report.ledger.account("a").out.documents == n
    assert len(report.warnings) == (n == 0)


def test_a_share_above_the_supply_stops(three: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"\$.mix.sources.web.share: 0.9 of 1,000 bytes is 900 bytes, but 'web' has 30"
    ):
        three.mix(sources={"web": {"share": 0.9}, "code": {"share": 0.1}, "books": {"share": 0}}, total=1000)


def test_a_repeated_source_has_ids_of_its_own_and_rows(three: Any) -> None:
    report = three.mix(sources={"web": {"repeat": 2.5}, "code": {"repeat": 0.3}}, keep=["my.n < 10"])
    assert {source: report.ledger.account(source).written.documents for source in ("books", "code", "web")} == {
        "books": 10,
        "code": 3,
        "web": 25,
    }
    copies = Counter(record["id"].split("#")[0] for record in three.records("web/a.jsonl.zst"))
    assert Counter(copies.values()) == {3: 5, 2: 5}
    assert len(set(three.ids())) == len(three.ids())
    rows = [row for row in three.rows() if row["shard"] == "web/a.jsonl"]
    assert [row["id"] for row in rows] == [record["id"] for record in three.records("web/a.jsonl.zst")]
    assert all(row["id"] == f"web-{row['line'] - 1}" + (f"#{row['copy'] + 1}" if row["copy"] else "") for row in rows)
    assert report.ledger.account("code").dropped["sampled out"].documents == 7


def test_the_seed_decides_the_sample(three: Any) -> None:
    chosen = []
    for seed in (0, 0, 1):
        three.mix(sources={"web": {"repeat": 0.5}}, seed=seed, overwrite=True)
        chosen.append(three.ids())
    assert chosen[0] == chosen[1] != chosen[2]


def test_edits_happen_when_sampling_too(corpus: Any) -> None:
    corpus.write_texts("web", [f"{i} secret" for i in range(10)])
    corpus.tag("web", spans=[[(2, 8, 1.0)]] * 10, n=list(range(10)))
    report = corpus.mix(
        spans=[{"attribute": "my.spans", "replace": "*"}], keep=["my.n > 1"], sources={"web": {"repeat": 1.5}}
    )
    assert {record["text"] for record in corpus.records()} == {f"{i} *" for i in range(2, 10)}
    assert report.ledger.account("web").written.bytes == sum(len(record["text"]) for record in corpus.records()) == 36


def test_a_share_counts_bytes_after_edits(corpus: Any) -> None:
    for source in ("a", "b"):
        corpus.write_texts(source, [source + "y" * 99] * 20)
        corpus.tag(source, spans=[[(1, 100, 1.0)] if source == "a" else []] * 20)
    corpus.mix(spans=[{"attribute": "my.spans"}], sources={"a": {"share": 0.01}, "b": {"share": 0.99}})
    assert Counter(record["source"] for record in corpus.records()) == {"a": 20, "b": 20}


# --- the same bytes every time ---------------------------------------------------------------------------------------


SAMPLED = {"keep": ["my.n >= 3"], "sources": {"books": {"share": 0.5}, "code": {"share": 0.3}, "web": {"share": 0.2}}}


@pytest.mark.parametrize("config", [{"keep": ["my.n >= 3"]}, SAMPLED])
def test_the_number_of_workers_leaves_no_trace(three: Any, config: dict[str, Any]) -> None:
    three.mix(workers=1, **config)
    three.mix(workers=2, output=three.base / "two", **config)
    assert three.files(output=three.base / "two") == three.files()


def test_the_order_of_patterns_leaves_no_trace(three: Any) -> None:
    patterns = [str(three.folder / source / "documents" / "*") for source in ("books", "code", "web")]
    three.mix(dataset=three.dataset(*patterns), **SAMPLED)
    three.mix(dataset=three.dataset(*patterns[::-1]), output=three.base / "two", **SAMPLED)
    assert three.files(output=three.base / "two") == three.files()


def test_shards_of_a_run_give_the_same_files(three: Any) -> None:
    three.mix(**SAMPLED)
    two = three.base / "two"
    for i in (1, 2, 1, 2):
        with contextlib.suppress(Unfinished):
            three.mix(shard=(i, 2), output=two, **SAMPLED)
    assert three.files(output=two) == three.files()


@pytest.mark.parametrize(
    "config", [{"keep": ["my.n >= 3"]}, {"keep": ["my.n >= 3"], "sources": {"web": {"repeat": 1.5}}}]
)
@pytest.mark.parametrize("format", [".jsonl.zst", ".parquet"])
def test_a_long_file_is_mixed_in_pieces(
    corpus: Any, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], format: str
) -> None:
    corpus.write_texts("web", ["word " * (i % 9) for i in range(200)])
    corpus.tag("web", n=list(range(200)))
    config = {**config, "drop": ["my.n % 7 = 0"], "dropped": True}
    report = corpus.mix(output=corpus.base / "whole", format=".jsonl", **config)
    whole = corpus.lines(output=corpus.base / "whole")
    monkeypatch.setattr("dolma.data.dataset.pieces.__kwdefaults__", {"piece_bytes": 1500})
    assert len(pieces(corpus.dataset().shards()[0])) > 3
    parts = corpus.mix(format=format, **config)
    assert len(whole) == report.ledger.total().written.documents
    assert parts.details == report.details
    assert parts.ledger == report.ledger
    assert corpus.rows() == corpus.rows(output=corpus.base / "whole")
    assert corpus.rows(of="decisions") == corpus.rows(of="decisions", output=corpus.base / "whole")
    (dropped,) = (corpus.out / "dropped" / "web").iterdir()
    n_dropped = sum(1 for row in corpus.rows(of="decisions") if not row["kept"])
    assert format_of(str(dropped)).count(str(dropped)) == n_dropped > 20
    assert verify([str(corpus.out)], make_recipe({})).problems == []
    if format != ".parquet":
        assert corpus.lines() == whole
    else:
        assert pq.read_table(corpus.out / "documents" / "web" / "a.parquet")["id"].to_pylist() == [
            json.loads(line)["id"] for line in whole
        ]


# --- without writing -------------------------------------------------------------------------------------------------


def test_a_plan_checks_the_rules_and_reads_no_document(three: Any) -> None:
    (three.folder / "web" / "documents" / "a.jsonl").write_bytes(b"no json at all")
    rows = list(plan(three.dataset(), MixConfig(keep=["my.n > 1"], drop=["my.flag"]), output="out"))
    assert rows[2]["attributes"] == ["my.flag", "my.n"]
    assert rows[2]["output"] == "out/documents/web/a.jsonl.zst"
    with pytest.raises(ConfigError, match=r"\$.mix.keep\[0\]: no attribute"):
        list(plan(three.dataset(), MixConfig(keep=["my.m > 1"]), output="out"))


@pytest.mark.parametrize("config", [{"keep": ["my.n >= 10"], "drop": ["my.flag"]}, SAMPLED])
def test_a_preview_tells_what_the_mix_would_do(three: Any, config: dict[str, Any]) -> None:
    seen = three.preview(**config)
    assert not three.out.exists()
    made = three.mix(**config)
    assert (seen.details, seen.warnings) == (made.details, made.warnings)
    assert seen.ledger == made.ledger


# --- real text -------------------------------------------------------------------------------------------------------


def test_the_sample_corpus_is_mixed_by_words_and_masked(tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "data" / "sample"
    dataset = Dataset(
        documents=(str(sample / "*" / "documents" / "*.jsonl.gz"),), attributes=str(tmp_path / "attributes")
    )
    options = RunOptions(workers=1)
    tag(dataset, TagConfig(taggers=["length", "pii"]), options=options)
    config = MixConfig(
        keep=["length.words BETWEEN 50 AND 5000"],
        drop=["len(pii.ip) > 3"],
        spans=[SpanEdit(attribute="pii.email", replace="|||EMAIL_ADDRESS|||")],
    )
    report = mix(dataset, config, output=str(tmp_path / "mix"), options=options)
    originals = {
        record["id"]: record
        for path in sample.glob("*/documents/*.jsonl.gz")
        for record in map(json.loads, gzip.open(path))
    }
    mixed = Dataset(documents=(str(tmp_path / "mix" / "documents"),))
    n_masks = 0
    for shard in mixed.shards():
        for batch in read_batches(shard, Reading(), intake=Intake(), records=True):
            for i, raw in enumerate(batch.records or []):
                record = json.loads(raw)
                original = originals[record["id"]]
                assert 50 <= len(original["text"].split()) <= 5000
                n_masks += record["text"].count("|||EMAIL_ADDRESS|||")
                assert {**record, "text": ""} == {**original, "text": ""}
                assert batch.sources[i] == original["source"]
    total = report.ledger.total()
    assert total.taken.documents == len(originals)
    assert 0 < total.out.documents < len(originals)
    assert n_masks == report.details.spans[0].spans > 0
    assert sum(row.documents for row in report.details.waterfall) == total.taken.documents - total.out.documents


# --- memory ----------------------------------------------------------------------------------------------------------

MEASURED = """
import ast, sys
import dolma.kernels.strings
from dolma.config import MixConfig, convert
from dolma.data.dataset import Dataset
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10

folder, config = sys.argv[1], convert(ast.literal_eval(sys.argv[2]), MixConfig)
for source in ("small", "long"):
    before = peak()
    dataset = Dataset(documents=(f"{folder}/{source}/documents/*",))
    mix(dataset, config, output=f"{folder}/mixed/{source}", options=RunOptions(workers=1))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read in /proc")
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"spans": [{"attribute": "my.spans", "replace": "X"}], "min_length": 2},
        {"sources": {"all": {"repeat": 3}}, "format": ".jsonl.gz"},
    ],
    ids=["passed on", "edited", "repeated"],
)
def test_a_byte_of_a_line_takes_four_bytes_of_memory_at_most(corpus: Any, config: dict[str, Any]) -> None:
    n_bytes = 64 << 20
    text = "xé\U0001f600z" * (n_bytes // 8)
    for source, texts in (("small", ["xé" * 40] * 200_000), ("long", ["x", text, text, "x"])):
        corpus.write(
            source, [json.dumps({"source": "all", "text": text}, ensure_ascii=False).encode() for text in texts]
        )
        ids = [f"a.jsonl:{i}" for i in range(1, len(texts) + 1)]
        corpus.tag(source, ids=ids, spans=[[(0, 1, 1.0)]] * len(texts))
    command = [sys.executable, "-c", MEASURED, str(corpus.folder), repr({"missing": "keep", **config})]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert int(ended.stdout) <= 4 * n_bytes


@pytest.mark.parametrize("with_ids", [True, False])
def test_attributes_are_found_under_any_pattern(tmp_path: Path, with_ids: bool) -> None:
    for source in ("web", "code"):
        path = tmp_path / "hf" / source / "a.jsonl"
        path.parent.mkdir(parents=True)
        records = [{"text": f"{source} {i}"} | ({"id": f"{source}-{i}"} if with_ids else {}) for i in range(3)]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    everything, web = (
        Dataset(documents=(f"{tmp_path}/hf/{pattern}",), attributes=str(tmp_path / "out"))
        for pattern in ("*/*.jsonl", "web/*.jsonl")
    )
    tag(everything, TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    report = mix(web, MixConfig(keep=["length.characters = 5"]), output=str(tmp_path / "mixed"))
    assert report.ledger.total().out.documents == 3


# --- goldens ---------------------------------------------------------------------------------------------------------


@pytest.mark.golden
def test_the_documents_of_a_sampled_mix_stay_as_they_are(corpus: Any) -> None:
    # Of each source two documents and a half are asked for, by shares in bytes; of a later mix four and a half.
    for source in ("books", "web"):
        corpus.write_texts(source, [f"{source[0]}{i:09d}" for i in range(9)])
    found = []
    for sources, total in (
        ({"books": {"share": 0.5}, "web": {"share": 0.5}}, 50),
        ({"books": {"repeat": 1.5}, "web": {"repeat": 0.5}}, None),
    ):
        corpus.mix(sources=sources, total=total, seed=3, overwrite=True)
        found.append(" ".join(corpus.ids()))
        found.append(hashlib.sha256(b"\n".join(corpus.lines())).hexdigest()[:16])
    assert found == [
        "books-1 books-3 web-1 web-4",
        "6959b6ff75a0f047",
        "books-0 books-0#2 books-1 books-1#2 books-2 books-2#2 books-3 books-3#2 books-4 books-5 books-6 books-7 "
        "books-8 books-8#2 web-1 web-2 web-4 web-5 web-8",
        "e709862a28e286e5",
    ]
