"""Tables at several widths and in a pipe. Run: pytest tests/cli/test_tables.py"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from dolma.cli.tables import cell_text, print_table
from dolma.printable import printable

NAME = "gopher.fraction_of_characters_in_duplicate_10grams"
NUMBERS = (989, 0, 0.01652, 0.5, 12345, 123456.0, 1234567, 1.2e-7)
BARS = "▆ ▄  ▅ ▆  █ █  ▆ ▇ █"
HEADERS = ("attribute", "source", "count", "missing", "mean", "min", "q0.05", "q0.5", "q0.95", "max", "histogram")
ROWS = [(name, source, *NUMBERS, BARS) for name in (NAME, "length.words") for source in ("", "books", "multilingual")]

Shown = Callable[..., list[str]]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shown:
    """The lines of a table on a terminal that is so wide, or in a pipe."""

    def show(headers: object, rows: object, *, width: int | None, **how: object) -> list[str]:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if width is not None:
                patch.setattr(sys.stdout, "isatty", lambda: True)
                patch.setenv("COLUMNS", str(width))
            print_table(headers, rows, **how)  # type: ignore[arg-type]
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize("width", [40, 80, 100, 200, None])
def test_every_number_is_whole_and_no_line_is_wider_than_the_terminal(shown: Shown, width: int | None) -> None:
    lines = shown(HEADERS, ROWS, width=width, grouped=True)
    assert max(map(cell_len, lines)) <= (width or 1000)
    words = " ".join(lines).split()
    for number in set(map(cell_text, NUMBERS)):
        assert words.count(number) == len(ROWS) * list(map(cell_text, NUMBERS)).count(number)
    assert sum(BARS in line for line in lines) == len(ROWS)


@pytest.mark.parametrize("width", [80, 100])
def test_rows_too_wide_stand_under_their_first_value_which_is_whole(shown: Shown, width: int) -> None:
    lines = [line.strip() for line in shown(HEADERS, ROWS, width=width, grouped=True)]
    assert lines[0].split()[:2] == ["source", "count"]
    assert lines.index(NAME) < lines.index("length.words")


def test_what_has_no_room_follows_after_the_same_first_columns(shown: Shown) -> None:
    lines = shown(HEADERS, ROWS, width=80, title="attributes", grouped=True)
    heads = [line.split() for line in lines if line.startswith(" source")]
    assert [name for head in heads for name in head if name != "source"] == list(HEADERS[2:])
    assert [line for line in lines if line.startswith("attributes")] == ["attributes", "attributes, continued"]


def test_a_row_in_a_pipe_is_one_line_however_long(shown: Shown) -> None:
    rule = "keep: " + "length.words > 5 AND " * 100
    lines = shown(["rule", "documents"], [(rule, 5)], width=None, grouped=True)
    assert [line for line in lines if rule in line and line.endswith("  5")] != []


def test_a_long_name_is_folded_and_nothing_of_it_is_lost(shown: Shown) -> None:
    name = "".join(map(str, range(100)))
    lines = shown(["name", "documents"], [(name, 123456)], width=40)
    assert "".join(line[:29].strip() for line in lines[2:]) == name


def test_a_table_without_rows_has_its_headers(shown: Shown) -> None:
    assert shown(["a", "b"], [], width=None)[0] == " a  b"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(max_size=30), width=st.sampled_from([None, 40, 80]))
def test_any_text_is_shown_as_it_is_and_in_its_row(shown: Shown, value: str, width: int | None) -> None:
    lines = shown(["source", "documents"], [(value, 1234), ("web", 5)], width=width, title=value)
    out = "\n".join(lines)
    assert printable(out.replace("\n", "")) == out.replace("\n", "")
    squeezed, expected = ("".join(text.split()) for text in (out, printable(value)))
    assert expected in squeezed
    assert [line.split()[-1] for line in lines if line.endswith((" 1,234", " 5"))] == ["1,234", "5"]


@pytest.mark.parametrize("text", ["[/]", "[bold]x", "[s.score for s in pii.email]", ":smile:", "\x1b[31m"])
def test_markup_is_text(shown: Shown, text: str) -> None:
    assert any(printable(text) in line for line in shown(["rule"], [(text,)], width=80, title=text))


def on_a_terminal(width: int, *arguments: str) -> bytes:
    """What a command writes to a terminal of its own that is so many columns wide."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "dolma", *arguments]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env={**environment, "TERM": "xterm"})
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # how Linux says that nobody writes any more
        pass
    finally:
        os.close(master)
    assert process.wait(timeout=60) == 0
    return shown


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_real_terminal_gets_lines_of_its_width(width: int) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(width, "list", "length", "gopher").decode())
    assert acts_of(shown) == []
    lines = shown.splitlines()
    table = [line for line in lines if line.startswith(" ")]
    assert table and max(map(cell_len, table)) <= width
    names = "".join(line[1:].split("  ")[0].strip() for line in table)
    assert "gopher.fraction_of_characters_in_duplicate_10grams" in names


def acts_of(shown: str) -> list[str]:
    return [c for c in shown if c not in "\r\n" and not c.isprintable()]
