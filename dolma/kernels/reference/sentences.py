"""`dolma.kernels.sentences` of one text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

CLOSERS = "\"'”’»›)]}」』）】》〉"
TITLES = frozenset({"Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr", "vs", "No", "Fig", "Mt", "Rev", "Gen"})


def sentences(text: str, *, marks: Set[str]) -> list[str]:
    """The sentences of a text, line by line; `marks` are the characters that may end one.

    >>> sentences("Mr. J. Doe came. He saw\\nthat", marks={"."})
    ['Mr. J. Doe came.', 'He saw', 'that']
    """
    return [sentence for line in text.split("\n") if line.strip() for sentence in _of_line(line.strip(), marks)]


def _of_line(line: str, marks: Set[str]) -> Iterator[str]:
    pattern = re.compile(f"([{re.escape(''.join(sorted(marks)))}]+)[{re.escape(CLOSERS)}]*")
    first = at = 0
    while match := pattern.search(line, at):
        after = match.end()
        following = len(line) - len(line[after:].lstrip())
        if following == len(line):
            break
        wide = match[1][-1] >= "\u3000"
        if wide or (following > after and _ends(line[first : match.start()], match[0], line[following])):
            yield line[first:after]
            first = following
        at = following
    if first < len(line):
        yield line[first:]


def _ends(before: str, marks: str, following: str) -> bool:
    """Whether a sentence ends between these marks and what follows behind whitespace."""
    if following.islower():
        return False
    if marks != ".":
        return True
    word = re.split(r"\s", before)[-1] if before and not before[-1].isspace() else ""
    return "." not in word and not (len(word) == 1 and word.isalpha()) and word not in TITLES
