"""Counting documents, and describing attributes on disk."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dolma.cli.main import run
from dolma.config import StatConfig, TagConfig
from dolma.data.attributes import AttributeWriter
from dolma.data.columns import DocBool, DocFloat, DocInt, DocText, DocVector, Output, Spans, spans_of
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import Reading
from dolma.data.json_text import decode_json
from dolma.errors import AlignmentError, ConfigError, OutputExistsError
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.stats import describe as describe_module
from dolma.stats import stat as stat_module
from dolma.stats.stat import plan, stat
from dolma.stats.statistics import NumberSummary, SpansSummary, Statistics, TextSummary, TruthSummary
from dolma.taggers.tag import tag

OUTPUTS: dict[str, Output] = {
    "number": DocFloat("a number", unit="pieces"),
    "whole": DocInt("a whole number"),
    "flag": DocBool("a truth value"),
    "label": DocText("a string"),
    "found": Spans("spans"),
    "vector": DocVector("some numbers", size=2),
}


class Corpus:
    """Documents and attributes below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, source: str, records: Iterable[dict[str, Any]], *, name: str = "a.jsonl") -> None:
        """A shard of these records."""
        path = self.folder / source / "documents" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def tag(self, source: str, *, format: Any = "parquet", name: str = "a.jsonl", **columns: Sequence) -> None:
        """An attribute set "mine" of the shard, with these outputs."""
        suffix = ".parquet" if format == "parquet" else ""
        path = self.folder / source / "attributes" / "mine" / f"{name}{suffix}"
        outputs = {output: OUTPUTS[output] for output in columns}
        n_docs = len(next(iter(columns.values())))
        arrays = {
            output: spans_of(values) if output == "found" else pa.array(values, OUTPUTS[output].arrow_type)
            for output, values in columns.items()
        }
        with AttributeWriter(str(path), outputs, tagger="mine", format=format) as writer:
            writer.write([str(i) for i in range(n_docs)], arrays, characters=[9] * n_docs)

    @property
    def dataset(self) -> Dataset:
        return Dataset(documents=(str(self.folder / "*" / "documents" / "*"),))

    def stat(self, **options: Any) -> Statistics:
        """What the stage finds."""
        return self.report(**options).details

    def report(
        self, *, output: Path | None = None, workers: int = 1, overwrite: bool = False, **config: Any
    ) -> StageReport[Statistics]:
        """Run the stage."""
        return stat(
            self.dataset,
            StatConfig(**config),
            output=None if output is None else str(output),
            options=RunOptions(workers=workers, overwrite=overwrite),
        )


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def blank(n: int) -> list[dict[str, Any]]:
    return [{"id": str(i), "text": "t"} for i in range(n)]


def of(report: Statistics, output: str) -> Any:
    return report.attributes["mine"][output].all


# --- documents -------------------------------------------------------------------------------------------------------


def test_documents_are_counted_by_source(corpus: Corpus) -> None:
    corpus.write("books", [{"text": "one two"}, {"text": ""}])
    corpus.write("web", [{"text": "é 中😀\u3000x"}])
    assert corpus.stat().table() == [
        {"source": "books", "documents": 2, "bytes": 7, "characters": 7, "words": 2},
        {"source": "web", "documents": 1, "bytes": 14, "characters": 6, "words": 3},
        {"source": "total", "documents": 3, "bytes": 21, "characters": 13, "words": 5},
    ]


def test_the_source_that_a_record_names_counts(corpus: Corpus) -> None:
    corpus.write("mixed", [{"text": "a", "source": "x"}, {"text": "b c", "source": "y"}, {"text": "d"}])
    assert {row["source"]: row["words"] for row in corpus.stat().table()} == {"mixed": 1, "x": 1, "y": 2, "total": 4}


def test_documents_without_attributes_are_enough(corpus: Corpus) -> None:
    corpus.write("books", blank(2))
    assert corpus.stat().attributes == {}


def test_documents_outside_a_documents_folder_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    assert stat(Dataset(documents=(str(tmp_path / "*.jsonl"),)), StatConfig()).details.total.documents == 1


def test_the_report_is_the_same_with_two_workers(corpus: Corpus) -> None:
    for source in ("a", "b", "c"):
        corpus.write(source, [{"id": str(i), "text": "word " * i} for i in range(5)])
        corpus.tag(source, number=[0.1 * i for i in range(5)], flag=[True, None, False, True, True])
    assert corpus.stat(workers=1).to_json() == corpus.stat(workers=2).to_json()


# --- attributes ------------------------------------------------------------------------------------------------------


def test_numbers_are_described_for_all_and_by_source(corpus: Corpus) -> None:
    for source, values in (("a", [1.0, 2.0]), ("b", [3.0, None])):
        corpus.write(source, blank(2))
        corpus.tag(source, number=values)
    found = corpus.stat().attributes["mine"]["number"]
    assert isinstance(found.all, NumberSummary)
    assert (found.all.count, found.all.missing, found.all.mean, found.unit) == (3, 1, 2.0, "pieces")
    assert {source: summary.mean for source, summary in found.sources.items()} == {"a": 1.5, "b": 3.0}


def test_sources_within_one_file_are_told_apart(corpus: Corpus) -> None:
    corpus.write("mixed", [{"id": str(i), "text": "t", "source": source} for i, source in enumerate("xyx")])
    corpus.tag("mixed", whole=[1, 5, 2])
    found = corpus.stat().attributes["mine"]["whole"]
    assert {source: summary.max for source, summary in found.sources.items()} == {"x": 2, "y": 5}


@pytest.mark.parametrize(
    "values",
    [[4.0] * 3, [math.nan] * 3, [1.7e308, -1.7e308, 0.0], [-5.0, -1.0, -3.0], [math.inf, 1.0, 2.0], [None] * 3],
    ids=["constant", "nan", "huge", "negative", "infinite", "empty"],
)
def test_odd_numbers_have_a_whole_histogram(corpus: Corpus, values: list) -> None:
    corpus.write("a", blank(3))
    corpus.tag("a", number=values)
    found = of(corpus.stat(), "number")
    n_finite = sum(value is not None and math.isfinite(value) for value in values)
    assert sum(found.counts) == n_finite
    assert len(found.edges) == (len(found.counts) + 1 if n_finite else 0)


def test_an_odd_report_is_json(corpus: Corpus) -> None:
    corpus.write("a", blank(3))
    corpus.tag("a", number=[math.nan, 1.7e308, math.inf])
    report = corpus.stat()
    assert decode_json(report.to_json(), Statistics) == report


def test_truth_values_have_a_share(corpus: Corpus) -> None:
    corpus.write("a", blank(4))
    corpus.tag("a", flag=[True, False, None, True])
    assert of(corpus.stat(), "flag") == TruthSummary(count=3, missing=1, true=2, share=2 / 3)


def test_vectors_have_norms(corpus: Corpus) -> None:
    corpus.write("books", blank(4))
    corpus.tag("books", vector=[[3, 4], None, [0, 0], [1, float("nan")]])
    found = of(corpus.stat(), "vector")
    assert (found.size, found.norm.count, found.norm.missing, found.norm.max, found.norm.min) == (2, 3, 1, 5.0, 0.0)
    (row,) = corpus.stat().attribute_table()
    assert row["attribute"] == "mine.vector (norm of 2 numbers)"


def test_strings_have_a_top(corpus: Corpus) -> None:
    corpus.write("a", blank(5))
    corpus.tag("a", label=["b", "a", "b", None, "c"])
    found = of(corpus.stat(), "label")
    assert found == TextSummary(count=4, missing=1, distinct=3, exact=True, top={"a": 1, "b": 2, "c": 1})


@pytest.fixture
def columns(corpus: Corpus) -> Corpus:
    """Four files with five columns, and documents of two sources in each."""
    for name in "abcd":
        corpus.write(name, [{"id": str(i), "text": "t", "source": f"s{i % 2}"} for i in range(5)])
        spans = [[(0, 2, 0.5)], [], [(1, 4, 0.0)], [], []]
        corpus.tag(
            name, number=range(5), whole=range(5), flag=[True, False] * 2 + [None], label=list("abcab"), found=spans
        )
    return corpus


def test_attribute_files_are_opened_once_for_all_columns(columns: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    reader = describe_module.AttributeReader

    def counting(path: str, *args: Any, **given: Any) -> Any:
        opened.append(path)
        return reader(path, *args, **given)

    monkeypatch.setattr(describe_module, "AttributeReader", counting)
    columns.stat()
    assert len(opened) == len(set(opened)) == 4


@pytest.mark.parametrize(("most", "memory"), [(0, 1 << 20), (1 << 20, 16)])
def test_columns_that_are_not_held_are_described_alike(
    columns: Corpus, monkeypatch: pytest.MonkeyPatch, most: int, memory: int
) -> None:
    expected = columns.stat()
    monkeypatch.setattr(stat_module, "_TOGETHER_BYTES", most)
    monkeypatch.setattr(stat_module, "MEMORY", memory)
    assert columns.stat() == expected


def test_the_top_is_ordered_and_says_when_it_is_not_exact(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe_module, "MOST_DISTINCT", 2)
    corpus.write("a", blank(5))
    corpus.tag("a", label=["b", "a", "a", "c", "c"])
    row = next(row for row in corpus.stat().attribute_table() if row["attribute"] == "mine.label")
    assert (list(row["top"].items()), row["exact"]) == ([("a", 2), ("b", 1)], False)


def test_long_strings_are_not_all_counted(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe_module, "MOST_DISTINCT_BYTES", 5)
    corpus.write("a", blank(4))
    corpus.tag("a", label=["\u00e9\u00e9", "long", "b", "b"])
    found = of(corpus.stat(), "label")
    assert found == TextSummary(count=4, missing=0, distinct=2, exact=False, top={"b": 2, "\u00e9\u00e9": 1})


@pytest.mark.parametrize("format", ["parquet", "dolma1"])
def test_spans_have_number_length_and_score(corpus: Corpus, format: str) -> None:
    corpus.write("a", blank(3))
    corpus.tag("a", format=format, found=[[(0, 2, 0.5), (4, 5, 1.0)], [], [(1, 4, 0.0)]])
    found = next(iter(corpus.stat().attributes["mine"].values())).all
    assert isinstance(found, SpansSummary)
    assert (found.per_document.count, found.per_document.mean) == (3, 1.0)
    assert (found.length.count, found.length.mean, found.score.mean) == (3, 2.0, 0.5)


def test_a_key_of_dolma_1_that_one_file_lacks_is_missing_there(corpus: Corpus) -> None:
    corpus.write("a", blank(1), name="1.jsonl")
    corpus.write("a", blank(2), name="2.jsonl")
    corpus.tag("a", format="dolma1", name="1.jsonl", found=[[(0, 1, 1.0)]])
    corpus.tag("a", format="dolma1", name="2.jsonl", found=[[], []])
    found = of(corpus.stat(), "found").per_document
    assert (found.count, found.missing) == (1, 2)


def test_a_shard_without_an_attribute_file_has_missing_rows(corpus: Corpus) -> None:
    corpus.write("a", blank(2))
    corpus.write("b", blank(3))
    corpus.tag("a", whole=[1, 2])
    report = corpus.report()
    found = of(report.details, "whole")
    assert (found.count, found.missing) == (2, 3)
    assert report.warnings == [
        f"no attributes 'mine' for 1 of 2 document files, whose documents count as missing: "
        f"{corpus.folder}/b/documents/a.jsonl\n  run the command that made the attributes for these, too"
    ]


def test_attributes_of_another_text_under_the_same_id_are_refused(corpus: Corpus) -> None:
    corpus.write("web", [{"id": "1", "text": "one"}])
    tag(corpus.dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    corpus.stat()
    corpus.write("web", [{"id": "1", "text": "two words"}])
    with pytest.raises(AlignmentError) as found:
        corpus.stat()
    assert str(found.value) == (
        f"{corpus.folder}/web/documents/a.jsonl: is not the file that "
        f"{corpus.folder}/web/attributes/length/a.jsonl.parquet was made from: its bytes have changed since\n"
        "  make the attributes 'length' again, with `--overwrite`"
    )


def test_attributes_of_other_documents_stop_the_run(corpus: Corpus) -> None:
    corpus.write("a", blank(3))
    corpus.tag("a", whole=[1, 2])
    with pytest.raises(AlignmentError, match=r"a\.jsonl:3: no row for this document .*a\.jsonl\.parquet"):
        corpus.stat()


@pytest.mark.parametrize("format", ["parquet", "dolma1"])
def test_attributes_of_as_many_other_documents_stop_the_run(corpus: Corpus, format: str) -> None:
    corpus.write("a", [{"id": id, "text": "t"} for id in ("0", "other")])
    corpus.tag("a", format=format, found=[[], []])
    with pytest.raises(AlignmentError, match=r"a\.jsonl:2: id 'other', but its row in .* has id '1'"):
        corpus.stat()


def test_attributes_of_a_file_in_pieces_are_checked_piece_by_piece(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.write("a", blank(50))
    corpus.tag("a", whole=list(range(50)))
    monkeypatch.setattr(stat_module, "pieces", partial(pieces, piece_bytes=200))
    assert of(corpus.stat(), "whole").count == 50
    corpus.write("a", [{"id": "x" if i == 40 else str(i), "text": ""} for i in range(50)])
    with pytest.raises(AlignmentError, match=r"a\.jsonl:\d+: "):
        corpus.stat()


def test_an_attribute_set_that_is_not_there_is_an_error(corpus: Corpus) -> None:
    corpus.write("a", blank(1))
    corpus.tag("a", whole=[1])
    with pytest.raises(
        ConfigError, match=r"\$\.stat\.attributes\[1\]: no attributes called 'mien'\n.*did you mean 'mine'"
    ):
        corpus.stat(attributes=["mine", "mien"])


def test_a_folder_without_attributes_of_the_documents_is_told(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus.write("a", blank(1))
    given = ["--documents", str(tmp_path / "a"), "--attributes", str(tmp_path / "measured")]
    assert run(["stat", *given]) == 0
    said = capsys.readouterr().err
    assert "warning: no attributes of these documents in" in said and "it has: none\n" in said
    assert run(["tag", "--taggers", "length", *given]) == 0
    assert run(["stat", *given]) == 0
    assert "no attributes" not in capsys.readouterr().err


def test_no_attributes_may_be_asked_for(corpus: Corpus) -> None:
    corpus.write("a", blank(1))
    corpus.tag("a", whole=[1])
    assert corpus.stat(attributes=[]).attributes == {}


# --- output ----------------------------------------------------------------------------------------------------------


def test_the_report_is_written_and_a_rerun_reads_it(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write("a", blank(3))
    corpus.tag("a", whole=[1, 2, 4])
    first = corpus.report(output=tmp_path / "out")
    again = corpus.report(output=tmp_path / "out")
    assert (first.complete_before, again.complete_before) == (False, True)
    assert again.details.to_json() == first.details.to_json() == (tmp_path / "out" / "stat.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["manifest.json", "stat.json"]


def test_changed_attributes_need_overwrite(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write("a", blank(1))
    corpus.tag("a", whole=[1])
    corpus.stat(output=tmp_path / "out")
    corpus.tag("a", whole=[2])
    with pytest.raises(OutputExistsError, match="--overwrite"):
        corpus.stat(output=tmp_path / "out")
    assert of(corpus.stat(output=tmp_path / "out", overwrite=True), "whole").max == 2


def test_skipped_records_are_in_the_ledger(corpus: Corpus) -> None:
    corpus.write("a", blank(2))
    with (corpus.folder / "a" / "documents" / "a.jsonl").open("a") as file:
        file.write("{broken\n")
    found = stat(corpus.dataset, StatConfig(), reading=Reading(on_error="skip"))
    assert found.details.total.documents == 2
    assert found.ledger.total().failed == 1


def test_a_plan_names_what_would_be_read(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write("a", blank(1))
    corpus.tag("a", whole=[1])
    rows = list(plan(corpus.dataset, StatConfig(), output=str(tmp_path / "out")))
    assert [(row["attributes"], row["output"]) for row in rows] == [(["mine"], str(tmp_path / "out" / "stat.json"))]
    assert not (tmp_path / "out").exists()


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_are_counted_by_source(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write("a", blank(2))
    corpus.write("b", [{"id": "0", "text": "t", "source": "named"}])
    a, b = (corpus.folder / source / "documents" / "a.jsonl" for source in "ab")
    rows = f'0,5,1,{a},1\n5,9,"odd,id",{a},2\n9,12,0,{b},1\n12,13,0,/else/books/documents/x.jsonl,1\n'
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "part-0-00000.csv.gz").write_bytes(gzip.compress(rows.encode()))
    report = corpus.stat(tokens=str(tmp_path / "tokens"))
    assert report.tokens is not None
    assert {source: (found.documents, found.tokens) for source, found in report.tokens.items()} == {
        "a": (2, 9),
        "books": (1, 1),
        "named": (1, 3),
    }
    assert [tuple(row.values()) for row in report.token_table()] == [
        ("a", 2, 9),
        ("books", 1, 1),
        ("named", 1, 3),
        ("total", 4, 13),
    ]


def test_documents_and_tokens_of_what_was_made_of_them_share_no_row(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write("a", blank(2))
    (tmp_path / "tokens").mkdir()
    rows = f"0,5,1,{corpus.folder / 'a' / 'documents' / 'a.jsonl'},1\n"
    (tmp_path / "tokens" / "part-0-00000.csv.gz").write_bytes(gzip.compress(rows.encode()))
    report = corpus.stat(tokens=str(tmp_path / "tokens"))
    assert [set(row) for row in report.table()] == [{"source", "documents", "bytes", "characters", "words"}]
    assert report.token_table() == [{"source": "a", "documents": 1, "tokens": 5}]


def test_a_folder_without_token_shards_is_a_config_error(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write("a", blank(1))
    with pytest.raises(ConfigError, match=r"\$\.stat\.tokens: no token shards"):
        corpus.stat(tokens=str(tmp_path / "none"))


# --- real text -------------------------------------------------------------------------------------------------------


def test_the_sample_is_counted_as_python_counts() -> None:
    pattern = Path(__file__).parents[2] / "data" / "sample" / "*" / "documents" / "*.jsonl.gz"
    dataset = Dataset(documents=(str(pattern),))
    texts = [
        json.loads(line)["text"]
        for shard in dataset.shards()
        for line in gzip.decompress(Path(shard.path).read_bytes()).splitlines()
    ]
    total = stat(dataset, StatConfig(attributes=[])).details.total
    assert total.documents == len(texts)
    assert total.bytes == sum(len(text.encode()) for text in texts)
    assert total.characters == sum(map(len, texts))
    assert total.words == sum(len(text.split()) for text in texts)
