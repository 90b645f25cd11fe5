"""Which texts are rules at all. Run: pytest tests/mixers/test_expressions.py"""

from __future__ import annotations

import pyarrow as pa
import pytest

from dolma.mixers.expressions import check_operands, parse
from dolma.mixers.sql import MAX_DEPTH, ExpressionError


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a.b > 1", [("a", "b")]),
        ("a.b BETWEEN 5 AND a.c AND NOT d.e", [("a", "b"), ("a", "c"), ("d", "e")]),
        ("len(pii.email) = 0 -- none", [("pii", "email")]),
        ("list_sum([s.score for s in pii.email]) < 2", [("pii", "email")]),
        ("len([s for s in pii.email if s.score > a.b]) = 0", [("pii", "email"), ("a", "b")]),
        ("pii.email[1].score > 0.5", [("pii", "email")]),
        ("CASE WHEN a.b THEN c.d ELSE e.f END", [("a", "b"), ("c", "d"), ("e", "f")]),
        ("a.b IN (1, 2) OR a.b IS NULL", [("a", "b")]),
        ("a.b::INTEGER > try_cast(c.d AS INTEGER)", [("a", "b"), ("c", "d")]),
        ('"my set"."a ""b""" = \'x\'', [("my set", 'a "b"')]),
        ("word_count > 1", [("word_count",)]),
        ("coalesce(a.b, 0) > 1", [("a", "b")]),
    ],
)
def test_the_columns_of_an_expression(text: str, columns: list[tuple[str, ...]]) -> None:
    assert list(parse(text).columns) == columns


@pytest.mark.parametrize("text", ["a.b >", "a.b > > 1", "", "(a.b", "a.b)", "SELECT a.b", "a.b > 1 extra"])
def test_a_syntax_error_is_said(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"no SQL expression: |subquery"):
        parse(text)


def test_a_syntax_error_quotes_the_place() -> None:
    with pytest.raises(ExpressionError, match=r'syntax error at or near ">"'):
        parse("a.b > > 1")


@pytest.mark.parametrize(
    "text",
    [
        "true); SELECT (true",
        "true), (false",
        "true) FROM read_csv('/etc/passwd') WHERE (true",
        "true) LIMIT (1",
        "true) ORDER BY (a.b",
        "true; DROP TABLE x",
        "1); COPY (SELECT 1) TO '/tmp/x'; SELECT (1",
    ],
)
def test_more_than_one_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"no SQL expression|more than one SQL expression"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.b > (SELECT 1)", "subquery"),
        ("EXISTS (SELECT 1 FROM read_csv('x'))", "subquery"),
        ("a.b IN (SELECT 1)", "subquery"),
        ("sum(a.b) OVER () > 1", "window function"),
        ("count(*) > 1", r"count_star\(\.\.\.\), which adds up over documents"),
        ("sum(a.b) > 1", r"over the spans of one document use list_sum\(\.\.\.\)"),
        ("a.* > 1", r"a `\*`"),
        ("a.b > $1", "parameter"),
        ("a.b > ?", "parameter"),
        ("#1 > 1", "positional reference"),
        ("random() < 0.5", r"random\(\.\.\.\), whose value does not follow from the document"),
        ("now() > a.b", r"now\(\.\.\.\), whose value"),
        ("ago(a.b) > 1", r"ago\(\.\.\.\), whose value"),
        ("nextval('s') > 1", "whose value"),
        ("current_setting('threads') = 'x'", "whose value"),
        ("error('stop')", "whose value"),
    ],
)
def test_what_a_rule_cannot_have_is_refused(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "true) UNION ALL SELECT (true",
        "true) EXCEPT SELECT (true",
        "true) AS y, (a.b > 1",
        "true) QUALIFY (true",
        "true) WINDOW w AS (PARTITION BY 1), v AS (ORDER BY 1",
        "true) FROM t PIVOT (sum(x) FOR y IN (1)) WHERE (true",
        "true) USING SAMPLE (10",
        "true; SELECT 1",
        "true /* open",
        "$$open",
        "'open",
        "\0",
    ],
)
def test_what_leaves_the_brackets_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"no SQL expression|more than one SQL expression"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["a.s = 'x;y'", "a.b > 1 /* ; */", "a.s = $$it's$$", "((((a.b)))) > ((1))", "a.s = E'\\n' -- )"]
)
def test_odd_but_single_expressions_are_fine(text: str) -> None:
    assert parse(text).columns[0][0] == "a"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unnest([a.b]) > 1", r"unnest\(...\), whose value .* document alone\n  did you mean list_filter\(...\)"),
        ("list_sum([x for x in unnest(a.s)]) > 1", "unnest"),
        ("generate_series(1, a.b) IS NULL", "generate_series"),
        ("age(a.b) > 1", r"age\("),
        ("version() = a.s", r"version\(...\), whose value"),
        ("hash(a.s) % 2 = 0", r"did you mean md5_number_lower\(...\)"),
        ("uppper(a.s) = 'X'", r"there is no such function\n  did you mean 'upper'"),
        ("other.upper(a.s) = 'X'", r"write upper\(...\) with everything in the brackets"),
        ("a.s.upper() = 'X'", "with everything in the brackets"),
        ("max(DISTINCT a.b) > 1", "adds up over documents"),
        ("list_sum(DISTINCT a.b) > 1", "DISTINCT, ORDER BY or FILTER"),
        ("sum(a.b) FILTER (WHERE true) > 1", "adds up over documents"),
        ("COLUMNS('a') > 1", r"a `\*`"),
        ("*COLUMNS('a') > 1", r"a `\*`"),
        ("a.b = ANY ([1, 2])", "subquery"),
        ("grouping(a.b) = 1", "grouping_function, which a rule cannot have"),
        ("CAST('now' AS TIMESTAMP) > a.s", "converts to TIMESTAMP; .*\n  a time counts with its day"),
        ("a.s < DATE 'today'", "has the date 'today', expected year, month and day\n  write DATE '2024-05-01'"),
        ("TRY_CAST('infinity' AS DATE) > a.s", "has the date 'infinity'"),
        ("a.s::timestamptz IS NULL", "converts to"),
        ("a.s::time IS NULL", "converts to TIME"),
        ("a.s::json IS NULL", "converts to JSON"),
        ("a.b < INTERVAL 1 DAY", r"to_days\(|converts to"),
        ("a.s::struct(x date) IS NULL", "converts to STRUCT"),
        ("a.s::date[] IS NULL", "converts to DATE"),
        ("a.s COLLATE de = 'x'", "has the collation 'de'; a rule may have nocase"),
        ("a.s = x'AB'", "constant of kind"),
        ("current_setting('x') = a.s", "whose value"),
        ("getenv('HOME') = a.s", "getenv"),
        ("repeat(a.s, 1000000000) = ''", "repeat"),
        ("list_aggregate([a.b], 'reservoir_quantile') > 1", "list_aggregate"),
    ],
)
def test_what_may_differ_tomorrow_or_elsewhere_is_refused(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        parse(text)


@pytest.mark.parametrize("text", ["current_date", "current_timestamp", "localtime", "user", "current_role"])
def test_values_of_the_session_are_names_that_no_attribute_has(text: str) -> None:
    assert parse(f"{text} IS NOT NULL").columns == ((text,),)


def test_the_name_of_a_lambda_hides_values_of_the_session() -> None:
    assert parse("len([user for user in a.b]) = 0").columns == (("a", "b"),)


@pytest.mark.parametrize(
    "text",
    [
        "NOT " * 5000 + "a.b",
        "(" * 5000 + "a.b" + ")" * 5000,
        " + ".join(["a.b"] * 5000) + " > 0",
        "abs(" * (MAX_DEPTH + 1) + "a.b" + ")" * (MAX_DEPTH + 1) + " > 0",
        "[" * 900 + "a.b" + "]" * 900 + " IS NULL",
    ],
)
def test_deep_nesting_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionError, match="nested too deeply"):
        parse(text)


@pytest.mark.parametrize(
    "text", [" AND ".join(["a.b > 1"] * 2000), "a.b IN (" + ", ".join(map(str, range(5000))) + ")"]
)
def test_long_lists_are_fine(text: str) -> None:
    assert parse(text).columns == (("a", "b"),)


# --- operands --------------------------------------------------------------------------------------------------------

SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())])
SCHEMA = pa.schema(
    [
        (
            "a",
            pa.struct(
                [
                    ("n", pa.int64()),
                    ("x", pa.float64()),
                    ("s", pa.string()),
                    ("f", pa.bool_()),
                    ("spans", pa.list_(SPAN)),
                ]
            ),
        )
    ]
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.spans = 0", r"compares `a.spans`, which is a list, with `0`, which is a number\n  .*`len\(a.spans\) = 0`"),
        ("a.n > 1 AND 0 < a.spans", r"`a.n > 1 AND 0 < len\(a.spans\)`"),
        ("a.spans BETWEEN 1 AND 2", "a list, with `1`"),
        ("a.spans IN (1, 2)", "a list, with `1`"),
        ("coalesce(a.spans, 0) IS NULL", "a list, with `0`"),
        ("a.s > 5", r"text, with `5`, which is a number\n  a number in text is TRY_CAST\(a.s AS DOUBLE\)"),
        ("a.n = a.s", r"TRY_CAST\(a.s AS DOUBLE\)"),
        ("a.n = 'many'", "with `'many'`, which is text"),
        ("a.spans[1] > 0.5", "a struct, with `0.5`"),
        ("CASE WHEN a.f THEN a.n ELSE a.s END > 1", "a number, with `a.s`"),
        ("a.s AND a.f", "takes `a.s`, which is text, for a condition"),
        ("NOT a.spans", "takes `a.spans`, which is a list, for a condition"),
    ],
)
def test_kinds_that_do_not_fit_are_said_before_reading(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why):
        check_operands(parse(text), SCHEMA, text=text)


@pytest.mark.parametrize(
    "text",
    [
        "len(a.spans) = 0",
        "a.n = '5'",
        "a.n > a.x AND a.f",
        "a.f = 1",
        "a.f = 'true'",
        "a.s IN ('x', NULL)",
        "coalesce(a.n, 0) > 1",
        "a.n IS NULL OR NOT a.f",
        "len([s for s in a.spans if s.score > 0.5]) BETWEEN 0 AND 3",
        "a.spans[1].score > 0.5",
        "a.spans = []",
        "TRY_CAST(a.s AS DOUBLE) > 5",
    ],
)
def test_kinds_that_fit_are_let_through(text: str) -> None:
    check_operands(parse(text), SCHEMA, text=text)
