"""Repeated windows, from documents on disk to attributes on disk.

Run: `pytest tests/dedupe/test_windows.py`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig, MixConfig, SpanEdit
from dolma.data import exchange
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Piece, Shard, pieces
from dolma.data.documents import Reading
from dolma.data.exchange import MEMORY
from dolma.data.streams import read_chunks
from dolma.dedupers import dedupe as stage_module
from dolma.dedupers import method, windows
from dolma.dedupers.chunks import most_of_windows
from dolma.dedupers.dedupe import METHODS
from dolma.dedupers.paragraphs import split_sentences, takes_part
from dolma.dedupers.reference import repeated_windows, sentences
from dolma.errors import DataError, Unfinished
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions

if TYPE_CHECKING:
    from .conftest import Corpus

Make = Callable[[], "Corpus"]
SENTENCES = {"method": "windows", "by": "sentences"}
PARAGRAPHS = {"method": "windows", "by": "paragraphs"}


def marked(corpus: Corpus, texts: Sequence[str], name: str = "dedupe") -> list[list[str]]:
    """The parts of each text that are marked."""
    return [
        [text[span["start"] : span["end"]] for span in row["spans"]]
        for text, row in zip(texts, corpus.rows(name), strict=True)
    ]


def left(texts: Sequence[str], corpus: Corpus, name: str = "dedupe") -> list[str]:
    """What of each text is not marked."""
    found = []
    for text, row in zip(texts, corpus.rows(name), strict=True):
        for span in reversed(row["spans"]):
            text = text[: span["start"]] + text[span["end"] :]
        found.append(text)
    return found


# --- C4's rule -------------------------------------------------------------------------------------------------------


def test_of_three_sentences_that_two_documents_have_the_first_stay(corpus: Corpus) -> None:
    texts = ["A one. B two. C three. D four.", "X ten. A one. B two. C three. Y ten."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == [texts[0], "X ten. Y ten."]
    assert corpus.rows()[1] == {
        "id": "a.jsonl-1",
        "spans": [{"start": start, "end": start + 7 + 2 * (start > 20), "score": 2.0} for start in (7, 14, 21)],
        "fraction": 23 / 36,
        "n_sentences": 5,
        "n_duplicates": 3,
    }


def test_two_sentences_in_common_are_no_window(corpus: Corpus) -> None:
    texts = ["A one. B two. C three.", "A one. B two. D three.", "A one. B two."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == texts


def test_windows_that_overlap_are_marked_once(corpus: Corpus) -> None:
    texts = ["A one. B two. C three. D four.", "A one. B two. C three. D four. E five."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == [texts[0], "E five."]


def test_a_window_may_repeat_within_its_document(corpus: Corpus) -> None:
    texts = ["A one. B two. C three. D four. A one. B two. C three.", "A one. A one. A one. A one. A one."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == ["A one. B two. C three. D four. ", "A one. "]
    assert {span["score"] for row in corpus.rows() for span in row["spans"]} == {1.0}


def test_a_window_never_crosses_documents(corpus: Corpus) -> None:
    texts = ["A one. B two.", "C three. D four.", "A one. B two. C three. D four.", "B two. C three. D four."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == [*texts[:3], ""]


def test_sentences_follow_one_another_whatever_lines_they_are_in(corpus: Corpus) -> None:
    texts = ["A one.\nB two. C three.", "A one. B two.\n\nC three.\nend"]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == [texts[0], "\nend"]


def test_a_line_of_which_a_sentence_stays_keeps_its_newline(corpus: Corpus) -> None:
    shared = "B two. C three. D four."
    texts = [shared, f"E one. {shared}\nE two.\n", f"F one.\n  {shared}\nF two.\n", f"{shared} G one.\nG two."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus)[1:] == ["E one. \nE two.\n", "F one.\nF two.\n", "G one.\nG two."]


def test_spans_of_emoji_combining_marks_and_cjk_are_the_sentences(corpus: Corpus) -> None:
    shared = ["👩‍👩‍👧 came 😀! ", "E\u0301te\u0301 is near. ", "中文句子。", "日本語の文。"]
    texts = ["".join(shared), "🎉 New\u0301. " + "".join(shared) + "新しい。"]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert marked(corpus, texts) == [[], shared]


def test_a_script_without_marks_is_compared_by_lines(corpus: Corpus) -> None:
    texts = ["สวัสดีครับ\nยินดีต้อนรับ\nขอบคุณ\nลาก่อน", "ใหม่\nสวัสดีครับ\nยินดีต้อนรับ\nขอบคุณ"]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES)
    assert left(texts, corpus) == [texts[0], "ใหม่\n"]


def test_sentences_are_evened_out_when_asked(corpus: Corpus) -> None:
    texts = ["A one. B two! C three.", "A ONE! B   two. C three?"]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES, name="plain")
    corpus.dedupe(**SENTENCES, name="even", normalize=["lower", "punctuation", "spaces"])
    assert [row["n_duplicates"] for row in corpus.rows("plain")] == [0, 0]
    assert [row["n_duplicates"] for row in corpus.rows("even")] == [0, 3]


@pytest.mark.parametrize("option", [{"min_words": 5}, {"min_length": 13}])
def test_the_length_that_counts_is_that_of_the_window(corpus: Corpus, option: dict[str, int]) -> None:
    texts = ["Yes! Yes! Ohh!", "Yes! Yes! Ohh! Well I never did."] * 2
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES, **option)
    assert left(texts, corpus) == [*texts[:3], "Yes! "]


# --- a rule by count -------------------------------------------------------------------------------------------------

FOOTER = "All rights reserved."
QUOTE = "To be or not."


def test_boilerplate_falls_everywhere_and_quotations_stay(corpus: Corpus) -> None:
    texts = [f"Page {i}.\n{QUOTE if i < 2 else i}\n{FOOTER}" for i in range(4)] + [QUOTE * 3]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**PARAGRAPHS, keep="none", min_documents=3)
    assert left(texts, corpus) == [text.removesuffix(FOOTER) for text in texts]


def test_documents_count_and_not_occurrences(corpus: Corpus) -> None:
    texts = ["x\nx\nx\nx", "y\nx", "y"]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**PARAGRAPHS, min_documents=2, name="two")
    corpus.dedupe(**PARAGRAPHS, min_documents=3, name="three")
    assert left(texts, corpus, "two") == ["x\n", "y\n", ""]
    assert left(texts, corpus, "three") == texts


def test_the_score_is_in_how_many_documents_the_window_is(corpus: Corpus) -> None:
    texts = ["Aa. Bb.", "Aa. Bb.", "Aa. Bb. Cc.", "Bb. Cc."]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**SENTENCES, window=2, keep="none")
    scores = [[span["score"] for span in row["spans"]] for row in corpus.rows()]
    assert scores == [[3, 3], [3, 3], [3, 3, 2], [2, 2]]


def test_a_mix_removes_what_is_in_enough_documents(corpus: Corpus) -> None:
    texts = [f"Page {i}.\n{QUOTE if i < 2 else i}\n{FOOTER}" for i in range(4)]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**PARAGRAPHS, keep="none", name="lines")
    rules = MixConfig(spans=[SpanEdit(attribute="lines.spans", replace="", min_score=3)])
    dataset = Dataset(documents=(str(corpus.folder / "documents" / "*"),))
    mix(dataset, rules, output=str(corpus.folder / "mixed"), options=RunOptions(workers=1))
    (path,) = (corpus.folder / "mixed").rglob("*.jsonl*")
    records = [json.loads(line) for line in b"".join(read_chunks(str(path))).splitlines()]
    assert [record["text"] for record in records] == [text.removesuffix(FOOTER) for text in texts]


def test_a_blank_line_may_stand_between_paragraphs(corpus: Corpus) -> None:
    texts = ["a\nb\n\nc", "a\nx\n\na\nb\n\nc"]
    corpus.write_texts("a.jsonl", texts)
    corpus.dedupe(**PARAGRAPHS, separator="\n\n")
    assert left(texts, corpus) == ["a\nb\n\nc", "a\nx\n\n"]


def test_windows_of_a_reference_come_first_and_count(corpora: Make) -> None:
    corpus, reference = corpora(), corpora()
    reference.write("z.jsonl", [{"text": "a\nb", "source": "web"}])
    corpus.write("a.jsonl", [{"text": "b\nc\na", "source": source} for source in ("web", "wiki")])
    pattern = [str(reference.folder / "documents" / "*")]
    corpus.dedupe(**PARAGRAPHS, window=2, reference=pattern, name="two")
    corpus.dedupe(**PARAGRAPHS, reference=pattern, min_documents=3, name="three")
    corpus.dedupe(**PARAGRAPHS, reference=pattern, scope="within-source", name="within")
    assert [row["n_duplicates"] for row in corpus.rows("two")] == [0, 3]
    assert [row["n_duplicates"] for row in corpus.rows("three")] == [2, 2]
    assert [row["n_duplicates"] for row in corpus.rows("within")] == [2, 0]
    assert not (reference.folder / "attributes").exists()


def test_the_summary_counts_sentences(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["Aa. Bb. Cc.", "Aa. Bb. Cc. Dd."])
    report = corpus.dedupe(**SENTENCES)
    assert report.remarks == ["3 of 7 sentences are duplicates (42.9 %)"]
    assert (report.details.unit, report.details.sources[0].seen) == ("sentences", 7)


# --- against the readable twin ---------------------------------------------------------------------------------------

PARTS = ["One. ", "Two! ", "three ", "e.g. ", "\n", " \n", "中文。", "😀👩‍👩‍👧? ", "E\u0301. ", "...", "\u3000"]
texts_of_parts = st.lists(st.sampled_from(PARTS), max_size=9).map("".join)
documents = st.lists(st.tuples(st.sampled_from(["web", "wiki"]), texts_of_parts), max_size=5)


@pytest.mark.property
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(documents, min_size=1, max_size=3).filter(any),
    by=st.sampled_from(["sentences", "paragraphs"]),
    window=st.integers(1, 4),
    min_documents=st.integers(1, 3),
    keep=st.sampled_from(["first", "none"]),
    words=st.sampled_from([[], ["punctuation", "spaces"]]),
    gated=st.fixed_dictionaries(
        {"skip_empty": st.booleans(), "min_length": st.integers(0, 12), "min_words": st.integers(0, 4)}
    ),
    within=st.booleans(),
)
def test_agrees_with_the_twin(
    tmp_path_factory: Any,
    shards: Sequence[Sequence[tuple[str, str]]],
    by: str,
    window: int,
    min_documents: int,
    keep: str,
    words: list[str],
    gated: dict[str, Any],
    within: bool,
) -> None:
    from .conftest import Corpus

    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    for i, shard in enumerate(shards):
        corpus.write(f"{i}.jsonl", [{"source": source, "text": text} for source, text in shard])
    options: dict[str, Any] = {"by": by, "window": window, "min_documents": min_documents, "keep": keep}
    scope = "within-source" if within else "all"
    corpus.dedupe(method="windows", scope=scope, normalize=words, **options, **gated)

    def takes_part(units: list[str]) -> bool:
        n_words = sum(len(unit.split()) for unit in units)
        long_enough = sum(map(len, units)) >= gated["min_length"] and n_words >= gated["min_words"]
        return long_enough and (n_words > 0 or not gated["skip_empty"])

    everything = [document for shard in shards for document in shard]
    sources = [source for source, _ in everything] if within else None
    expected = repeated_windows([text for _, text in everything], takes_part, words=words, sources=sources, **options)
    found = [row | {"spans": [tuple(span.values()) for span in row["spans"]]} for row in corpus.rows()]
    assert [{name: row[name] for name in expected[0]} for row in found] == expected


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(texts_of_parts | st.text(max_size=20), max_size=4))
def test_sentences_are_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = split_sentences(batch)
    expected = [sentences(text) for text in batch.texts()]
    keys = [batch.utf8[start:end].tobytes().decode() for start, end in zip(found.starts, found.ends, strict=True)]
    assert found.counts.tolist() == list(map(len, expected))
    rows = zip(found.first.tolist(), found.last.tolist(), keys, found.newline.tolist(), strict=True)
    assert list(rows) == [(*one[:3], one[4]) for of_text in expected for one in of_text]
    lines = [one[3] for of_text in expected for one in of_text]
    begins = [i == 0 or line != before for i, (before, line) in enumerate(zip([-1, *lines], lines, strict=False))]
    firsts = np.cumsum([0, *map(len, expected)])[:-1][[len(of_text) > 0 for of_text in expected]]
    assert found.begins.tolist() == [begin or i in firsts for i, begin in enumerate(begins)]


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 14))
def test_the_most_of_windows_is_that_of_each(values: list[int], window: int) -> None:
    expected = [max(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]
    assert most_of_windows(np.array(values, np.int64), window).tolist() == expected


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ab \u3000中", max_size=5), max_size=6), st.integers(0, 8), st.integers(0, 4), st.integers(1, 4)
)
def test_the_gate_looks_at_windows(texts: list[str], min_length: int, min_words: int, window: int) -> None:
    batch = TextBatch.of(texts)
    bounds = batch.offsets[:-1], batch.offsets[1:]
    found = takes_part(batch.utf8, *bounds, min_length=min_length, min_words=min_words, window=window)
    spans = [batch.texts()[i : i + window] for i in range(len(texts))]
    assert found.tolist() == [
        sum(map(len, span)) >= min_length and sum(len(one.split()) for one in span) >= min_words for span in spans
    ]


# --- the same answer -------------------------------------------------------------------------------------------------


def repeating(rng: random.Random, n: int) -> list[str]:
    """Texts whose sentences are of a few."""
    return [rng.choice(" \n").join(rng.choices(PARTS, k=rng.randint(1, 12))) for _ in range(n)]


@pytest.mark.parametrize("options", [SENTENCES, PARAGRAPHS | {"window": 2, "min_documents": 3, "keep": "none"}])
def test_many_partitions_chunks_merges_and_pieces_change_nothing(
    corpora: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    whole, cut = corpora(), corpora()
    texts = repeating(random.Random(5), 300)
    for corpus in (whole, cut):
        corpus.write_texts("a.jsonl", texts)
    whole.dedupe(**options)

    def small_pieces(shard: Shard) -> list[Piece]:
        return pieces(shard, piece_bytes=shard.size // 3)

    monkeypatch.setattr(stage_module, "pieces", small_pieces)
    monkeypatch.setattr(windows, "_BYTES_PER_KEY", MEMORY // 64)
    monkeypatch.setattr(method, "PARTITION_BYTES", 2_000)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    monkeypatch.setattr(exchange, "FAN_IN", 3)
    cut.dedupe(**options, reading=Reading(batch_bytes=2_000))
    assert cut.rows() == whole.rows()
    assert sum(row["n_duplicates"] for row in whole.rows()) > 100


def test_workers_shards_of_a_run_and_a_rerun_change_nothing(corpora: Make) -> None:
    rng = random.Random(3)
    one, two, parts = corpora(), corpora(), corpora()
    shards = {f"{name}.jsonl": repeating(rng, 40) for name in "abc"}
    for corpus in (one, two, parts):
        for name in shards:
            corpus.write_texts(name, shards[name])
    one.dedupe(**SENTENCES)
    two.dedupe(**SENTENCES, workers=2)
    for _ in range(10):
        for i in (1, 2):
            with contextlib.suppress(Unfinished):
                parts.dedupe(**SENTENCES, shard=(i, 2))
    files = [path.read_bytes() for path in one.files()]
    assert [path.read_bytes() for path in two.files()] == files
    assert [path.read_bytes() for path in parts.files()] == files
    assert one.dedupe(**SENTENCES).complete_before
    assert [path.read_bytes() for path in one.files()] == files


@pytest.mark.parametrize("broken", [windows.HashWindows, windows.GroupWindows, stage_module.WriteShard])
def test_a_run_that_broke_off_goes_on_where_it_was(
    corpora: Make, monkeypatch: pytest.MonkeyPatch, broken: type
) -> None:
    whole, again = corpora(), corpora()
    for corpus in (whole, again):
        for name in "ab":
            corpus.write_texts(f"{name}.jsonl", repeating(random.Random(name), 20))
    whole.dedupe(**SENTENCES)

    def fail(self: object, spec: object) -> None:
        raise DataError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="disk is full"):
        patch.setattr(broken, "__call__", fail)
        again.dedupe(**SENTENCES)
    assert not any(path.suffix == ".parquet" for path in again.files())
    again.dedupe(**SENTENCES)
    assert [path.read_bytes() for path in again.files()] == [path.read_bytes() for path in whole.files()]


def test_spans_of_real_text_are_its_repeated_windows(corpus: Corpus) -> None:
    shards = sorted(Path(__file__).parents[2].glob("data/sample/multilingual/documents/*.jsonl.gz"))
    texts = [json.loads(line)["text"] for path in shards for line in gzip.decompress(path.read_bytes()).splitlines()]
    halves = [text[len(text) // 3 :] for text in texts[:9]]
    corpus.write_texts("a.jsonl.zst", [*texts, *halves])
    corpus.dedupe(**SENTENCES)
    expected = repeated_windows([*texts, *halves], any, by="sentences", window=3)
    found = [[tuple(span.values()) for span in row["spans"]] for row in corpus.rows()]
    assert found == [row["spans"] for row in expected]
    assert any(found[-9:])


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "`by` is 'text', expected sentences or paragraphs: add `--by sentences`"),
        ({"by": "sentences", "keep": "longest"}, "`keep` is 'longest', expected first or none: windows"),
        ({"by": "sentences", "scope": "across-sources"}, "`scope` is 'across-sources', expected all or within-source"),
        ({"by": "sentences", "normalize": ["url"]}, "`normalize` has url, which is for a field and alone"),
        ({"by": "sentences", "window": 0}, "`window` is 0, expected 1 to 10,000"),
        ({"by": "sentences", "min_documents": 0}, "`min_documents` is 0, expected 1 or more"),
        ({"by": "sentences", "separator": "x"}, "`separator` is 'x', expected some text, and `by: paragraphs`"),
        ({"by": "sentences", "priority": ["a"]}, "`priority` is not for windows: add `method: exact` or"),
        ({"by": "paragraphs", "threshold": 0.5}, "`threshold` is not for windows"),
    ],
)
def test_what_does_not_go_together_is_an_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DedupeConfig(method="windows", **given)


def test_windows_of_one_paragraph_are_the_copies_of_exact(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["\n".join(random.Random(i).choices("abc  ", k=6)) for i in range(30)])
    corpus.dedupe(**PARAGRAPHS, name="windows")
    corpus.dedupe(by="paragraphs", name="exact")
    without_scores = [
        [row | {"spans": [span | {"score": 1.0} for span in row["spans"]]} for row in corpus.rows(name)]
        for name in ("windows", "exact")
    ]
    assert without_scores[0] == without_scores[1]


def test_the_settings_that_decide_are_in_the_parameters() -> None:
    given = {"window": 5, "min_documents": 7, "keep": "none", "normalize": ["lower"], "scope": "within-source"}
    parameters = METHODS["windows"](DedupeConfig(method="windows", by="sentences", **given)).parameters  # type: ignore[arg-type]
    assert parameters | given == parameters
