"""What a rule may call: functions and operators whose value follows from their arguments, by name.

DuckDB's functions were gone through one by one (2.0.0: 1,161 names). Listed is what takes one row to one value, is the
same on every day and machine, in every session, locale and time zone, and needs no more memory than a text or list of
the row and the rule. Everything else is refused, also what DuckDB adds later. Left out although they look harmless:

    hash, approx_*          another value in another version of DuckDB; md5_number_lower(text) is the same in all
    dates and times         they depend on a time zone; a rule has days, of which no text means the present one
    list_distinct,          their order, or which of several equals they take, is nowhere promised
    list_mode, list_intersect
    repeat, range, lpad,    a value as large as a number says
    rpad, list_resize
    format, printf, typeof  locale, and names that change with versions
    *_grapheme, ICU         rules that change with Unicode versions
    sin, cos, tan, gamma    no rule has needed them; the last digit is the machine's

`exp`, `ln`, `log`, `pow` and standard deviations are listed: their last binary digit may differ between processors.
`lower`, `upper`, `strip_accents` and `nfc_normalize` know the characters of DuckDB's Unicode version.
"""

from __future__ import annotations

import difflib
import textwrap

_FAMILIES = {
    "operators": "+ - * / // % ** ^ & | << >> ~ @ || -> ->> ~~ !~~ ~~* !~~* ~~~ ^@ @> <@ && "
    "like_escape ilike_escape not_like_escape not_ilike_escape",
    "NULL and choice": "if nullif greatest least",
    "numbers": "abs add subtract multiply divide mod fdiv fmod sign ceil ceiling floor round round_even trunc sqrt "
    "cbrt exp ln log log2 log10 pow power gcd lcm greatest_common_divisor least_common_multiple bit_count xor "
    "isnan isinf isfinite",
    "text": "len length strlen char_length character_length lower lcase upper ucase trim ltrim rtrim left right "
    "reverse substr substring replace translate concat concat_ws contains starts_with ends_with prefix suffix position "
    "strpos instr split split_part str_split string_split string_to_array ascii ord unicode chr strip_accents "
    "nfc_normalize url_decode url_encode",
    "likeness of texts": "levenshtein editdist3 damerau_levenshtein hamming mismatches jaccard jaro_similarity "
    "jaro_winkler_similarity",
    "regular expressions": "regexp_matches regexp_full_match regexp_extract regexp_extract_all regexp_replace "
    "regexp_split_to_array regexp_escape str_split_regex string_split_regex",
    "hashes": "md5 md5_number md5_number_lower md5_number_upper sha1 sha256",
    "lists": "list_value list_pack array_length list_contains list_has array_contains array_has list_has_all "
    "array_has_all list_has_any array_has_any list_position list_indexof array_position array_indexof list_extract "
    "list_element array_extract element_at list_slice array_slice list_filter filter array_filter list_transform "
    "list_apply apply array_transform array_apply list_reduce reduce array_reduce list_sort array_sort "
    "list_reverse_sort array_reverse_sort list_reverse array_reverse list_zip array_zip list_concat list_cat "
    "array_concat array_cat list_append array_append array_push_back list_prepend array_prepend array_push_front "
    "list_where array_where list_select array_select list_unique array_unique flatten array_to_string",
    "sums over a list": "list_count list_sum list_product list_avg list_median list_min list_max list_first list_last "
    "list_any_value list_bool_and list_bool_or list_stddev_pop list_stddev_samp list_var_pop list_var_samp "
    "list_string_agg",
    "structs": "row struct_pack struct_extract",
    "JSON in text": "json_valid json_type json_exists json_value json_extract json_extract_path json_extract_string "
    "json_extract_path_text json_array_length json_keys json_contains",
}
FUNCTIONS: dict[str, tuple[str, ...]] = {family: tuple(names.split()) for family, names in _FAMILIES.items()}
ALLOWED = frozenset(name for names in FUNCTIONS.values() for name in names)
COLLATIONS = ("nocase", "noaccent", "nfc")
TYPES = frozenset(
    {"boolean", "bool", "logical", "tinyint", "int1", "smallint", "int2", "short", "integer", "int", "int4", "signed"}
    | {"bigint", "int8", "long", "hugeint", "int128", "utinyint", "uint8", "usmallint", "uint16", "uinteger", "uint32"}
    | {"ubigint", "uint64", "uhugeint", "uint128", "float", "float4", "real", "double", "float8"}
    | {"decimal", "numeric", "dec", "varchar", "char", "bpchar", "nvarchar", "text", "string", "list"}
)
"""The names of types that a rule may convert to: truth values, numbers, text, and lists of them."""

_INSTEAD = {
    "hash": "md5_number_lower",
    "random": "md5_number_lower",
    "uuid": "md5_number_lower",
    "format": "concat",
    "printf": "concat",
    "list_aggr": "list_sum",
    "list_aggregate": "list_sum",
    "array_aggr": "list_sum",
    "array_aggregate": "list_sum",
    "aggregate": "list_sum",
    "list_distinct": "list_unique",
    "array_distinct": "list_unique",
    "list_intersect": "list_has_any",
    "array_intersect": "list_has_any",
    "unnest": "list_filter",
    "cardinality": "len",
    "octet_length": "strlen",
    "length_grapheme": "length",
    "substring_grapheme": "substring",
}


def nearest(name: str) -> str | None:
    """The allowed function that does what this one is asked for, or is called most alike; None where none is near."""
    instead = _INSTEAD.get(name, f"list_{name}")
    if instead in ALLOWED:
        return instead
    near = difflib.get_close_matches(name, sorted(ALLOWED), n=1, cutoff=0.75)
    return near[0] if near else None


def as_markdown() -> str:
    """The list for `docs/mix.md`: one item per family."""
    items = (f"- {family}: {', '.join(f'`{name}`' for name in names)}" for family, names in FUNCTIONS.items())
    return "\n".join(
        textwrap.fill(item, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for item in items
    )
