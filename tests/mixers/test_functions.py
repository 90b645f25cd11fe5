"""The functions that rules may call, and those of DuckDB. Run: pytest tests/mixers/test_functions.py"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dolma.mixers.expressions import parse
from dolma.mixers.functions import ALLOWED, COLLATIONS, TYPES, as_markdown, nearest
from dolma.mixers.sql import ExpressionError, connection, known_functions, quoted

REPOSITORY = Path(__file__).parents[2]
# How each is called here, on the table below.
TABLE = """
{}(n, 3) <- add subtract multiply divide mod fdiv fmod pow power gcd lcm xor greatest_common_divisor
{}(n, 3) <- least_common_multiple nullif greatest least list_value list_pack row
{}(x) <- abs sign ceil ceiling floor round trunc sqrt cbrt exp ln log log2 log10 isnan isinf isfinite
{}(x, 1) <- round_even
{}(n) <- bit_count
{}(n > 2, n, 0) <- if
{}(t) <- len length strlen char_length character_length lower lcase upper ucase trim ltrim rtrim reverse ascii ord
{}(t) <- unicode strip_accents nfc_normalize url_decode url_encode md5 md5_number md5_number_lower md5_number_upper
{}(t) <- sha1 sha256 regexp_escape
{}(n + 64) <- chr
{}(t, 2) <- left right substr substring
{}(t, 'b,a') <- concat contains starts_with ends_with prefix suffix strpos instr levenshtein editdist3
{}(t, 'b,a') <- damerau_levenshtein jaccard jaro_similarity jaro_winkler_similarity
{}(t, reverse(t)) <- hamming mismatches
{}('a' IN t) <- position
{}(t, ',') <- split str_split string_split string_to_array regexp_split_to_array str_split_regex string_split_regex
{}(t, '[a-c]') <- regexp_matches regexp_full_match regexp_extract regexp_extract_all
{}(t, 'a', 'o') <- regexp_replace replace translate
{}('-', t, 'b,a') <- concat_ws
{}(t, ',', 1) <- split_part
{}(t, 'b%', '!') <- like_escape ilike_escape not_like_escape not_ilike_escape
{}(l, n) <- list_contains list_has array_contains array_has list_position list_indexof array_position array_indexof
{}(l, n) <- list_append array_append array_push_back array_push_front
{}(n, l) <- list_prepend array_prepend
{}(l, l) <- list_has_all array_has_all list_has_any array_has_any list_concat list_cat array_concat array_cat
{}(l, l) <- list_zip array_zip
{}(l, 1) <- list_extract list_element array_extract
{}(l, 1, 2) <- list_slice array_slice
{}(l, lambda y: y > 1) <- list_filter filter array_filter
{}(l, lambda y: y + 1) <- list_transform list_apply apply array_transform array_apply
{}(l, lambda y, z: y + z) <- list_reduce reduce array_reduce
{}(l) <- list_sort array_sort list_reverse_sort array_reverse_sort list_reverse array_reverse list_unique array_unique
{}(l) <- array_length list_count list_sum list_product list_avg list_median list_min list_max list_first list_last
{}(l) <- list_any_value list_stddev_pop list_stddev_samp list_var_pop list_var_samp
{}([n > 1, n > 2]) <- list_bool_and list_bool_or
{}(l, [true, false, true]) <- list_where array_where
{}(l, [1, 2]) <- list_select array_select
{}(MAP {{'a': n}}, 'a') <- element_at
{}([l, l]) <- flatten
{}(ts, '-') <- array_to_string
{}(ts) <- list_string_agg
{}(k := n) <- struct_pack
{}(spans[1], 'score') <- struct_extract
{}(j) <- json_valid json_type json_array_length json_keys
{}(j, '$.k') <- json_exists json_value json_extract json_extract_path json_extract_string json_extract_path_text
{}(j, '{{"k": 1}}') <- json_contains
n {} 3 <- + - * / // % ** ^ & | << >>
t {} 'b%' <- || ~~ !~~ ~~* !~~* ~~~ ^@
l {} l <- @> <@ &&
{} n <- @ ~
j {} '$.k' <- -> ->>
"""

PROGRAM = """
import json, locale, sys
try: locale.setlocale(locale.LC_ALL, "")
except locale.Error: pass
sys.path.insert(0, ".")
from dolma.mixers.sql import connection
con = connection()
con.execute(\"\"\"CREATE TABLE a AS SELECT * FROM (VALUES
  (1, 0.5::DOUBLE, 'b,a', [3, 1, 2]::BIGINT[], ['b', 'a'], [{'start': 1, 'end': 2, 'score': 0.5}], '{"k": 1}'),
  (5, 2.5, 'Éa,ı', [1], ['x'], [{'start': 1, 'end': 2, 'score': 1.5}], '{"k": [1]}'),
  (9, 7.25, 'abc', [7, 7, 8], [], [], '{}')) v(n, x, t, l, ts, spans, j)\"\"\")
for name, call in json.load(sys.stdin).items():
    print(json.dumps([name, [str(row) for row in con.execute(f"SELECT {call} FROM a").fetchall()]]))
"""


def calls() -> dict[str, str]:
    """Each allowed function and operator, with an expression that uses it."""
    lines = (line.split(" <- ") for line in TABLE.strip().splitlines())
    return {name: call.format(name) for call, names in lines for name in names.split()}


def answers(**environment: str) -> list[str]:
    """What every allowed function gives in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(calls()),
        env=os.environ | environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_every_allowed_function_gives_the_same_in_another_session_zone_and_locale() -> None:
    assert calls().keys() == ALLOWED
    here = answers(TZ="UTC", LC_ALL="C.UTF-8")
    assert len(here) == len(ALLOWED)
    assert answers(TZ="Asia/Kathmandu", LC_ALL="tr_TR.UTF-8") == here
    assert answers(TZ="America/St_Johns", LC_ALL="POSIX") == here


@pytest.mark.parametrize("name", sorted(known_functions()))
def test_only_functions_of_the_list_may_be_called(name: str) -> None:
    call = f"{quoted(name)}(a.b)"
    if name in ALLOWED:
        assert parse(call).columns == (("a", "b"),)
    else:
        with pytest.raises(ExpressionError, match=r"whose value|adds up over documents|a rule cannot have|no SQL"):
            parse(call)


def test_all_that_is_listed_is_there() -> None:
    assert ALLOWED - known_functions().keys() <= {"->"}  # an operator that DuckDB parses as a lambda


def test_nothing_listed_is_unstable_or_of_several_rows() -> None:
    for name in ALLOWED - {"->"}:
        kinds = {kind for kind, _ in known_functions()[name]}
        stabilities = {stability for _, stability in known_functions()[name]}
        assert kinds <= {"scalar", "macro"}, name
        assert stabilities <= {"CONSISTENT", None}, name


@pytest.mark.parametrize("word", ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "current_date"])
@pytest.mark.parametrize("kind", sorted(TYPES - {"list"}))
def test_no_word_converts_to_the_day(word: str, kind: str) -> None:
    parse(f"TRY_CAST(a.s AS {kind}) IS NULL")
    (value,) = connection().execute(f"SELECT TRY_CAST(? AS {kind})", [word]).fetchall()[0]
    assert value in (None, word, float("inf"))


@pytest.mark.parametrize("word", ["now", "today", "tomorrow", "yesterday", "current_date"])
def test_no_word_is_the_date_of_the_day(word: str) -> None:
    parse("TRY_CAST(a.s AS DATE) IS NULL")
    assert connection().execute("SELECT TRY_CAST(? AS DATE)", [word]).fetchall() == [(None,)]


@pytest.mark.parametrize("name", COLLATIONS)
def test_allowed_collations_are_there(name: str) -> None:
    assert parse(f"a.s COLLATE {name} = 'x'").columns == (("a", "s"),)


@pytest.mark.parametrize(
    ("name", "instead"),
    [("sum", "list_sum"), ("hash", "md5_number_lower"), ("uper", "upper"), ("unnest", "list_filter"), ("zzz", None)],
)
def test_the_nearest_function_is_found(name: str, instead: str | None) -> None:
    assert nearest(name) == instead


def test_the_list_in_the_documentation_is_this_one() -> None:
    text = (REPOSITORY / "docs" / "mix.md").read_text()
    assert as_markdown() in text, f"put this into docs/mix.md:\n{as_markdown()}"
