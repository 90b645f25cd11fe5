"""`dolma.kernels.code_data` of one text, by regular expressions: its definitions."""

from __future__ import annotations

import re

# StarCoder2 (Lozhkov et al. 2024, arXiv:2402.19173, appendix A.1): data encoded within code.
BASE64 = re.compile(r"[a-zA-Z0-9+/\n=]{64,}")
HEXADECIMAL = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}")
ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")
_NUMBERS = re.compile(r"[0-9a-fA-FxX\s!-/:-@\[-`{-~]*")
_DIGIT = re.compile("[0-9]")
TEMPLATE_TAGS = re.compile(r"(?=\{\{|\{%|<%|<\?(?!xml))")
_ENTITY = re.compile(r"&#?[A-Za-z0-9]{1,31};")


def data_sums(text: str) -> list[int]:
    """Code points in runs of base64, of hexadecimal bytes, of `\\uXXXX`; the longest run of any kind; lines that are
    not blank; of these lines of numbers: with a digit, and else only hexadecimal digits, x, whitespace and punctuation
    of ASCII; and tags of templates: "{{", "{%", "<%" and "<?" but not "<?xml".

    >>> data_sums("0x12,0x34,\\nab 12\\n{{ x }}")
    [0, 0, 0, 0, 3, 2, 1]
    """
    runs = [[len(match[0]) for match in kind.finditer(text)] for kind in (BASE64, HEXADECIMAL, ESCAPES)]
    lines = [line for line in text.split("\n") if line.strip(" \t\r\v\f")]
    numbers = sum(bool(_NUMBERS.fullmatch(line) and line.isascii() and _DIGIT.search(line)) for line in lines)
    longest = max((n for kind in runs for n in kind), default=0)
    return [*map(sum, runs), longest, len(lines), numbers, len(TEMPLATE_TAGS.findall(text))]


def visible_length(html: str) -> int:
    """Characters of HTML outside tags, comments, scripts and styles; a character reference is one character.

    "<" before a letter, "/", "!" or "?" begins a tag, which ends at ">" outside of quotation marks around the value of
    an attribute; one that does not end goes on to the end of the text, as comments, scripts and styles do.

    >>> visible_length("<p title='>'>a &amp; b<!-- c --></p><script>d</script>")
    5
    """
    n, i = 0, 0
    while i < len(html):
        if html[i] == "<" and re.match(r"[A-Za-z/!?]", html[i + 1 : i + 2]):
            i = _tag_end(html, i)
        elif html[i] == "&" and (match := _ENTITY.match(html, i)):
            n, i = n + 1, match.end()
        else:
            n, i = n + 1, i + 1
    return n


def _tag_end(html: str, i: int) -> int:
    if html.startswith("<!--", i):
        close = html.find("-->", i + 4)
        return len(html) if close < 0 else close + 3
    j, quote = i + 1, ""
    while j < len(html):
        if quote:
            quote = "" if html[j] == quote else quote
        elif html[j] in "\"'" and html[j - 1] == "=":
            quote = html[j]
        elif html[j] == ">":
            break
        j += 1
    j = min(j + 1, len(html))
    name = re.match("(?:script|style)(?=[\\s>/])", html[i + 1 : i + 9], re.IGNORECASE | re.ASCII)
    if name:
        closing = re.compile(f"</{name[0]}", re.IGNORECASE | re.ASCII).search(html, j)
        return len(html) if closing is None else closing.start()
    return j
