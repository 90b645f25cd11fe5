"""Attribute rows must be those of the documents. Run: pytest tests/mixers/test_join.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.aligned import check_contiguous
from dolma.data.attributes import attribute_schema
from dolma.data.dataset import Piece, Shard, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.errors import AlignmentError, DataError
from dolma.mixers.join import AttributeFile, JoinedRows

TEXTS = ["zero", "one", "two", "three"]


def test_a_shard_without_attributes_is_refused(corpus: Any) -> None:
    corpus.write_texts("a", TEXTS)
    path = corpus.write_texts("b", TEXTS)
    corpus.tag("a", n=[1] * 4)
    with pytest.raises(AlignmentError) as found:
        corpus.mix(keep=["my.n > 0"])
    assert str(found.value).startswith(
        f"{path}:1: no attributes 'my' for this file: {corpus.folder}/b/attributes/my/a.jsonl.parquet is not there\n"
        "  run `dolma tag --taggers my --documents '"
    )
    assert not corpus.out.exists()


@pytest.mark.parametrize("format", ["parquet", "dolma1"])
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["d-0", "d-1", "d-2"], r":4: no row for this document \(id 'd-3'\) in .*/my/a.jsonl(.parquet)?, which ends"),
        (["d-0", "d-1", "d-2", "d-3", "d-4"], r"goes on with id 'd-4' after the last document"),
        (["d-0", "d-2", "d-1", "d-3"], r":2: id 'd-1', but its row in .* has id 'd-2'"),
        (["x-0", "d-1", "d-2", "d-3"], r":1: id 'd-0', but its row in .* has id 'x-0'"),
        (["d-9"], r":1: id 'd-0', but its row in .* has id 'd-9'"),
    ],
)
def test_rows_that_are_not_the_documents_are_refused(corpus: Any, ids: list[str], message: str, format: str) -> None:
    path = corpus.write_texts("d", TEXTS)
    corpus.tag("d", ids=ids, spans=[[(0, 1, 1.0)] for _ in ids], format=format)
    with pytest.raises(AlignmentError, match=message) as found:
        corpus.mix(keep=["len(my.spans) > 0"])
    assert str(found.value).startswith(str(path))


def test_an_attribute_file_without_rows_is_refused(corpus: Any) -> None:
    corpus.write_texts("d", TEXTS)
    corpus.tag("d", n=[])
    with pytest.raises(AlignmentError, match=r":1: no row for this document \(id 'd-0'\)"):
        corpus.mix(keep=["my.n > 0"])


def test_every_set_that_is_read_is_checked(corpus: Any) -> None:
    corpus.write_texts("d", TEXTS)
    corpus.tag("d", n=[1] * 4)
    corpus.tag("d", set="other", n=[1] * 3)
    with pytest.raises(AlignmentError, match=r"other/a.jsonl.parquet, which ends before"):
        corpus.mix(keep=["my.n > 0", "other.n > 0"])


def test_a_set_that_no_rule_names_is_not_looked_at(corpus: Any) -> None:
    corpus.write_texts("d", TEXTS)
    corpus.tag("d", n=[1] * 4)
    corpus.tag("d", set="other", n=[1] * 3)
    assert corpus.mix(keep=["my.n > 0"]).ledger.total().out.documents == 4


def test_a_file_that_lacks_a_column_is_refused(corpus: Any) -> None:
    for source in ("a", "b"):
        corpus.write_texts(source, [source])
    corpus.tag("a", n=[1], x=[1.0])
    corpus.tag("b", n=[1])
    with pytest.raises(AlignmentError, match=r"b/attributes/my/a.jsonl.parquet has no float column 'x', but other"):
        corpus.mix(keep=["my.x > 0"])


def test_a_truncated_attribute_file_is_refused(corpus: Any) -> None:
    corpus.write_texts("d", TEXTS)
    path = corpus.tag("d", n=[1] * 4)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a readable attribute file"):
        corpus.mix(keep=["my.n > 0"])


@pytest.mark.parametrize("kind", [None, "int"])
def test_times_in_place_of_numbers_are_refused(corpus: Any, kind: str | None) -> None:
    for name in ("a", "b"):
        corpus.write_texts(name, TEXTS)
        path = corpus.tag(name, n=[1] * 4)
    notes = {"kind": kind} if kind else None
    schema = pa.schema([("id", pa.string()), pa.field("n", pa.timestamp("us"), metadata=notes)])
    pq.write_table(pa.table([pq.read_table(path)["id"], pa.array([0] * 4, pa.timestamp("us"))], schema=schema), path)
    with pytest.raises(DataError, match=r"/b/attributes/my/a\.jsonl\.parquet: the column 'n' is timestamp\[us\]"):
        corpus.mix(keep=["my.n > 0"])


# --- pieces ----------------------------------------------------------------------------------------------------------


def files_of(path: Path) -> tuple[AttributeFile, ...]:
    return (AttributeFile(set="my", path=str(path), outputs=attribute_schema(str(path))),)


def joined(parts: list[Piece], files: tuple[AttributeFile, ...]) -> tuple[list[int], list[dict[str, int]]]:
    """The values of `my.n` in the order of the documents, and what each piece took."""
    values, taken = [], []
    for piece in parts:
        with JoinedRows(piece, files) as rows:
            for batch in read_batches(piece, Reading(batch_bytes=50, on_error="skip"), intake=Intake()):
                values += rows.take(batch)["my"]["n"].to_pylist()
            rows.finish()
            taken.append({"first_row": rows.first_row, "rows": rows.rows})
    return values, taken


def shard_of(corpus: Any, blank: bool) -> Shard:
    records: list[Any] = [{"id": f"d-{i}", "text": "word " * (i % 7)} for i in range(60)]
    if blank:
        for at in (50, 31, 30, 3):
            records.insert(at, b"")
        records.insert(10, b"{broken")
    corpus.write("d", records)
    return corpus.dataset().shards()[0]


@pytest.mark.parametrize("blank", [False, True])
def test_pieces_find_their_rows_whatever_lines_were_left_out(corpus: Any, blank: bool) -> None:
    shard = shard_of(corpus, blank)
    path = corpus.tag("d", n=list(range(60)))
    parts = pieces(shard, piece_bytes=700)
    assert len(parts) > 3
    values, taken = joined(parts, files_of(path))
    assert values == list(range(60))
    check_contiguous(parts, taken)


def test_a_row_that_falls_between_two_pieces_is_noticed(corpus: Any) -> None:
    shard = shard_of(corpus, blank=False)
    parts = pieces(shard, piece_bytes=700)
    first = parts[1].first_line - 1
    names = [f"d-{i}" for i in range(60)]
    path = corpus.tag("d", ids=[*names[:first], "x", *names[first:]], n=list(range(61)))
    with pytest.raises(AlignmentError):
        check_contiguous(parts, joined(parts, files_of(path))[1])


def test_a_gap_between_pieces_is_named() -> None:
    shard = Shard(path="a.jsonl", name="a.jsonl", root="", inner="", size=9)
    parts = [Piece(shard=shard, part=part, parts=3, first_line=1 + 5 * part) for part in range(3)]
    taken = [{"first_row": 0, "rows": 4}, {"first_row": -1, "rows": 0}, {"first_row": 5, "rows": 2}]
    with pytest.raises(AlignmentError, match=r"a.jsonl:11: its attributes have rows 4 to 5 for which it has no doc"):
        check_contiguous(parts, taken)


# --- Dolma 1.x -------------------------------------------------------------------------------------------------------


def test_attributes_in_the_old_form_are_joined_like_any(corpus: Any) -> None:
    corpus.write_texts("d", ["keep", "drop me", "keep"])
    corpus.tag("d", spans=[[], [(0, 4, 1.0)], []], format="dolma1")
    corpus.mix(keep=["len(my.spans) = 0"])
    assert corpus.ids() == ["d-0", "d-2"]


def test_an_output_that_no_document_of_a_shard_has_is_an_empty_list(corpus: Any) -> None:
    for source, spans in (("a", [[(0, 1, 1.0)], []]), ("b", [[], []])):
        corpus.write_texts(source, [f"text of {source}", "other"])
        corpus.tag(source, spans=spans, more=[[(0, 1, 1.0)], []], format="dolma1")
    corpus.mix(drop=["len(my.spans) > 0"], workers=1)
    assert corpus.ids() == ["a-1", "b-0", "b-1"]
