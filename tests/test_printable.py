"""What is shown of any text. Run: pytest tests/test_printable.py"""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import ConfigError, DataError
from dolma.printable import printable, printable_json, printable_message

# Every character, and those that do something more often than chance would have it.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\x1b\x9b\x07\r\n\t\u200b\u200d\u202e\u2066\u2028\ufeff[]\\"))


def acts(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nok: 3 files", r"a\nok: 3 files"),
        ("a\r\tb", r"a\r\tb"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("line\u2028\x85", r"line\u2028\x85"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        ("filler \u3164", r"filler \u3164"),
        (r"\d+ C:\new", r"\d+ C:\new"),
        ("größer 日本 e\u0301 🦊 [bold]x[/]", "größer 日本 e\u0301 🦊 [bold]x[/]"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_nothing_printed_acts_and_all_that_is_seen_stays(text: str) -> None:
    shown = printable(text)
    assert acts(shown) == []
    kept = iter(shown)
    assert all(c in kept for c in text if not acts(c) and c not in "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
               and not 0x180B <= ord(c) <= 0x180F)  # fmt: skip


@given(ANY_TEXT)
def test_json_says_the_same_and_nothing_in_it_acts(text: str) -> None:
    encoded = json.dumps({"a": text}, indent=1, ensure_ascii=False)
    shown = printable_json(encoded)
    assert json.loads(shown) == {"a": text}
    assert [c for c in acts(shown) if c != "\n"] == []


def test_further_lines_of_a_message_are_indented_and_others_are_escapes() -> None:
    assert printable_message("no\n  do that\nok: done") == "no\n  do that\\nok: done"


def test_a_line_of_a_message_that_quotes_a_long_text_is_cut() -> None:
    begin, _, end = printable_message(f"no {'x' * 100_000} here\n  do that").partition("\n")
    assert (len(begin), end) == (2029, "  do that")
    assert begin.startswith("no xxx") and " ... (98,008 characters) ... xxx" in begin and begin.endswith("xx here")
    assert printable_message("y" * 2500) == "y" * 2500


def test_a_key_and_a_file_in_an_error_have_no_lines_of_their_own() -> None:
    assert str(ConfigError("wrong", path="$.a\n  ok", file="r\n  ok.yaml")) == r"r\n  ok.yaml: $.a\n  ok: wrong"
    assert str(DataError("wrong\n  do that", file="a\n  ok\x1b.gz", line=3)) == "a\\n  ok\\x1b.gz:3: wrong\n  do that"
