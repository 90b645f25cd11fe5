"""`dolma.kernels.sentences` of one text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

CLOSERS = "\"'”’»›)]}」』）】》〉"
# Code points, in hexadecimal.
_TERMINAL = (
    "21 2e 3f 589 61d 61e 61f 6d4 700 701 702 7f9 837 839 83d 83e 964 965 104a 104b 1362 1367 1368 166e 1735 1736 "
    "17d4 17d5 17d6 17d9 17da 1803 1809 1944 1945 1aa8 1aa9 1aaa 1aab 1b5a 1b5b 1b5e 1b5f 1b7d 1b7e 1c3b 1c3c "
    "1c7e 1c7f 203c 203d 2047 2048 2049 2e2e 2e3c 2e53 2e54 3002 a4ff a60e a60f a6f3 a6f7 a876 a877 a8ce a8cf "
    "a92f a9c8 a9c9 aa5d aa5e aa5f aaf0 aaf1 abeb fe52 fe56 fe57 ff01 ff0e ff1f ff61 10a56 10a57 10f55 10f56 "
    "10f57 10f58 10f59 10f86 10f87 10f88 10f89 11047 11048 110be 110bf 110c0 110c1 11141 11142 11143 111c5 111c6 "
    "111cd 111de 111df 11238 11239 1123b 1123c 112a9 1144b 1144c 115c2 115c3 115c9 115ca 115cb 115cc 115cd 115ce "
    "115cf 115d0 115d1 115d2 115d3 115d4 115d5 115d6 115d7 11641 11642 1173c 1173d 1173e 11944 11946 11a42 11a43 "
    "11a9b 11a9c 11c41 11c42 11ef7 11ef8 11f43 11f44 16a6e 16a6f 16af5 16b37 16b38 16b44 16e98 1bc9f 1da88"
)
TERMINAL_PUNCTUATION = frozenset(chr(int(code, 16)) for code in _TERMINAL.split())
"""What datatrove takes to end a sentence."""
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
