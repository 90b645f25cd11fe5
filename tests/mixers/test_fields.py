"""Fields of the records in rules. Run: pytest tests/mixers/test_fields.py"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.data.fields import JsonField
from dolma.errors import ConfigError, DataError
from dolma.mixers.fields import Field, values_of

RECORDS = [
    {"id": "a", "text": "one", "created": "2019-12-31T23:59:59Z", "metadata": {"url": "http://x.org/1", "n": 7}},
    {"id": "b", "text": "two", "created": "2020-01-01", "metadata": {"url": "http://y.org/2", "n": 12}},
    {"id": "c", "text": "three", "created": "2021-05-01 10:00:00+02:00", "metadata": {"url": None}, "tags": ["x"]},
]


@pytest.fixture
def web(corpus: Any) -> Any:
    corpus.write("web", RECORDS)
    return corpus


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("document.metadata.url LIKE '%x.org%'", ["a"]),
        ("document.created >= DATE '2020-01-01'", ["b", "c"]),
        ("document.created BETWEEN DATE '2019-01-01' AND DATE '2019-12-31'", ["a"]),
        ("DATE '2020-01-01' > document.created", ["a"]),
        ("document.created < '2020-01-01'", ["a"]),
        ("TRY_CAST(document.metadata.n AS INTEGER) > 10", ["b"]),
        ("document.tags->>'$[0]' = 'x'", ["c"]),
        ("document.metadata IS NOT NULL AND document.metadata.url IS NULL", ["c"]),
        ("Document.Id = 'a' OR document.\"metadata.url\" LIKE '%y%'", ["a", "b"]),
        ("len(list_filter([1, 2], lambda document: document > 1)) = 1 AND document.text = 'two'", ["b"]),
    ],
)
@pytest.mark.parametrize("more", [{}, {"sources": {"web": {"repeat": 1}}}])
def test_rules_name_fields_of_json_records(web: Any, rule: str, kept: list[str], more: Any) -> None:
    web.mix(keep=[rule], missing="drop", **more)
    assert web.ids() == kept


def test_a_field_that_is_missing_is_null(web: Any) -> None:
    with pytest.raises(DataError, match=r"is NULL for document 'c' \(document.metadata.n is missing\)"):
        web.mix(keep=["TRY_CAST(document.metadata.n AS INTEGER) > 1"])


def test_a_field_that_is_no_date_is_an_error_that_names_the_document(corpus: Any) -> None:
    corpus.write("web", [{"id": id, "text": "t", "created": day} for id, day in (("a", "2020-01-01"), ("b", "soon"))])
    with pytest.raises(DataError, match=r":2: the rule .* cannot be evaluated for document 'b': (?s:.*)TRY_CAST"):
        corpus.mix(keep=["document.created > DATE '2019-01-01'"])


def test_a_number_in_json_is_text(web: Any) -> None:
    with pytest.raises(ConfigError, match=r"which is text, with `10`.*\n  a number in text is TRY_CAST"):
        web.mix(keep=["document.metadata.n > 10"])


def test_a_field_that_no_document_has_is_an_error_with_those_that_there_are(web: Any) -> None:
    with pytest.raises(ConfigError) as found:
        web.mix(keep=["document.metadata.ulr = 'x'"])
    assert str(found.value) == (
        "$.mix.keep[0]: no document at the beginnings of files (1 looked at) has a value in 'metadata.ulr'; "
        "they have: created, id, metadata.n, metadata.url, tags, text\n  did you mean 'document.metadata.url'?  "
        "the document itself has: document.id, document.source, document.bytes"
    )


def test_fields_that_differ_in_case_alone_are_refused_in_one_rule(corpus: Any) -> None:
    corpus.write("web", [{"id": "a", "text": "t", "url": "x", "URL": "y"}])
    with pytest.raises(ConfigError, match=r"'URL'.*which SQL takes for one"):
        corpus.mix(keep=["document.url = document.URL"])


def test_half_a_surrogate_pair_elsewhere_does_not_hide_a_field(corpus: Any) -> None:
    corpus.write("web", [b'{"id": "a", "text": "t", "title": "x\\ud800", "url": "u"}'])
    corpus.mix(keep=["document.url = 'u'", "starts_with(document.title, 'x')"])
    assert corpus.ids() == ["a"]


# --- parquet ---------------------------------------------------------------------------------------------------------


def parquet(corpus: Any, name: str = "a.parquet", **columns: Any) -> Path:
    path: Path = corpus.folder / "web" / "documents" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    n_rows = len(next(iter(columns.values())))
    pq.write_table(pa.table({"id": [str(i) for i in range(n_rows)], "text": ["t"] * n_rows, **columns}), path)
    return path


DAYS = [datetime.datetime(2019, 12, 31, 23, 30), datetime.datetime(2020, 1, 1), None]


@pytest.mark.parametrize(
    ("column", "rule", "kept"),
    [
        (pa.array([1, 2, None]), "document.x > 1", ["1"]),
        (pa.array([2**63 + 5, 1, 0], pa.uint64()), "document.x > 9223372036854775808", ["0"]),
        (pa.array([0.1, 0.3, float("nan")]), "document.x > 0.2", ["1"]),
        (pa.array([True, False, None]), "document.x", ["0"]),
        (pa.array(DAYS, pa.timestamp("us")), "document.x >= DATE '2020-01-01'", ["1"]),
        (pa.array(DAYS, pa.timestamp("ns", "Europe/Berlin")), "document.x < DATE '2020-01-01'", ["0"]),
        (pa.array(DAYS, pa.date32()), "document.x = DATE '2020-01-01'", ["1"]),
        (pa.array([{"y": 5}, {"y": 6}, None]), "document.x.y > 5", ["1"]),
        (pa.array(["a", "b", None]).dictionary_encode(), "document.x = 'b'", ["1"]),
        (pa.array([[1], [2, 3], []]), "json_array_length(document.x) > 1", ["1"]),
    ],
)
def test_columns_of_parquet_have_their_types(corpus: Any, column: pa.Array, rule: str, kept: list[str]) -> None:
    parquet(corpus, x=column)
    corpus.mix(keep=[rule], missing="drop")
    assert corpus.ids() == kept


def test_columns_of_different_types_are_text(corpus: Any) -> None:
    parquet(corpus, x=pa.array([5]))
    parquet(corpus, "b.parquet", x=pa.array(["6"]))
    with pytest.raises(ConfigError, match="which is text, with `5`"):
        corpus.mix(keep=["document.x > 5"], allow_duplicate_inputs=True)
    corpus.mix(keep=["document.x = '6'"])
    assert len(corpus.ids()) == 1


def test_a_column_of_nulls_is_there(corpus: Any) -> None:
    parquet(corpus, x=pa.array([None, None], pa.int64()))
    corpus.mix(keep=["COALESCE(document.x, 1) = 1"])
    assert len(corpus.ids()) == 2


def test_our_own_parquet_is_read_as_the_records_that_it_holds(web: Any) -> None:
    web.mix(format=".parquet")
    again = web.base / "again"
    web.mix(
        dataset=web.dataset(str(web.out / "documents")), output=again, keep=["document.metadata.url LIKE '%y.org%'"],
        missing="drop",
    )  # fmt: skip
    assert web.ids(output=again) == ["b"]


# --- against the readable twin ---------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "a.b", "b/c", "c~", "0"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.text('aé中😀"\\{/~\n\x00', max_size=5)),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


def as_text(value: Any) -> str | None:
    """What `->>` gives for a value."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def shallow(value: Any) -> bool:
    """Whether no null, and no object in a string, is where the two readers say different things of purpose."""
    if isinstance(value, dict):
        return all(inner is not None and shallow(inner) for inner in value.values())
    return not (isinstance(value, str) and value.lstrip().startswith("{"))


@pytest.mark.property
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a loaded machine
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4).filter(shallow), max_size=5), st.lists(KEYS, min_size=1))
def test_values_are_those_that_a_reader_of_one_field_finds(objects: list[Any], parts: list[str]) -> None:
    name = ".".join(parts[:3])
    records = [json.dumps(value, ensure_ascii=False).encode() for value in objects]
    found = values_of(records, [Field(name=name), Field(name="a")])
    for asked in (name, "a"):
        expected = [as_text(JsonField(asked.split(".")).of(record)) for record in records]
        assert found[asked].to_pylist() == expected
