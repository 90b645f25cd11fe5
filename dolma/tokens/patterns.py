"""The published patterns by which byte-level tokenizers cut a text into pre-tokens, which merges never join.

A pattern is written as `tokenizer.json` has it. Classes of characters are those of Python's `unicodedata`.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections import defaultdict

import numpy as np
import numpy.typing as npt

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CL100K = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": _CL100K.replace("DIGITS", "{1,3}"),
    "qwen2": _CL100K.replace("DIGITS", ""),
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""By name: GPT-2 and GPT-NeoX; GPT-4, Llama 3, OLMo 2 and 3; Qwen 2; GPT-4o."""
_WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def pretokens(utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], pattern: str) -> npt.NDArray[np.int64]:
    """Where each pre-token of each document ends, in bytes of the batch; int64, shape `(n,)`."""
    cut = _expression(pattern)
    whole = utf8.tobytes()
    sizes = [
        len(word.encode())
        for start, end in itertools.pairwise(offsets.tolist())
        for word in cut.findall(whole[start:end].decode())
    ]
    return np.cumsum(sizes, dtype=np.int64)


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    inside = False
    out = []
    for part in re.findall(r"\\p\{\w+\}|\\.|.", PATTERNS[pattern], re.DOTALL):
        inside = (inside or part == "[") and part != "]"
        ranges = _ranges(part[3:-1]) if part.startswith(r"\p") else _WHITE_SPACE if part in (r"\s", r"\S") else part
        if ranges == part or inside:
            out.append(ranges)
        else:
            out.append(f"[^{ranges}]" if part == r"\S" else f"[{ranges}]")
    return re.compile("".join(out))


@functools.cache
def _ranges(category: str) -> str:
    """The characters of a general category, or of all whose names begin so, as ranges of a class."""
    runs: dict[int, list[int]] = defaultdict(list)
    n = 0
    for point in range(0x110000):
        if unicodedata.category(chr(point)).startswith(category):
            runs[point - n].append(point)
            n += 1
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs.values())
