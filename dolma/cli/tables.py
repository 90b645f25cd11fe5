"""Tables, for a terminal of any width and for a pipe.

In a pipe a row is one line, nothing is cut or folded, and there is no colour; no cell is padded beyond 60 columns of
the screen. On a terminal the table has the width of the terminal: numbers stay whole and text is folded. What still has
no room follows in a second table with the same first columns; where it is asked for, rows are before that put under
their first value, on a line of its own.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dolma.cli.printing import write
from dolma.printable import printable

_CONTINUED = ", continued"
_GAP = 2  # columns of the screen between two of the table
_MOST_PADDED = 60  # columns of the screen, of a cell in a pipe
_NARROWEST_TEXT = 16  # columns of the screen that text is folded to at most
_NUMBER = re.compile(r"(~?[-+]?[\d.,]{1,20}(e[-+]?\d{1,4})?%?|-|)\Z")
_BARS = re.compile(r"[ ▁▂▃▄▅▆▇█]{,40}\Z")


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    cells: Sequence[str]

    @property
    def numeric(self) -> bool:
        return all(map(_NUMBER.match, self.cells))

    @property
    def width(self) -> int:
        return max(map(_width_of, (self.header, *self.cells)))

    @property
    def least(self) -> int:
        whole = self.numeric or all(map(_BARS.match, self.cells))
        return self.width if whole else min(self.width, _NARROWEST_TEXT)


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, grouped: bool = False
) -> None:
    """Rows under headers; numbers to the right. What is too wide is laid out as this module's docstring says.

    `grouped`: rows too wide for a terminal stand under their first value, which equals that of their neighbours.
    """
    texts = [[cell_text(value) for value in row] for row in rows]
    columns = [_Column(header, [row[i] for row in texts]) for i, header in enumerate(headers)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    above = None
    if grouped and room is not None and _total([column.width for column in columns]) > room:
        above, columns = columns[0], columns[1:]
    for part in _parts(columns, room):
        widths = _widths(part, room)
        if title:
            _print_bold(title, room)
            title = f"{title.removesuffix(_CONTINUED)}{_CONTINUED}"
        _print_row([column.header for column in part], part, widths, room, bold=True)
        _print_line("─" * (_total(widths) - 1), indent=" ")
        for name, group in _groups(above, len(texts)):
            if name:
                _print_bold(name, room, indent=" ")
            for i in group:
                _print_row([column.cells[i] for column in part], part, widths, room)
        write("")


def _print_bold(text: str, room: int | None, *, indent: str = "") -> None:
    for line in _folded(printable(text), (room or 10**6) - len(indent)):
        _print_line(line, indent=indent, bold=True)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1) + 1


def _parts(columns: Sequence[_Column], room: int | None) -> Iterator[Sequence[_Column]]:
    """The columns, or as many at a time as there is room for, each time after the first ones that are text."""
    first = list(itertools.takewhile(lambda column: not column.numeric, columns))[:2] or list(columns[:1])
    part = list(first)
    for column in columns[len(first) :]:
        if room is not None and len(part) > len(first) and _total([one.least for one in (*part, column)]) > room:
            yield part
            part = list(first)
        part.append(column)
    yield part


def _widths(columns: Sequence[_Column], room: int | None) -> list[int]:
    """Of each column: its own if there is room, else less for the widest texts."""
    widths = [column.width if room is not None else min(column.width, _MOST_PADDED) for column in columns]
    while room is not None and _total(widths) > room:
        spare = [width - column.least for width, column in zip(widths, columns, strict=True)]
        widest = max((i for i, n in enumerate(spare) if n > 0), key=widths.__getitem__, default=None)
        if widest is None:
            break
        widths[widest] -= 1
    return widths


def _groups(above: _Column | None, n_rows: int) -> Iterator[tuple[str, Sequence[int]]]:
    if above is None:
        yield "", range(n_rows)
        return
    for name, rows in itertools.groupby(range(n_rows), key=above.cells.__getitem__):
        yield name, list(rows)


def _print_row(
    cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int], room: int | None, *, bold: bool = False
) -> None:
    """One row, of several lines where a cell is folded."""
    folded = [[cell] if room is None else _folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in itertools.zip_longest(*folded, fillvalue=""):
        spaces = [" " * (width - _width_of(part)) for part, width in zip(parts, widths, strict=True)]
        padded = [
            space + part if column.numeric else part + space
            for part, space, column in zip(parts, spaces, columns, strict=True)
        ]
        _print_line((" " * _GAP).join(padded).rstrip(), indent=" ", bold=bold)


def _print_line(text: str, *, indent: str = "", bold: bool = False) -> None:
    write(indent + (click.style(text, bold=True) if bold else text))


def _folded(text: str, width: int) -> list[str]:
    """The text in lines of at most so many columns of the screen: between words, else within one."""
    lines = [""]
    for word in re.findall(r"\S+\s*|\s+", text):
        if _width_of(lines[-1]) + _width_of(word.rstrip()) > width and lines[-1]:
            lines.append("")
        *whole, rest = _chopped(word.rstrip(), width)
        lines[-1:] = [*whole, lines[-1] + rest] if not lines[-1] else [lines[-1] + rest]
        lines[-1] += word[len(word.rstrip()) :]
    return [line.rstrip() for line in lines]


def _width_of(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _chopped(word: str, width: int) -> list[str]:
    if _width_of(word) <= width:
        return [word]
    from rich.cells import chop_cells

    return chop_cells(word, width)


def cell_text(value: Any) -> str:
    """What stands for this value in a table.

    >>> cell_text(None), cell_text(True), cell_text(12345), cell_text(0.123456), cell_text("a\\nb")
    ('-', 'true', '12,345', '0.1235', 'a\\\\nb')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return printable(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
