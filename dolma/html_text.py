"""Text of the user's and tables as HTML: nothing in them is markup of theirs."""

from __future__ import annotations

import html
from collections.abc import Sequence

from dolma.printable import printable


def shown(value: object) -> str:
    """Text of others, on one line, as HTML.

    >>> shown("<b>&'")
    '&lt;b&gt;&amp;&#x27;'
    """
    return html.escape(printable(value), quote=True)


def number(value: float) -> str:
    """A number as it stands beside an axis.

    >>> number(1234.0), number(0.25), number(10**12), number(float("nan")), number(float("inf"))
    ('1,234', '0.25', '1,000,000,000,000', 'nan', 'inf')
    """
    is_whole = isinstance(value, int) or (abs(value) < 1e12 and value == round(value))
    return f"{value:,.0f}" if is_whole else f"{value:,.4g}"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, heat: bool = False) -> str:
    """Rows under headers; numbers with thousands, to the right. `heat`: numbers colour their cells by size."""
    if not rows:
        return "<p>none</p>"
    most = max((one for row in rows for one in row if isinstance(one, int)), default=0) or 1
    head = "".join(f"<th scope='col'>{shown(one)}</th>" for one in headers)
    body = "".join(f"<tr>{''.join(_cell(one, most if heat else 0) for one in row)}</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: object, most: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{shown('-' if value is None else value)}</td>"
    style = f" style='background:rgba(194,84,45,{value / most * 0.6:.2f})'" if most and value else ""
    return f"<td class='number'{style}>{number(value)}</td>"
