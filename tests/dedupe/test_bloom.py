"""Dedupe by a Bloom filter, from documents on disk to attributes and a filter on disk."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.data import exchange
from dolma.data.manifest import read_manifest
from dolma.dedupers import bloom as bloom_module
from dolma.dedupers import method
from dolma.dedupers.bloom_filter import NAME, FilterFile, open_filter
from dolma.dedupers.reference import filtered, gate
from dolma.errors import ConfigError, DataError, OutputExistsError, Unfinished
from dolma.kernels.reference.bloom import Filter

if TYPE_CHECKING:
    from .conftest import Corpus

Make = Callable[[], "Corpus"]

PARAGRAPHS = [
    "one",
    "two words",
    "é\u0301 été",
    "中文 文字",
    "😀👩‍👩‍👧",
    "",
    " ",
    "\u3000\u2003",
    "a b c d e",
    "c d e f g",
    "x" * 9,
]
WORDS = ["a", "b", "été", "中", "文", "😀", "it", "is", "so"]
SMALL = {"filter_bytes": 1, "filter_hashes": 2}  # 256 KiB, the least
MODES: list[dict[str, Any]] = [
    {"by": "text"},
    {"by": "paragraphs"},
    {"by": "paragraphs", "separator": "two"},
    {"by": "text", "word_ngrams": 3, "overlap_threshold": 0.5},
    {"by": "paragraphs", "word_ngrams": 2, "stride": 2, "overlap_threshold": 0.6},
    {"by": "both", "word_ngrams": 3, "min_ngram": 3, "overlap_threshold": 0.8},
    {"by": "both", "word_ngrams": 4, "min_ngram": 2},
]


def bloom(corpus: Corpus, **config: Any) -> Any:
    return corpus.dedupe(method="bloom", **config)


def column(corpus: Corpus, key: str, name: str = "dedupe") -> list[Any]:
    return [row[key] for row in corpus.rows(name)]


def files(corpus: Corpus, name: str = "dedupe") -> dict[str, bytes]:
    folder = corpus.folder / "attributes" / name
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in paths if not path.parts[0].startswith(".")}


def write(corpus: Corpus, seed: int, *, suffix: str = "jsonl") -> None:
    """A shard of some texts; its source is not the name of the folder, in which equal corpora differ."""
    corpus.write(f"{seed}.{suffix}", [{"id": str(i), "text": t, "source": "s"} for i, t in enumerate(some_texts(seed))])


def filter_of(corpus: Corpus, name: str = "dedupe") -> str:
    return str(corpus.folder / "attributes" / name / NAME)


def some_texts(seed: int, n: int = 60) -> list[str]:
    rng = random.Random(seed)
    lines = [*PARAGRAPHS, *(" ".join(rng.choices(WORDS, k=rng.randrange(9))) for _ in range(20))]
    return ["\n".join(rng.choices(lines, k=rng.randrange(6))) for _ in range(n)]


def twin(texts: list[str], filter: Filter, config: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    renamed = {"overlap_threshold": "threshold"}
    return filtered(texts, filter, gate(), **{renamed.get(key, key): value for key, value in config.items()}, **more)


def assert_as_the_twin(corpus: Corpus, expected: list[dict[str, Any]], config: dict[str, Any]) -> None:
    rows = corpus.rows()
    for row, answer in zip(rows, expected, strict=True):
        found = dict(row)
        if "spans" in row:
            found["spans"] = [(span["start"], span["end"], span["score"]) for span in row["spans"]]
        answer = answer | ({"fraction": answer["overlap"]} if config["by"] == "text" else {})
        keys = {"duplicate", "overlap", "spans", "fraction"} & row.keys()
        assert {key: found[key] for key in keys} == {key: answer[key] for key in keys}


# --- what it says ----------------------------------------------------------------------------------------------------


def test_of_six_documents_with_five_equal_texts_four_are_duplicates(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["same", "same", "other", "same", "same", "same"])
    bloom(corpus)
    assert corpus.rows()[0].keys() == {"id", "duplicate"}
    assert column(corpus, "duplicate") == [False, True, False, True, True, True]


@pytest.mark.parametrize("config", MODES)
def test_answers_and_filter_are_those_of_one_filter_that_reads_from_front_to_end(
    corpus: Corpus, config: dict[str, Any]
) -> None:
    texts = [some_texts(seed) for seed in range(3)]
    for i, shard in enumerate(texts):
        corpus.write_texts(f"{i}.jsonl", shard)
    bloom(corpus, **config, **SMALL)
    filter = Filter(n_blocks=4096, n_hashes=2)
    assert_as_the_twin(corpus, twin([text for shard in texts for text in shard], filter, config), config)
    assert open_filter(filter_of(corpus)).bits(0, 4096).tobytes() == filter.to_bytes()


@pytest.mark.property
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(PARAGRAPHS) | st.text(max_size=8), max_size=4).map("\n".join), max_size=8),
    st.sampled_from(MODES),
)
def test_spans_are_text_of_the_document(corpora: Make, texts: list[str], config: dict[str, Any]) -> None:
    corpus = corpora()
    corpus.write_texts("a.jsonl", [text.encode(errors="replace").decode() for text in ["x", *texts]])
    bloom(corpus, **config, **SMALL)
    texts = [text.encode(errors="replace").decode() for text in ["x", *texts]]
    assert_as_the_twin(corpus, twin(texts, Filter(n_blocks=4096, n_hashes=2), config), config)


def test_spans_of_emoji_combining_marks_and_cjk_are_the_paragraphs(corpus: Corpus) -> None:
    shared = ["👩‍👩‍👧 family", "e\u0301te\u0301", "中文段落"]
    documents = ["||".join(shared), "😀 new||" + "||".join(shared)]
    corpus.write_texts("a.jsonl", documents)
    bloom(corpus, by="paragraphs", separator="||")
    found = [documents[1][span["start"] : span["end"]] for span in column(corpus, "spans")[1]]
    assert found == [f"{shared[0]}||", f"{shared[1]}||", shared[2]]
    assert column(corpus, "fraction")[1] == pytest.approx(len("||".join(shared)) / len(documents[1]))


def test_n_grams_of_one_paragraph_are_not_its_own_copies(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["go go go go go go"])
    bloom(corpus, by="paragraphs", word_ngrams=2)
    assert column(corpus, "spans") == [[]]


def test_a_paragraph_that_occurs_twice_in_a_document_is_a_duplicate_the_second_time(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["one two three\nelse\none two three"])
    bloom(corpus, by="paragraphs", word_ngrams=2)
    assert [(span["start"], span["end"]) for span in column(corpus, "spans")[0]] == [(19, 32)]


def test_a_paragraph_is_marked_from_the_threshold_on_with_its_share(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["a b c d e", "a b c d x", "a b c y z"])
    bloom(corpus, by="paragraphs", word_ngrams=2, overlap_threshold=0.75)
    assert [[span["score"] for span in spans] for spans in column(corpus, "spans")] == [[], [0.75], []]


def test_fewer_words_than_the_least_n_gram_take_no_part(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["a b", "a b", "a b c", "a b c"])
    bloom(corpus, by="text", word_ngrams=5, min_ngram=3)
    assert column(corpus, "duplicate") == [False, False, False, True]
    assert column(corpus, "fraction") == [0.0, 0.0, 0.0, 1.0]


def test_of_texts_and_paragraphs_both_a_document_may_be_a_duplicate(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["a b c d e f\ng h i j", "a b c d e f\nnew k l m", "a b c d e f\ng h i j"])
    bloom(corpus, by="both", word_ngrams=3, overlap_threshold=0.8)
    assert column(corpus, "duplicate") == [False, False, True]
    assert column(corpus, "overlap") == [0.0, pytest.approx(4 / 6), 1.0]
    assert [len(spans) for spans in column(corpus, "spans")] == [0, 1, 2]


def test_short_and_blank_texts_take_no_part(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["", "", "ab", "ab", "a b c", "a b c"])
    bloom(corpus, min_words=2)
    assert column(corpus, "duplicate") == [False] * 5 + [True]


# --- the same answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [MODES[1], MODES[5]])
def test_two_workers_and_little_memory_write_the_bytes_of_one(
    corpora: Make, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, ranges = corpora(), corpora(), corpora()
    for corpus, order in ((one, range(4)), (two, reversed(range(4))), (ranges, range(4))):
        for i in order:
            write(corpus, i, suffix="jsonl.gz")
    bloom(one, **config, **SMALL)
    bloom(two, **config, **SMALL, workers=2)
    monkeypatch.setattr(method, "PARTITION_BYTES", 1000)
    monkeypatch.setattr(bloom_module, "_BYTES_PER_ITEM", exchange.MEMORY // 50)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    bloom(ranges, **config, **SMALL)
    assert files(one) == files(two) == files(ranges)


def test_parts_of_a_run_add_up_to_the_whole(corpora: Make) -> None:
    whole, parts = corpora(), corpora()
    for corpus in (whole, parts):
        for i in range(3):
            write(corpus, i)
    bloom(whole, by="paragraphs")
    for i in (1, 2) * 5:
        with contextlib.suppress(Unfinished):
            bloom(parts, by="paragraphs", shard=(i, 2))
    assert files(parts) == files(whole)


@pytest.mark.parametrize("phase", ["HashItems", "FillSlices", "JoinFilter", "MarkedParts"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    corpora: Make, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = corpora(), corpora()
    for corpus in (whole, cut):
        for i in range(3):
            write(corpus, i)
    bloom(whole, by="paragraphs")
    real = getattr(bloom_module, phase).__call__
    calls = []

    def fails(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2 or phase in ("FillSlices", "JoinFilter"):
            raise DataError("gone")
        return real(self, *arguments)

    with monkeypatch.context() as patched, pytest.raises(DataError, match="gone"):
        patched.setattr(getattr(bloom_module, phase), "__call__", fails)
        bloom(cut, by="paragraphs")
    assert read_manifest(str(cut.folder / "attributes" / "dedupe")) is None
    bloom(cut, by="paragraphs")
    assert files(cut) == files(whole)


def test_a_rerun_does_nothing(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "x", "y"])
    bloom(corpus)
    before = files(corpus)
    assert bloom(corpus).complete_before
    assert files(corpus) == before


# --- its size --------------------------------------------------------------------------------------------------------


def test_the_report_says_how_large_the_filter_is_and_how_often_it_errs(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", [str(i) for i in range(100)])
    report = bloom(corpus)
    assert report.details.bloom.bytes == 1 << 18
    assert 0 < report.details.bloom.error <= 1e-5
    assert report.remarks[1].startswith("filter: 262,144 bytes, 2 bits for each item, 100 items put in; at the end")
    assert not any("too small" in warning for warning in report.warnings)


def test_a_filter_for_fewer_items_than_there_are_is_warned_of(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", [str(i) for i in range(3000)])
    report = bloom(corpus, filter_items=10, false_positive_rate=1e-6)
    assert any("more than `false_positive_rate` 1e-06: it is too small for what it holds" in w for w in report.warnings)


@pytest.mark.parametrize("given", [{"filter_bytes": 1 << 33}, {"filter_items": 10**10}])
def test_a_filter_of_more_than_the_memory_is_refused_before_anything_is_read(
    corpus: Corpus, given: dict[str, int]
) -> None:
    corpus.write_texts("a.jsonl", ["x"])
    with pytest.raises(ConfigError, match=r"the filter takes [\d,]+ bytes, more than `--max-memory` 100,000,000\n"):
        bloom(corpus, **given, max_memory=100_000_000)
    assert not files(corpus)


# --- filters of before -----------------------------------------------------------------------------------------------


@pytest.fixture
def old(corpora: Make) -> Corpus:
    """A corpus of texts 0 to 2, deduped."""
    corpus = corpora()
    corpus.write_texts("a.jsonl", ["zero", "one\ntwo", "two"])
    bloom(corpus, by="paragraphs")
    return corpus


def test_a_run_that_reuses_a_filter_answers_as_one_over_both_corpora(corpora: Make, old: Corpus) -> None:
    new, whole = corpora(), corpora()
    for corpus in (new, whole):
        corpus.write_texts("b.jsonl", ["one\nfour", "four\nfive"])
    whole.write_texts("a.jsonl", ["zero", "one\ntwo", "two"])
    bloom(new, by="paragraphs", reuse=filter_of(old))
    bloom(whole, by="paragraphs")
    assert column(new, "spans") == column(whole, "spans")[3:]
    one, other = (open_filter(filter_of(corpus)) for corpus in (new, whole))
    assert one.header == other.header
    assert one.digest == other.digest


def test_in_a_reference_filter_nothing_is_put_in(corpora: Make, old: Corpus) -> None:
    before, new = Path(filter_of(old)).read_bytes(), corpora()
    new.write_texts("b.jsonl", ["one\nfour", "four\nfive"])
    bloom(new, by="paragraphs", reference_filter=filter_of(old))
    assert [len(spans) for spans in column(new, "spans")] == [1, 0]
    assert Path(filter_of(old)).read_bytes() == before
    assert not Path(filter_of(new)).exists()


def test_references_come_first_and_are_not_marked(corpora: Make) -> None:
    known, new = corpora(), corpora()
    known.write_texts("z.jsonl", ["one\ntwo"])
    new.write_texts("b.jsonl", ["one\nfour", "four\nfive"])
    bloom(new, by="paragraphs", reference=[str(known.folder / "documents")])
    assert [len(spans) for spans in column(new, "spans")] == [1, 1]
    assert open_filter(filter_of(new)).header.n_items == 6


def test_a_filter_that_has_these_documents_is_stale(old: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"holds .*a\.jsonl already: all of it would be a duplicate\n"):
        bloom(old, by="paragraphs", name="again", reuse=filter_of(old))
    assert not files(old, "again")


def test_a_filter_is_not_overwritten_by_the_run_that_reuses_it(old: Corpus) -> None:
    before = files(old)
    with pytest.raises(ConfigError, match=r"_filter\.bloom is of the set that `--overwrite` would remove\n"):
        bloom(old, by="paragraphs", reuse=filter_of(old), overwrite=True)
    assert files(old) == before


def test_a_filter_of_an_earlier_run_is_not_taken_up_by_itself(old: Corpus) -> None:
    before = old.rows()
    bloom(old, by="paragraphs", min_length=1, overwrite=True)
    assert old.rows() == before


@pytest.mark.parametrize(
    ("config", "what"), [({"by": "text"}, "by"), ({"by": "paragraphs", "word_ngrams": 3}, "word_ngrams")]
)
def test_a_filter_of_other_items_is_refused(corpora: Make, old: Corpus, config: dict[str, Any], what: str) -> None:
    corpus = corpora()
    corpus.write_texts("b.jsonl", ["x"])
    with pytest.raises(ConfigError, match=f"is a filter of other items: its `{what}` is .*\n  give the settings"):
        bloom(corpus, **config, reuse=filter_of(old))
    assert not (corpus.folder / "attributes").exists()


def test_a_broken_filter_stops_the_run_before_anything_is_written(corpora: Make, old: Corpus) -> None:
    corpus, path = corpora(), Path(filter_of(old))
    corpus.write_texts("b.jsonl", ["x"])
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="holds other bytes than were written"):
        bloom(corpus, by="paragraphs", reuse=str(path))
    assert not files(corpus)


def test_a_filter_that_changes_while_it_is_read_stops_the_run(
    corpora: Make, old: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, path = corpora(), Path(filter_of(old))
    write(corpus, 2)
    read = FilterFile.bits

    def changed(self: FilterFile, *blocks: int) -> Any:
        path.write_bytes(path.read_bytes()[:-40] + b"\xff" * 24 + path.read_bytes()[-16:])
        return read(self, *blocks)

    monkeypatch.setattr(FilterFile, "bits", changed)
    with pytest.raises(DataError, match="holds other bytes than were written"):
        bloom(corpus, by="paragraphs", reuse=str(path))
    assert files(corpus) == {}


def test_another_filter_is_another_run(corpora: Make, old: Corpus) -> None:
    corpus = corpora()
    corpus.write_texts("b.jsonl", ["x"])
    bloom(corpus, by="paragraphs")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        bloom(corpus, by="paragraphs", reuse=filter_of(old))


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"by": "metadata.url"}, r"`by` is 'metadata\.url', expected text, paragraphs or both"),
        ({"by": "both"}, "`by` is 'both', expected `word_ngrams` with it"),
        ({"keep": "last"}, "`keep` is 'last', expected first"),
        ({"stride": 2}, "`stride` is of n-grams: add `word_ngrams`"),
        ({"word_ngrams": 3, "min_ngram": 4}, "`min_ngram` is 4, expected at most `word_ngrams`, 3"),
        ({"word_ngrams": 3, "overlap_threshold": 0.0}, "`overlap_threshold` is 0.0, expected more than 0"),
        ({"word_ngrams": 0}, "`word_ngrams` is 0, expected 1 to 10,000"),
        ({"separator": "x"}, "`separator` is 'x', expected some text, and `by: paragraphs`"),
        ({"false_positive_rate": 0.0}, "`false_positive_rate` is 0.0, expected 1e-12 to 0.5"),
        ({"filter_bytes": 0}, "`filter_bytes` is 0, expected 1 or more"),
        ({"filter_hashes": 33}, "`filter_hashes` is 33, expected 1 to 32"),
        ({"reuse": "a", "reference_filter": "b"}, "are both given, expected one of them"),
        ({"reuse": "a", "filter_bytes": 1}, "a filter that is there has its size: leave it out"),
    ],
)
def test_settings_that_make_no_sense_are_told(corpus: Corpus, config: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        bloom(corpus, **config)
