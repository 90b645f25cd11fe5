"""`dolma.kernels.structure` of one text, by regular expressions: its definitions."""

from __future__ import annotations

import re

BULLETS = "-*+•‣⁃◦▪▫●○■□"

_ANY = re.escape(BULLETS)
_BULLET = re.compile(rf"[{_ANY}]\s+(?=\S)(?![{_ANY}](?:\s|$))|<li[ >]")
_NUMBER = re.compile(r"(?:[0-9]{1,3}[.)]|\((?:[0-9]{1,3}|[A-Za-z])\)|[A-Za-z]\))\s")
_HEADING = re.compile(r"#{1,6}(?=[ \t]|$)|==(?=.*[^=].*==$)|<h[1-6][ >]", re.DOTALL)
_UNDERLINE = re.compile(r"={3,}|-{3,}")
_ROW = re.compile(r"<tr[ >]|(?:.*?(?<!\|)\|(?!\|)){2}|(?:.*?\t+(?!\t)){2}", re.DOTALL)
_ANCHOR = re.compile(r"<a[\t\n\v\f\r ]", re.IGNORECASE)
_URL = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:https?|ftp)://|(?<![A-Za-z0-9/.@-])www\.(?=[A-Za-z0-9]))(?:(?![\"<>()\[\]`{|}\\^])[!-~])*",
    re.IGNORECASE | re.ASCII,
)


def line_kinds(text: str) -> list[int]:
    """Lines that are not blank; of these items with bullets, items with numbers, headings, rows of tables, lines in
    fences; and the fences. A line is of one kind only, the first in the order fence, heading, bullet, number, row.

    >>> line_kinds("# A\\n- b\\n1. c\\n|d|e|\\nf\\n```\\n- g\\n```\\n")
    [8, 1, 1, 1, 1, 3, 1]
    """
    counts = [0] * 7
    fence, above = "", ""
    for line in text.split("\n"):
        line = line.strip()
        kind = ""
        if line:
            counts[0] += 1
            if line.startswith(fence or ("```", "~~~")):
                fence, kind = "" if fence else line[:3], "fence"
                counts[5] += 1
                counts[6] += fence != ""
            elif fence:
                kind = "fence"
                counts[5] += 1
            else:
                kind = _kind(line, above)
                if kind != "text":
                    counts[["bullet", "number", "heading", "row"].index(kind) + 1] += 1
        above = kind
    return counts


def _kind(line: str, above: str) -> str:
    if _HEADING.match(line) or (above == "text" and _UNDERLINE.fullmatch(line)):
        return "heading"
    if _BULLET.match(line):
        return "bullet"
    if _NUMBER.match(line):
        return "number"
    return "row" if _ROW.match(line) else "text"


def link_sums(text: str) -> list[int]:
    """Links, and code points of URLs. Links are "](" of Markdown, anchors of HTML, and URLs that stand in neither.

    >>> link_sums("[a](http://b.c/d), www.e.f. <a href='http://g'>")
    [3, 27]
    """
    links, points = text.count("](") + len(_ANCHOR.findall(text)), 0
    for match in _URL.finditer(text):
        points += len(match[0].rstrip(".,;:!?'*_~"))
        before = text[max(0, match.start() - 2) : match.start()]
        links += before not in ("](", "='", '="')
    return [links, points]
