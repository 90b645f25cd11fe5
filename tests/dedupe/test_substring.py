"""Repeated text, from documents on disk to attributes on disk."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig
from dolma.data import exchange
from dolma.dedupers import method
from dolma.dedupers import substring as substring_module
from dolma.dedupers.reference import repeated_text
from dolma.errors import Unfinished

if TYPE_CHECKING:
    from .conftest import Corpus

Make = Callable[[], "Corpus"]

PIECES = [
    "to be or not ",
    "that is",
    "\n",
    "é\u0301 été ",
    "中文段落",
    "😀👩‍👩‍👧",
    "aaaa",
    "ab",
    " ",
    "-- ",
    "\u3000",
    "x",
]
MODES: list[dict[str, Any]] = [
    {"min_tokens": 3},
    {"min_tokens": 1},
    {"min_tokens": 4, "keep": "none"},
    {"min_tokens": 3, "within_documents": True, "snap": "lines"},
    {"min_bytes": 5},
    {"min_bytes": 1},
    {"min_bytes": 2, "keep": "none", "within_documents": True},
    {"min_bytes": 9, "snap": "words"},
    {"min_bytes": 6, "keep": "none", "snap": "lines"},
    {"min_bytes": 6, "within_documents": True},
]


def substring(corpus: Corpus, **config: Any) -> Any:
    return corpus.dedupe(method="substring", **config)


def spans(corpus: Corpus) -> list[list[tuple[int, int]]]:
    return [[(span["start"], span["end"]) for span in row["spans"]] for row in corpus.rows()]


def files(corpus: Corpus) -> dict[str, bytes]:
    folder = corpus.folder / "attributes" / "dedupe"
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in paths if not path.parts[0].startswith(".")}


def some_texts(seed: int, n: int = 40) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(PIECES, k=rng.randrange(12))) for _ in range(n)]


def write(corpus: Corpus, seed: int, *, suffix: str = "jsonl") -> None:
    """A shard of some texts; its source is not the name of the folder, in which equal corpora differ."""
    corpus.write(f"{seed}.{suffix}", [{"id": str(i), "text": t, "source": "s"} for i, t in enumerate(some_texts(seed))])


def assert_as_the_twin(corpus: Corpus, texts: Sequence[str], config: dict[str, Any]) -> None:
    expected = repeated_text(texts, **config)
    assert spans(corpus) == expected
    shares = [
        sum(end - start for start, end in one) / max(len(text), 1) for one, text in zip(expected, texts, strict=True)
    ]
    assert [row["fraction"] for row in corpus.rows()] == pytest.approx(shares)


# --- what it says ----------------------------------------------------------------------------------------------------


def test_what_a_later_document_repeats_is_marked(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["to be, or not to be", "he asks: to be, or not? to be"])
    substring(corpus, min_tokens=5)
    assert corpus.rows()[0].keys() == {"id", "spans", "fraction"}
    assert spans(corpus) == [[], [(9, 22)]]
    assert corpus.rows()[1]["fraction"] == pytest.approx(13 / 29)


def test_every_occurrence_is_marked_where_none_is_kept(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x a b c", "a b c y", "z a b c"])
    substring(corpus, min_tokens=3, keep="none")
    assert spans(corpus) == [[(2, 7)], [(0, 5)], [(2, 7)]]


def test_fifty_tokens_are_the_least_if_nothing_is_said(corpus: Corpus) -> None:
    words = [f"w{i}" for i in range(50)]
    corpus.write_texts("a.jsonl", [" ".join(words), f"x {' '.join(words[1:])} y", f"z {' '.join(words)} z"])
    substring(corpus)
    assert spans(corpus) == [[], [], [(2, 2 + len(" ".join(words)))]]


@pytest.mark.parametrize(("within", "expected"), [(False, [[]]), (True, [[(8, 13)]])])
def test_text_that_one_document_alone_repeats_counts_on_request(
    corpus: Corpus, within: bool, expected: list[list[tuple[int, int]]]
) -> None:
    corpus.write_texts("a.jsonl", ["a b c x a b c"])
    substring(corpus, min_tokens=3, within_documents=within)
    assert spans(corpus) == expected


def test_all_occurrences_in_the_first_document_stay(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["a b c x a b c", "a b c"])
    substring(corpus, min_tokens=3)
    assert spans(corpus) == [[], [(0, 5)]]


def test_no_text_reaches_over_the_border_of_two_documents(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["a b", "c d", "a b c d", "x", "c d a b"])
    substring(corpus, min_tokens=3, within_documents=True)
    assert spans(corpus) == [[]] * 5


@pytest.mark.parametrize("unit", [{"min_bytes": 7}, {"min_tokens": 2}])
def test_spans_of_emoji_combining_marks_and_cjk_are_whole_characters(corpus: Corpus, unit: dict[str, int]) -> None:
    shared = ["👩‍👩‍👧 family", "e\u0301te\u0301 e\u0301", "中文段落", "😀👍🏽 x"]
    texts = [*shared, *(f"中 {one} é" for one in shared)]
    corpus.write_texts("a.jsonl", texts)
    substring(corpus, **unit)
    found = [[text[start:end] for start, end in one] for text, one in zip(texts, spans(corpus), strict=True)]
    assert [one in "".join(stretches) for one, stretches in zip(shared, found[4:], strict=True)] == [True] * 4
    assert found[:4] == [[]] * 4


def test_a_character_of_which_a_part_is_repeated_is_not_marked(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["\u4e2dabc", "\u512dabc"])  # both end with the byte AD
    substring(corpus, min_bytes=4)
    assert spans(corpus) == [[], [(1, 4)]]


def test_spans_are_cut_to_whole_lines(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["one a\ntwo b\nthree c", "x a\ntwo b\nthree d"])
    substring(corpus, min_bytes=6, snap="lines")
    assert spans(corpus) == [[], [(4, 10)]]


def test_spans_are_cut_to_whole_words(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["hello big world", "jello big worlds"])
    substring(corpus, min_bytes=6, snap="words")
    assert spans(corpus) == [[], [(6, 9)]]


def test_references_are_the_first_documents(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x a b c"])
    reference = corpus.folder / "reference.jsonl"
    reference.write_text('{"id": "r", "text": "a b c d"}\n')
    substring(corpus, min_tokens=3, reference=[str(reference)])
    assert spans(corpus) == [[(2, 7)]]


def test_within_a_source_other_sources_are_not_compared(corpus: Corpus) -> None:
    texts = [("a b c", "one"), ("a b c", "two"), ("x a b c", "one")]
    corpus.write("a.jsonl", [{"id": str(i), "text": text, "source": source} for i, (text, source) in enumerate(texts)])
    substring(corpus, min_tokens=3, scope="within-source")
    assert spans(corpus) == repeated_text([text for text, _ in texts], min_tokens=3, groups=["one", "two", "one"])
    assert spans(corpus) == [[], [], [(2, 7)]]


def test_characters_are_counted_by_source(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": str(i), "text": "a b c", "source": "s"} for i in range(2)])
    report = substring(corpus, min_tokens=3)
    (source,) = report.details.sources
    assert (report.details.unit, source.seen, source.duplicates) == ("characters", 10, 5)
    assert report.remarks[0] == "5 of 10 characters are duplicates (50.0 %)"


@pytest.mark.parametrize("config", MODES)
def test_spans_are_those_of_brute_force(corpus: Corpus, config: dict[str, Any]) -> None:
    texts = [some_texts(seed) for seed in range(3)]
    for i, shard in enumerate(texts):
        corpus.write_texts(f"{i}.jsonl", shard)
    substring(corpus, **config)
    assert_as_the_twin(corpus, [text for shard in texts for text in shard], config)


@pytest.mark.property
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=8).map("".join), max_size=6),
    st.sampled_from(["min_tokens", "min_bytes"]),
    st.integers(1, 12),
    st.sampled_from(["first", "none"]),
    st.sampled_from([None, "words", "lines"]),
    st.booleans(),
)
def test_spans_of_any_texts_are_those_of_brute_force(
    corpora: Make, texts: list[str], unit: str, size: int, keep: str, snap: str | None, within_documents: bool
) -> None:
    corpus = corpora()
    texts = [text.encode(errors="replace").decode() for text in ["x", *texts]]
    corpus.write_texts("a.jsonl", texts)
    given = {unit: size, "keep": keep, "within_documents": within_documents}
    substring(corpus, **given, snap=snap)
    assert_as_the_twin(corpus, texts, given | {"snap": snap or ""})


# --- the same answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [MODES[0], MODES[2], MODES[6], MODES[9]])
def test_two_workers_and_little_memory_write_the_bytes_of_one(
    corpora: Make, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, ranges = corpora(), corpora(), corpora()
    for corpus, order in ((one, range(4)), (two, reversed(range(4))), (ranges, range(4))):
        for i in order:
            write(corpus, i, suffix="jsonl.gz")
    substring(one, **config)
    substring(two, **config, workers=2)
    monkeypatch.setattr(method, "PARTITION_BYTES", 1000)
    monkeypatch.setattr(substring_module, "_PART_BYTES", 50)
    monkeypatch.setattr(substring_module, "_WINDOWS_AT_ONCE", 3)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    substring(ranges, **config)
    assert files(one) == files(two) == files(ranges)


def test_parts_of_a_run_add_up_to_the_whole(corpora: Make) -> None:
    whole, parts = corpora(), corpora()
    for corpus in (whole, parts):
        for i in range(3):
            write(corpus, i)
    substring(whole, min_tokens=3)
    for i in (1, 2) * 8:
        with contextlib.suppress(Unfinished):
            substring(parts, min_tokens=3, shard=(i, 2))
    assert files(parts) == files(whole)


@pytest.mark.parametrize("phase", ["SeedPieces", "FindRepeats", "TakeWindows", "GroupWindows", "RepeatedText"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    corpora: Make, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = corpora(), corpora()
    for corpus in (whole, cut):
        for i in range(3):
            write(corpus, i)
    substring(whole, min_tokens=3)

    def fails(self: Any, *arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(getattr(substring_module, phase), "__call__", fails)
        with pytest.raises(KeyboardInterrupt):
            substring(cut, min_tokens=3)
    substring(cut, min_tokens=3)
    assert files(cut) == files(whole)


def test_a_second_run_has_nothing_to_do(corpus: Corpus) -> None:
    write(corpus, 0)
    substring(corpus, min_tokens=3)
    before = files(corpus)
    assert substring(corpus, min_tokens=3).complete_before
    assert files(corpus) == before


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"by": "paragraphs"}, "`by` is 'paragraphs', expected text"),
        ({"keep": "last"}, "`keep` is 'last', expected first, or none"),
        ({"scope": "across-sources"}, "`scope` is 'across-sources', expected all or within-source"),
        ({"min_tokens": 5, "min_bytes": 5}, "`min_tokens` and `min_bytes` are both given"),
        ({"min_bytes": 0}, "`min_bytes` is 0, expected 1 to"),
        ({"min_words": 3}, "`min_words` is not for substring"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DedupeConfig(method="substring", **config)
