"""Span edits against a readable twin. Run: pytest tests/mixers/test_spans.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.config import SpanEdit
from dolma.data.batch import TextBatch
from dolma.data.columns import SPANS, spans_of
from dolma.errors import AlignmentError, DataError
from dolma.mixers import spans as span_edits
from dolma.mixers.spans import Edits, Replacement, SpanCounts, clusters, in_bytes

Span = tuple[int, int, int]
A, B = Replacement.of("a"), Replacement.of("b")


def replace_spans(text: str, spans: list[Span], replacements: list[str]) -> str:
    utf8, made = np.frombuffer(text.encode(), np.uint8), [Replacement.of(template) for template in replacements]
    return span_edits.replace_spans(utf8, clusters(in_bytes(utf8, spans), made), made).decode()


def twin(text: str, spans: list[Span], replacements: list[str]) -> str:
    """Character by character: a run of characters that overlapping spans link is one replacement."""
    link = [False] * (len(text) + 1)  # link[i]: some span covers both i - 1 and i
    covered = [False] * len(text)
    for start, end, _ in spans:
        for i in range(start, end):
            covered[i] = True
            link[i] = link[i] or i > start
    out, i = "", 0
    while i < len(text):
        if not covered[i]:
            out += text[i]
            i += 1
            continue
        j = i + 1
        while link[j] and j < len(text):
            j += 1
        inside = sorted((s for s in spans if i <= s[0] < j), key=lambda s: (s[0], s[0] - s[1], s[2]))
        templates = [replacements[edit] for _, _, edit in inside]
        chosen = next((template for template in templates if "{}" not in template), templates[0])
        out += text[i:j].join(chosen.split("{}"))
        i = j
    return out


@st.composite
def texts_with_spans(draw: Any) -> tuple[str, list[Span]]:
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
    bounds = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)), st.integers(0, 2))
    spans = [(min(a, b), max(a, b), edit) for a, b, edit in draw(st.lists(bounds, max_size=8)) if a != b]
    return text, spans


@pytest.mark.property
@settings(deadline=None, max_examples=200)
@given(texts_with_spans(), st.lists(st.sampled_from(["", "*", "[{}]", "{}{}", "|||E|||"]), min_size=3, max_size=3))
def test_it_does_as_the_readable_twin_does(given_spans: tuple[str, list[Span]], replacements: list[str]) -> None:
    text, spans = given_spans
    assert replace_spans(text, spans, replacements) == twin(text, spans, replacements)


@pytest.mark.property
@settings(deadline=None, max_examples=100)
@given(texts_with_spans())
def test_no_character_of_a_span_survives(given_spans: tuple[str, list[Span]]) -> None:
    text, spans = given_spans
    letters = "".join(chr(0x10000 + i) for i in range(len(text)))  # every character occurs once
    left = replace_spans(letters, spans, ["<>", "", "-"])
    covered = {i for start, end, _ in spans for i in range(start, end)}
    assert [c for c in left if ord(c) >= 0x10000] == [c for i, c in enumerate(letters) if i not in covered]


@pytest.mark.property
@settings(deadline=None, max_examples=50)
@given(texts_with_spans(), st.randoms(use_true_random=False))
def test_the_order_in_which_spans_are_listed_does_not_matter(given_spans: tuple[str, list[Span]], random: Any) -> None:
    text, spans = given_spans
    shuffled = random.sample(spans, len(spans))
    assert replace_spans(text, shuffled, ["a", "[{}]", "c"]) == replace_spans(text, spans, ["a", "[{}]", "c"])


def test_spans_that_touch_stay_apart() -> None:
    assert clusters([(0, 2, 0), (2, 4, 1)], [A, B]) == [(0, 2, 0), (2, 4, 1)]


def test_a_chain_of_overlaps_is_one_cluster() -> None:
    assert clusters([(0, 3, 0), (5, 9, 1), (2, 6, 1)], [A, B]) == [(0, 9, 0)]


def test_a_quoting_edit_cannot_bring_back_what_another_masks() -> None:
    assert replace_spans("mail a@b.c now", [(0, 10, 0), (5, 10, 1)], ["<b>{}</b>", "***"]) == "*** now"


def test_a_replacement_may_hold_braces_and_quote_twice() -> None:
    assert replace_spans("abc", [(1, 2, 0)], ["{x}{}{}"]) == "a{x}bbc"


# --- over a batch ----------------------------------------------------------------------------------------------------


def edited(
    texts: list[str],
    *edits: tuple[SpanEdit, Any],
    chosen: list[bool] | None = None,
    records: list[bytes] | None = None,
) -> tuple[dict[int, bytes], SpanCounts]:
    batch = TextBatch.of(texts, path="a.jsonl", records=records)
    columns = tuple(("pii", f"s{i}") for i in range(len(edits)))
    arrays = {"pii": {f"s{i}": array for i, (_, array) in enumerate(edits)}}
    counts = SpanCounts.of(len(edits))
    mask = np.array([True] * len(texts) if chosen is None else chosen)
    made = Edits(tuple(edit for edit, _ in edits), columns)
    texts_after, n_spans = made.apply(batch, arrays, chosen=mask, counts=counts)
    assert set(np.flatnonzero(n_spans)) >= set(texts_after)
    assert n_spans.sum() == sum(counts.spans)
    return texts_after, counts


def test_offsets_are_code_points() -> None:
    found, _ = edited(["é😀中x"], (SpanEdit(attribute="pii.a", replace="-"), spans_of([[(1, 3, 1.0)]])))
    assert found == {0: "é-x".encode()}


def test_documents_without_spans_are_not_touched() -> None:
    found, counts = edited(["abc", "abc", ""], (SpanEdit(attribute="pii.a"), spans_of([[], [(0, 1, 1.0)], []])))
    assert found == {1: b"bc"}
    assert (counts.documents, counts.spans) == (1, [1])


def test_documents_that_are_dropped_are_not_edited() -> None:
    column = spans_of([[(0, 1, 1.0)], [(0, 1, 1.0)]])
    found, counts = edited(["abc", "abc"], (SpanEdit(attribute="pii.a"), column), chosen=[False, True])
    assert (list(found), counts.spans) == ([1], [1])


def test_a_list_that_is_null_has_no_spans() -> None:
    column = pa.array([None, [{"start": 0, "end": 1, "score": 1.0}]], SPANS)
    assert edited(["abc", "abc"], (SpanEdit(attribute="pii.a"), column))[0] == {1: b"bc"}


def test_a_sliced_column_is_read_from_its_own_start() -> None:
    column = spans_of([[(0, 2, 1.0)], [(1, 2, 1.0)]]).slice(1)
    assert edited(["abc"], (SpanEdit(attribute="pii.a"), column))[0] == {0: b"ac"}


def test_spans_without_length_are_counted_and_ignored() -> None:
    found, counts = edited(["abc"], (SpanEdit(attribute="pii.a", replace="X"), spans_of([[(1, 1, 1.0), (3, 3, 1.0)]])))
    assert (found, counts.spans, counts.without_length) == ({}, [0], [2])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(None, None, b"...."), (0.5, None, b"a..."), (None, 0.5, b".bcd"), (0.5, 1.0, b"a.cd")],
)
def test_scores_are_bounded_below_inclusively_and_above_exclusively(
    low: float | None, high: float | None, expected: bytes
) -> None:
    column = spans_of([[(0, 1, 0.4), (1, 2, 0.5), (2, 3, 1.0), (3, 4, 1.5)]])
    found, _ = edited(["abcd"], (SpanEdit(attribute="pii.a", replace=".", min_score=low, max_score=high), column))
    assert found[0] == expected


def test_a_span_without_a_score_is_replaced() -> None:
    column = pa.array([[{"start": 0, "end": 1, "score": None}, {"start": 2, "end": 3, "score": float("nan")}]], SPANS)
    assert edited(["abc"], (SpanEdit(attribute="pii.a", min_score=0.5), column))[0] == {0: b"b"}


def test_a_text_that_is_replaced_by_itself_is_not_edited() -> None:
    found, counts = edited(["abc"], (SpanEdit(attribute="pii.a", replace="{}"), spans_of([[(0, 2, 1.0)]])))
    assert (found, counts.spans, counts.documents) == ({}, [1], 0)


def test_spans_inside_others_are_counted_as_merged() -> None:
    first = (SpanEdit(attribute="pii.a", replace="x"), spans_of([[(0, 4, 1.0), (1, 2, 1.0), (4, 5, 1.0)]]))
    second = (SpanEdit(attribute="pii.b", replace="y"), spans_of([[(3, 5, 1.0), (5, 6, 1.0)]]))
    found, counts = edited(["abcdef"], first, second)
    assert (found[0], counts.spans, counts.merged) == (b"xy", [3, 2], [2, 1])


# --- values of fields ------------------------------------------------------------------------------------------------

MASK = SpanEdit(attribute="pii.a", replace_field="meta.mask")


@pytest.mark.parametrize(
    ("value", "expected"), [(b'"<{}>"', "<{}>é"), (b"1.50", "1.50é"), (b"true", "trueé"), (b'""', "é")]
)
def test_a_span_may_become_the_value_of_a_field(value: bytes, expected: str) -> None:
    records = [b'{"text": "ab\xc3\xa9", "meta": {"mask": %b}}' % value]
    assert edited(["abé"], (MASK, spans_of([[(0, 2, 1.0)]])), records=records)[0] == {0: expected.encode()}


def test_each_document_has_a_value_of_its_own_beside_edits_with_a_literal() -> None:
    records = [b'{"meta": {"mask": "x"}}', b"{}", b'{"meta.mask": "y"}']
    first = (MASK, spans_of([[(0, 1, 1.0)], [], [(0, 1, 1.0)]]))
    second = (SpanEdit(attribute="pii.b", replace="-{}-"), spans_of([[(1, 2, 1.0)]] * 3))
    assert edited(["ab"] * 3, first, second, records=records)[0] == {0: b"x-b-", 1: b"a-b-", 2: b"y-b-"}


@pytest.mark.parametrize("record", [b"{}", b'{"meta": null}', b'{"meta": {"mask": null}}', b'{"meta": {"mask": []}}'])
def test_a_field_without_a_value_stops_and_names_the_document(record: bytes) -> None:
    with pytest.raises(DataError) as found:
        edited(["ab"], (MASK, spans_of([[(0, 1, 1.0)]])), records=[record])
    assert str(found.value) == (
        "a.jsonl:1: document '0' has no text, number or truth value in the field 'meta.mask', which replaces its spans "
        "of pii.a\n  give them a literal with `replace`, or leave such documents out by a rule"
    )


# --- keeping only spans, and whole lines -----------------------------------------------------------------------------


def test_the_text_becomes_what_the_spans_cover() -> None:
    only = SpanEdit(attribute="pii.a", keep_only=True)
    found, counts = edited(["abécdef", "abc", "abc"], (only, spans_of([[(2, 4, 1.0), (3, 5, 1.0)], [], [(0, 3, 1.0)]])))
    assert found == {0: "écd".encode(), 1: b""}
    assert (counts.spans, counts.documents) == ([3], 2)


def test_of_several_edits_that_keep_what_all_cover_is_left() -> None:
    only = SpanEdit(attribute="pii.a", keep_only=True)
    assert edited(["abcdef"], (only, spans_of([[(0, 4, 1.0)]])), (only, spans_of([[(2, 6, 1.0)]])))[0] == {0: b"cd"}


def test_only_spans_of_these_scores_are_kept() -> None:
    only = SpanEdit(attribute="pii.a", keep_only=True, min_score=0.5)
    assert edited(["abcd"], (only, spans_of([[(0, 1, 0.4), (1, 3, 0.5)]])))[0] == {0: b"bc"}


def test_a_list_that_is_null_keeps_the_whole_text() -> None:
    only = SpanEdit(attribute="pii.a", keep_only=True)
    column = pa.array([None, []], spans_of([[]]).type)
    assert edited(["abc", "abc"], (only, column))[0] == {1: b""}


def test_spans_may_be_masked_in_what_is_kept() -> None:
    kept = (SpanEdit(attribute="pii.a", keep_only=True), spans_of([[(0, 4, 1.0)]]))
    masked = (SpanEdit(attribute="pii.b", replace="*"), spans_of([[(1, 3, 1.0), (4, 5, 1.0)]]))
    assert edited(["abcdef"], kept, masked)[0] == {0: b"a*d"}


@pytest.mark.parametrize(
    ("text", "span", "removed", "kept"),
    [
        ("a\nb\nc", (2, 3), "a\nc", "b\n"),
        ("a\nb\nc", (2, 4), "a\nc", "b\n"),
        ("a\nb\nc", (1, 3), "c", "a\nb\n"),
        ("a\nb\nc", (4, 5), "a\nb", "c"),
        ("a\nb\nc", (2, 5), "a", "b\nc"),
        ("a\nb\nc", (0, 5), "", None),
        ("a\nb\n", (2, 3), "a\n", "b\n"),
        ("é\n\nb\n", (2, 3), "é\nb\n", "\n"),
        ("abc", (1, 2), "", None),
        ("a\r\nb", (0, 1), "b", "a\r\n"),
    ],
)
def test_whole_lines_go_or_stay_with_their_newline(
    text: str, span: tuple[int, int], removed: str, kept: str | None
) -> None:
    column = spans_of([[(*span, 1.0)]])
    assert edited([text], (SpanEdit(attribute="pii.a", lines=True), column))[0] == {0: removed.encode()}
    found = edited([text], (SpanEdit(attribute="pii.a", lines=True, keep_only=True), column))[0]
    assert found == ({} if kept is None else {0: (kept if text.endswith("\n") else kept.rstrip("\n")).encode()})


def test_lines_that_different_edits_delete_go_as_if_one_did() -> None:
    lines = SpanEdit(attribute="pii.a", lines=True)
    found, counts = edited(["a\nb\nc"], (lines, spans_of([[(2, 3, 1.0)]])), (lines, spans_of([[(4, 5, 1.0)]])))
    assert (found, counts.spans) == ({0: b"a"}, [1, 1])


def joined_lines(text: str, kept: list[bool]) -> str:
    """The readable twin: lines without their newlines, those that stay joined again; a text that ended still does."""
    lines = text.removesuffix("\n").split("\n")
    left = [line for line, stays in zip(lines, kept, strict=True) if stays]
    return "\n".join(left) + "\n" * (text.endswith("\n") and bool(left))


@pytest.mark.property
@settings(deadline=None, max_examples=200)
@given(st.text("aé\n", min_size=1, max_size=20), st.data())
def test_lines_do_as_the_readable_twin_does(text: str, data: st.DataObject) -> None:
    bounds = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    spans = [
        [(min(a, b), max(a, b), 1.0) for a, b in data.draw(st.lists(bounds, max_size=4)) if a != b] for _ in range(3)
    ]
    numbers = [text[:i].count("\n") for i in range(len(text))]  # the line of each character
    touched = [{numbers[i] for start, end, _ in some for i in range(start, end)} for some in spans]
    n_lines = len(text.removesuffix("\n").split("\n"))
    kept = [i not in touched[0] | touched[1] and i in touched[2] for i in range(n_lines)]
    removing, keeping = (SpanEdit(attribute="pii.a", lines=True, keep_only=only) for only in (False, True))
    edits = zip((removing, removing, keeping), [spans_of([some]) for some in spans], strict=True)
    after = edited([text], *edits)[0].get(0, text.encode()).decode()
    assert after == joined_lines(text, kept)


@pytest.mark.property
@settings(deadline=None, max_examples=200)
@given(texts_with_spans())
def test_what_is_kept_and_what_is_deleted_is_the_text(given_spans: tuple[str, list[Span]]) -> None:
    text, spans = given_spans
    letters = "".join(chr(0x10000 + i) for i in range(len(text)))  # every character occurs once
    column = spans_of([[(start, end, 1.0) for start, end, _ in spans]])
    kept, deleted = (
        edited([letters], (SpanEdit(attribute="pii.a", keep_only=only), column))[0].get(0, letters.encode()).decode()
        for only in (True, False)
    )
    assert sorted(kept + deleted) == list(letters)
    assert not set(kept) & set(deleted)


def test_several_edits_apply_to_the_original_at_once() -> None:
    first = (SpanEdit(attribute="pii.a", replace="longer than before"), spans_of([[(0, 1, 1.0)]]))
    second = (SpanEdit(attribute="pii.b", replace="<{}>"), spans_of([[(2, 3, 1.0)]]))
    assert edited(["abc"], first, second)[0] == {0: b"longer than beforeb<c>"}


@pytest.mark.parametrize("span", [(1, 4), (-1, 2), (2, 1), (4, 4)])
def test_a_span_outside_the_text_stops_and_names_the_document(span: tuple[int, int]) -> None:
    column = spans_of([[], [(*span, 1.0)]])
    with pytest.raises(AlignmentError) as found:
        edited(["a", "äbc"], (SpanEdit(attribute="pii.email"), column))
    assert str(found.value) == (
        f"a.jsonl:2: pii.email has the span [{span[0]}, {span[1]}) for document '1', whose text has 3 code points\n"
        "  the spans are of another version of the text: run their stage again"
    )


def test_places_are_found_across_the_parts_in_which_a_long_text_is_counted() -> None:
    text = "é😀中x" * 300_000
    spans = [(0, 1, 0), (419_430, 419_435, 0), (len(text) - 2, len(text), 0)]
    assert replace_spans(text, spans, ["-{}"]) == twin(text, spans, ["-{}"])
