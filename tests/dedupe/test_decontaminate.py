"""Items of benchmarks in documents on disk. Run: `pytest tests/dedupe/test_decontaminate.py`.

The items of `data/sample/tasks/fables.jsonl` are made up, so that no other text has them.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from dolma.cli.main import dolma
from dolma.data.dataset import pieces
from dolma.data.items import read_asked
from dolma.data.manifest import read_manifest
from dolma.dedupers import dedupe as stage_module
from dolma.dedupers import planting
from dolma.dedupers.notes import BenchmarkHits, tables
from dolma.errors import ConfigError, DataError, OutputExistsError, Unfinished

if TYPE_CHECKING:
    from .conftest import Corpus

FABLES = Path(__file__).parents[2] / "data" / "sample" / "tasks" / "fables.jsonl"
ITEMS = {item.id: item for item in read_asked(str(FABLES))}
LONG = [item for item in ITEMS.values() if len(item.question.split()) >= planting.SHORT]
PROSE = (
    "The surveyor came down to the harbour in the evening and asked for a room.\n"
    "Nobody had seen him before, and the rain had not stopped for two days.\n\n"
    "He paid in coins of the old kind, and slept until noon."
)


def marked(corpus: Corpus, texts: list[str], *, name: str = "dedupe", **config: Any) -> list[dict[str, Any]]:
    """The rows of a corpus of these texts alone."""
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(name=name, **{"method": "decontaminate", "items": [str(FABLES)], **config})
    return corpus.rows(name)


def lines(corpus: Corpus, file: str) -> list[dict[str, Any]]:
    path = corpus.folder / "attributes" / "dedupe" / file
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- what is a hit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", [manner for manner in planting.MANNERS if manner != planting.CHANGED])
def test_items_are_found_however_they_lie_in_a_text(corpus: Corpus, manner: str) -> None:
    rng = random.Random(0)
    rows = marked(corpus, [planting.planted(PROSE, item, manner, rng) for item in LONG])
    assert [row["item"] for row in rows] == [item.id for item in LONG]
    assert {row["benchmark"] for row in rows} == {"fables"}


def test_most_items_are_found_with_one_word_in_ten_changed(corpus: Corpus) -> None:
    rng = random.Random(0)
    rows = marked(corpus, [planting.planted(PROSE, item, planting.CHANGED, rng) for item in LONG * 20])
    assert sum(row["item"] is not None for row in rows) > 0.85 * len(rows)


def test_a_question_counts_more_with_its_answer_and_an_answer_alone_counts_nothing(corpus: Corpus) -> None:
    item = LONG[3]
    texts = [f"{item.question}\n{item.answers[0]}", item.question, item.answers[0], f"{PROSE} {item.answers[0]}"]
    assert [row["score"] for row in marked(corpus, texts)] == [1.0, pytest.approx(0.9), 0.0, 0.0]


@pytest.mark.parametrize(("id", "asked_by"), [("fables/15", 2_000), ("fables/16", 0)])
def test_a_question_that_many_ask_or_of_two_words_needs_its_answer(corpus: Corpus, id: str, asked_by: int) -> None:
    question, (answer,) = ITEMS[id].question, ITEMS[id].answers
    texts = [f"{PROSE}\nQ: {question}!\nA: {answer}", f"{PROSE} {question}", f"{answer} {PROSE}"]
    rows = marked(corpus, [*texts, *(f"{question} {i}" for i in range(asked_by))])
    assert [row["item"] for row in rows] == [id, *([None] * (asked_by + 2))]


@pytest.mark.parametrize("before", ["", "🙂👩\u200d👩 e\u0301te\u0301 ", "漢字かな。", "\u0301\n\n"])
@pytest.mark.parametrize("id", ["fables/0", "fables/19"])
def test_spans_are_code_points_of_the_text(corpus: Corpus, before: str, id: str) -> None:
    text = f"{before}{ITEMS[id].question} 🙂"
    (row,) = marked(corpus, [text])
    (span,) = row["spans"]
    assert text[span["start"] : span["end"]] == ITEMS[id].question.rstrip("?")
    assert span["score"] == row["score"]


def test_two_items_have_a_span_each_and_the_better_one_is_named(corpus: Corpus) -> None:
    first, second = LONG[0], LONG[1]
    text = f"{first.question}\n\n{PROSE}\n\n{second.question} {second.answers[0]}"
    (row,) = marked(corpus, [text])
    assert row["item"] == second.id
    assert [text[span["start"] : span["end"]] + "?" for span in row["spans"]] == [first.question, second.question]
    assert [line["item"] for line in lines(corpus, "_hits.jsonl")] == [first.id, second.id]


PHRASES = [
    "A stitch in time saves nine.",
    "The early bird catches the worm, but the second mouse gets the cheese.",
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software.",
    "Redistribution and use in source and binary forms, with or without modification, are permitted.",
    "f(x) = a x^2 + b x + c, so x = (-b +- sqrt(b^2 - 4 a c)) / (2 a)",
    "Which of the following",
    "What is the smallest number of",
    "the chapel of the ropemakers",
    "",
    "A.\n##\n",
]


def test_phrases_that_anyone_writes_are_no_hits(corpus: Corpus) -> None:
    assert [row["item"] for row in marked(corpus, PHRASES)] == [None] * len(PHRASES)


def test_what_many_documents_have_tells_less(corpus: Corpus) -> None:
    part = " ".join(LONG[0].question.split()[:10])
    alone = marked(corpus, [part], name="alone")[0]["score"]
    among = marked(corpus, [part, *([f"{part} {PROSE}"] * 2_000)], name="among")[0]["score"]
    assert among < alone / 2


def test_a_threshold_is_what_makes_a_hit(corpus: Corpus) -> None:
    part = " ".join(LONG[0].question.split()[:10])
    low, high = (marked(corpus, [part], name=f"at-{round(t * 100)}", threshold=t)[0] for t in (0.1, 0.99))
    assert (low["item"], high["item"]) == (LONG[0].id, None)
    assert low["score"] == high["score"]
    assert (len(low["spans"]), len(high["spans"])) == (1, 0)


# --- what is told ----------------------------------------------------------------------------------------------------


def test_the_report_says_which_document_has_which_item(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", [PROSE, f"{PROSE} {LONG[0].question}"])
    corpus.write_texts("b.jsonl", [LONG[0].question, LONG[1].question])
    report = corpus.dedupe(method="decontaminate", items=[str(FABLES)], report_items=True)
    assert report.remarks == ["3 of 4 documents hold items of benchmarks (75.0 %); 2 of 20 items found"]
    assert report.details.contamination.benchmarks == [
        BenchmarkHits(benchmark="fables", items=20, too_short=1, found=2, documents=3)
    ]
    hits = lines(corpus, "_hits.jsonl")
    assert [(hit["file"], hit["id"], hit["item"]) for hit in hits] == [
        ("a.jsonl", "a.jsonl-1", LONG[0].id),
        ("b.jsonl", "b.jsonl-0", LONG[0].id),
        ("b.jsonl", "b.jsonl-1", LONG[1].id),
    ]
    assert hits[0]["start"] == len(PROSE) + 1
    found = {line["item"]: line for line in lines(corpus, "_items.jsonl")}
    assert list(found) == list(ITEMS)
    assert {id for id, line in found.items() if line["contaminated"]} == {LONG[0].id, LONG[1].id}
    assert (found[LONG[0].id]["documents"], found[LONG[0].id]["id"]) == (2, "a.jsonl-1")
    assert {id for id, line in found.items() if not line["searched"]} == {"fables/18"}
    manifest = read_manifest(str(corpus.folder / "attributes" / "dedupe"))
    assert manifest is not None
    assert {out.path for out in manifest.outputs} >= {"_hits.jsonl", "_items.jsonl"}
    assert [table.title for table in tables(report.details)] == ["items of benchmarks", "documents that hold some"]


def test_the_self_check_says_how_many_are_found_and_leaves_the_documents_alone(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", [PROSE] * 3)
    before = (corpus.folder / "documents" / "a.jsonl").read_bytes()
    report = corpus.dedupe(method="decontaminate", items=[str(FABLES)], self_check=True)
    recall = {(one.items, one.manner): (one.planted, one.found) for one in report.details.contamination.recall}
    assert recall["13 words or more", "as it is"] == (len(LONG), len(LONG))
    assert len(recall) == 2 * len(planting.MANNERS)
    assert report.details.duplicates == 0
    assert (corpus.folder / "documents" / "a.jsonl").read_bytes() == before
    assert [table.title for table in tables(report.details)][-1] == "self-check"


# --- the same answer -------------------------------------------------------------------------------------------------


def write_shards(corpus: Corpus) -> None:
    rng = random.Random(1)
    for name in ("a.jsonl.gz", "b/c.jsonl", "d.jsonl.zst"):
        texts = [
            planting.planted(PROSE, rng.choice(list(ITEMS.values())), rng.choice(list(planting.MANNERS)), rng)
            for _ in range(40)
        ]
        corpus.write(name, [{"id": f"{name}-{i}", "source": "s", "text": text} for i, text in enumerate(texts)])


CONFIG: dict[str, Any] = {
    "method": "decontaminate",
    "items": [str(FABLES)],
    "report_items": True,
    "self_check": True,
}


def outputs(corpus: Corpus) -> dict[str, bytes]:
    folder = corpus.folder / "attributes" / "dedupe"
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".inputs.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_workers_pieces_shards_and_interruptions_change_nothing(corpora: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parallel, pieced, sharded = (corpora() for _ in range(4))
    for corpus in (whole, parallel, pieced, sharded):
        write_shards(corpus)
    whole.dedupe(**CONFIG)
    expected = outputs(whole)
    assert len(expected) == 6
    parallel.dedupe(workers=2, **CONFIG)
    assert outputs(parallel) == expected
    for _ in range(20):
        for shard in ((1, 2), (2, 2)):
            try:
                sharded.dedupe(shard=shard, **CONFIG)
            except Unfinished:
                continue
    assert outputs(sharded) == expected
    monkeypatch.setattr(stage_module, "pieces", lambda shard: pieces(shard, piece_bytes=4_000))
    pieced.dedupe(**CONFIG)
    assert outputs(pieced) == expected


def test_a_second_run_has_nothing_to_do_and_changed_items_are_another_set(corpus: Corpus, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl.gz"
    mine.write_bytes(gzip.compress(FABLES.read_bytes()))
    corpus.write_texts("a.jsonl", [PROSE])
    corpus.dedupe(method="decontaminate", items=[str(mine)])
    assert corpus.dedupe(method="decontaminate", items=[str(mine)]).complete_before
    mine.write_bytes(gzip.compress(FABLES.read_bytes().rpartition(b'{"id"')[0]))
    with pytest.raises(OutputExistsError, match="items"):
        corpus.dedupe(method="decontaminate", items=[str(mine)])
    assert not corpus.dedupe(method="decontaminate", items=[str(mine)], overwrite=True).complete_before


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"mine\.jsonl: has no items\n  give a file with an item on each line"),
        ("{]", r"mine\.jsonl:1: is no item of a benchmark"),
        ('{"question": "Why?", "answer": "So."}', "`text` is missing; there is `question`, `answer`"),
        ('{"text": "Why?"}', "`answer` is missing; there is `text`"),
        ('{"text": 3, "answer": "So."}', "`text` is 3, expected a text"),
    ],
)
def test_a_file_without_items_is_an_error_and_leaves_nothing(
    corpus: Corpus, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "mine.jsonl").write_text(content)
    with pytest.raises(DataError, match=message) as found:
        marked(corpus, [PROSE], items=[str(tmp_path / "mine.jsonl")])
    notes = getattr(found.value, "__notes__", [])
    assert all("mine.jsonl" in note for note in notes if note.startswith("while working on"))
    assert not list((corpus.folder / "attributes").rglob("*.parquet"))


def test_items_are_named_by_files_that_are_there_and_have_names_of_their_own(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no document file matches"):
        marked(corpus, [PROSE], items=[str(tmp_path / "nothing" / "*.jsonl")])
    (tmp_path / "fables.jsonl").write_bytes(FABLES.read_bytes())
    with pytest.raises(ConfigError, match="are both of the benchmark fables"):
        marked(corpus, [PROSE], items=[str(FABLES), str(tmp_path / "fables.jsonl")])


def test_items_that_do_not_fit_into_memory_are_refused(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "MEMORY", 1_000)
    with pytest.raises(ConfigError, match=r"20 items take 0 MB of each worker(.|\n)*`--max-memory 1MB`"):
        marked(corpus, [PROSE])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "`items` is missing"),
        (["--items", str(FABLES), "--by", "id"], "`by` is 'id', expected text: items are looked for in texts"),
        (["--items", str(FABLES), "--threshold", "2"], "`threshold` is 2.0"),
        (["--items", str(FABLES), "--keep", "last"], "`keep` is not for decontaminate"),
        (["--items", str(FABLES), "--bands", "3"], "`bands` is not for decontaminate"),
    ],
)
def test_options_that_do_not_fit_are_refused(corpus: Corpus, options: list[str], message: str) -> None:
    corpus.write_texts("a.jsonl", [PROSE])
    command = ["dedupe", "--method", "decontaminate", "--documents", str(corpus.folder / "documents"), *options]
    result = CliRunner().invoke(dolma, command)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
