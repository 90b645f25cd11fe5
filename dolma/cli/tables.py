"""Tables, for a terminal of any width and for a pipe.

In a pipe a row is one line, nothing is cut or folded, and there is no colour. On a terminal the table has the width of
the terminal: numbers stay whole and text is folded. What still has no room follows in a second table with the same
first columns; where it is asked for, rows are before that put under their first value, on a line of its own.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dolma.printable import printable

_CONTINUED = ", continued"
_GAP = 2  # columns of the screen between two of the table
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
        return max(map(cell_len, (self.header, *self.cells)))

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
    room = Console().width if sys.stdout.isatty() else None
    above = None
    if grouped and room is not None and _total([column.width for column in columns]) > room:
        above, columns = columns[0], columns[1:]
    for part in _parts(columns, room):
        widths = _widths(part, room)
        if title:
            _print(Text(printable(title), style="bold"), width=room, indent="")
            title = f"{title.removesuffix(_CONTINUED)}{_CONTINUED}"
        _print(_table(part, widths, range(0), headed=True), width=_total(widths))
        for name, group in _groups(above, len(texts)):
            if name:
                _print(Text(name, style="bold", overflow="fold"), width=room and room - 1)
            _print(_table(part, widths, group), width=_total(widths))
        click.echo("")


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
    widths = [column.width for column in columns]
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


def _table(columns: Sequence[_Column], widths: Sequence[int], rows: Sequence[int], *, headed: bool = False) -> Table:
    table = Table(
        box=SIMPLE_HEAD if headed else None,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - headed, 0, 0),
        show_header=headed,
    )
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["right", "left"] = "right" if column.numeric else "left"
        table.add_column(Text(column.header), justify=justify, width=width, overflow="fold")
    for row in rows:
        table.add_row(*(Text(column.cells[row]) for column in columns))
    return table


def _print(shown: Table | Text, *, width: int | None, indent: str = " ") -> None:
    console = Console(highlight=False, width=width if width is not None else 10**6)
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        click.echo(f"{indent}{line}".rstrip())


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
