"""`dolma.kernels.added_tokens` of one text, by `str.startswith`."""

from __future__ import annotations

from collections.abc import Mapping


def segments(text: str, tokens: Mapping[str, int | None]) -> list[tuple[str, int | None]]:
    """The text in parts, each with the id of the token that it is; None for what is none. Tokens of None stay in the
    text.

    >>> segments("a<b>c", {"<b>": 7})
    [('a', None), ('<b>', 7), ('c', None)]
    """
    found: list[tuple[str, int | None]] = []
    begin = i = 0
    while i < len(text):
        here = [token for token in tokens if text.startswith(token, i)]
        if not here:
            i += 1
            continue
        token = max(here, key=len)
        if tokens[token] is not None:
            found += [(text[begin:i], None)] if i > begin else []
            found.append((token, tokens[token]))
            begin = i + len(token)
        i += len(token)
    return [*found, (text[begin:], None)] if begin < len(text) or not found else found
