"""What a dedupe says it found. Run: `pytest tests/dedupe/test_notes.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dolma.dedupers.notes import DedupeNotes, SourceCopies, tables

if TYPE_CHECKING:
    from .conftest import Corpus


def test_sources_without_duplicates_and_with_too_many_are_warned_of(corpus: Corpus) -> None:
    texts = {"web": ["x", "x", "x", "x"], "wiki": ["x", "y", "y"], "books": ["a", "b"]}
    records = [{"text": text, "source": source} for source, of in texts.items() for text in of]
    corpus.write("a.jsonl", records)
    report = corpus.dedupe(max_removal=0.7)
    found = [warning.partition("\n")[0] for warning in report.warnings]
    assert found == [
        "no duplicate was found in books",
        "3 of 4 documents of web are duplicates, more than `max_removal` 0.7",
    ]
    assert [table.rows for table in tables(report.details)] == [
        [
            ("books", 2, 0, "0.0 %", 2, 2, 0),
            ("web", 4, 3, "75.0 %", 0, 4, 3),
            ("wiki", 3, 2, "66.7 %", 0, 3, 2),
        ],
        [("web", "web", 3), ("wiki", "web", 1), ("wiki", "wiki", 1)],
    ]


def test_paragraphs_are_counted_by_source(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"text": "x\ny\nx", "source": "s"}, {"text": "y", "source": "t"}])
    report = corpus.dedupe(by="paragraphs")
    assert report.remarks == ["2 of 4 paragraphs are duplicates (50.0 %)"]
    assert [table.rows for table in tables(report.details)] == [[("s", 3, 1, "33.3 %"), ("t", 1, 1, "100.0 %")]]


def test_many_sources_are_named_in_one_line() -> None:
    notes = DedupeNotes(sources=[SourceCopies(source=f"s{i}", seen=1, duplicates=0) for i in range(7)])
    assert list(notes.warnings(0.9)) == ["no duplicate was found in s0, s1, s2, s3, s4 and 2 more"]


def test_a_report_of_a_complete_stage_says_it_again(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "x"])
    first = corpus.dedupe()
    again = corpus.dedupe()
    assert again.complete_before
    assert again.details == first.details
