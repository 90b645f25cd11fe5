"""`dolma.kernels.comments` of one text, one character after the other: its definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["line", "block", "string", "character", "regex", "skip", "leave", "prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Something that begins with `opens`, and what it is.

    - `line`: a comment to the end of the line. `block`: a comment to `closes`, or to the end of the text.
    - `string`: to `closes`, or to the end of the line unless `lines`.
    - `character`: a string that counts only if it is one character, or an escape of up to ten.
    - `regex`: to the next "/" on the line that is neither escaped nor in brackets, `LONGEST_REGEX` characters away at
      most, where an expression may begin: at the beginning of a line or behind `( , = : [ ! & | ? { } ; + - * % ~ ^ <`
      or `>`.
    - `skip`: `opens` and one character more are passed over, or `opens` alone if it has two or more.
    - `leave`: text of another kind follows, which holds no comment, to `enters` of the syntax.
    - `prefix`: passed over to `closes` where it begins the text, with whitespace and other prefixes before it.

    `escapes`: a backslash takes the next character along. `nests`: blocks of its kind within it are counted. Where it
    counts: `first`: only whitespace before it on its line; `column`: nothing before it on its line; `spaced`: the line
    begins there or whitespace or one of `; ( ) { } & |` precedes; `apart`: no ASCII letter or digit, "_" nor character
    beyond ASCII precedes. `documents`: a string that is documentation where it begins its line, and ":" or nothing at
    all is the last that precedes it, comments and whitespace apart.
    """

    opens: str
    kind: Kind
    closes: str = "\n"
    escapes: bool = False
    lines: bool = False
    nests: bool = False
    first: bool = False
    column: bool = False
    spaced: bool = False
    apart: bool = False
    documents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """How a language is commented: its tokens, the first that fits counts. Those of `enters` begin only behind it."""

    tokens: tuple[Token, ...]
    enters: str = ""


LONGEST_REGEX = 500

_BEFORE_REGEX = "(,=:[!&|?{};+-*%~^<>\n"
_BEFORE_SPACED = ";(){}&|"


def _is_space(character: str) -> bool:
    return character <= " "


def comments(text: str, syntax: Syntax) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The comments and the documentation strings: start and end, exclusive, in code points, markers included.

    >>> c = Syntax(tokens=(Token(opens="//", kind="line"), Token(opens='"', kind="string", closes='"', escapes=True)))
    >>> comments('a = "//"; // b', c)
    ([(10, 14)], [])
    """
    found: list[tuple[int, int]] = []
    documentation: list[tuple[int, int]] = []
    i = begin = begins(text, syntax)
    while i < len(text):
        token = next((token for token in syntax.tokens if token.kind != "prefix" and _opens(text, i, token)), None)
        if token is None:
            i += 1
            continue
        end = _end(text, i, token, syntax)
        if token.kind in ("line", "block"):
            found.append((i, end))
        elif token.documents and _is_documentation(text, i, begin, found):
            documentation.append((i, end))
        i = end
    return found, documentation


def begins(text: str, syntax: Syntax) -> int:
    """Where comments may begin: behind a shebang, `enters` and prefixes."""
    i = _entered(text, 0, syntax) if syntax.enters else 0
    if text.startswith("#!"):
        i = max(i, _line_end(text, 0))
    prefixes = [token for token in syntax.tokens if token.kind == "prefix"]
    while prefixes:
        j = i
        while j < len(text) and _is_space(text[j]):
            j += 1
        token = next((token for token in prefixes if text.startswith(token.opens, j)), None)
        close = text.find(token.closes, j + len(token.opens)) if token else -1
        if token is None or close < 0:
            break
        i = close + len(token.closes)
    return i


def _line_end(text: str, i: int) -> int:
    end = text.find("\n", i)
    return len(text) if end < 0 else end


def _entered(text: str, i: int, syntax: Syntax) -> int:
    at = text.find(syntax.enters, i)
    return len(text) if at < 0 else at + len(syntax.enters)


def _opens(text: str, i: int, token: Token) -> bool:
    if not text.startswith(token.opens, i):
        return False
    before = text[i - 1] if i else "\n"
    if token.first and text[text.rfind("\n", 0, i) + 1 : i].strip(" \t\r\v\f") != "":
        return False
    if token.column and before != "\n":
        return False
    if token.spaced and not (_is_space(before) or before in _BEFORE_SPACED):
        return False
    if token.apart and (before > "\x7f" or before.isalnum() or before == "_"):
        return False
    if token.kind == "character":
        return _character_end(text, i) > 0
    if token.kind == "regex":
        return _may_be_regex(text, i) and _regex_end(text, i) > 0
    return True


def _character_end(text: str, i: int) -> int:
    if text[i + 1 : i + 2] == "\\":
        close = text.find("'", i + 3, i + 13)
        return close + 1 if close > 0 and text[i:close].isascii() and "\n" not in text[i:close] else 0
    return i + 3 if text[i + 2 : i + 3] == "'" and text[i + 1] not in "'\n" else 0


def _may_be_regex(text: str, i: int) -> bool:
    before = text[:i].rstrip(" \t")
    return before == "" or before[-1] in _BEFORE_REGEX


def _regex_end(text: str, i: int) -> int:
    """Behind the closing "/"; 0 if there is none on the line. What follows at once must be none of "*" and "/"."""
    in_class = False
    j = i + 1
    if text[j : j + 1] in ("*", "/"):
        return 0
    while j < min(len(text), i + LONGEST_REGEX) and text[j] != "\n":
        if text[j] == "\\":
            j += 1
        elif text[j] == "[":
            in_class = True
        elif text[j] == "]":
            in_class = False
        elif text[j] == "/" and not in_class:
            return j + 1
        j += 1
    return 0


def _end(text: str, i: int, token: Token, syntax: Syntax) -> int:
    if token.kind == "character":
        return _character_end(text, i)
    if token.kind == "regex":
        return _regex_end(text, i)
    if token.kind == "skip":
        return min(i + len(token.opens) + (len(token.opens) == 1), len(text))
    if token.kind == "leave":
        return _entered(text, i + len(token.opens), syntax)
    if token.kind == "line":
        return _line_end(text, i)
    depth, j = 1, i + len(token.opens)
    while j < len(text):
        if token.escapes and text[j] == "\\":
            j += 2
        elif text.startswith(token.closes, j):
            depth -= 1
            j += len(token.closes)
            if depth == 0:
                return j
        elif token.nests and text.startswith(token.opens, j):
            depth += 1
            j += len(token.opens)
        elif token.kind == "string" and not token.lines and text[j] == "\n":
            return j
        else:
            j += 1
    return len(text)


def _is_documentation(text: str, i: int, begin: int, comments: Sequence[tuple[int, int]]) -> bool:
    line = text[max(text.rfind("\n", 0, i) + 1, begin) : i]
    if line.strip(" \t") not in ("", "r", "R", "u", "U", "b", "B"):
        return False
    before = i - len(line.lstrip(" \t"))
    k = len(comments)
    while before > begin:
        if k and comments[k - 1][1] == before:
            k -= 1
            before = comments[k][0]
        elif _is_space(text[before - 1]):
            before -= 1
        else:
            return text[before - 1] == ":"
    return True


def first_comment(text: str, begin: int, found: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The first comment, with those that follow at most one line end later, if only whitespace precedes it.

    `begin` is where the text begins to count.

    >>> first_comment("# a\\n# b\\n\\n# c\\n", 0, [(0, 3), (4, 7), (9, 12)])
    (0, 7)
    """
    if not found or not all(map(_is_space, text[begin : found[0][0]])):
        return None
    start, end = found[0]
    for next_start, next_end in found[1:]:
        gap = text[end:next_start]
        if gap.count("\n") > 1 or not all(map(_is_space, gap)):
            break
        end = next_end
    return start, end
