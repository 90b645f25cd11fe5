"""`dolma.kernels.c4` and the facts that `dolma.taggers.c4_datatrove` derives from it, of one text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from dolma.kernels.reference.english_tokens import NO_SENTENCE_ENDS, tokens_of
from dolma.kernels.reference.sentences import TERMINAL_PUNCTUATION

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def sentence_count(tokens: Sequence[str]) -> int:
    """Sentences by the rule of spaCy's sentencizer.

    >>> sentence_count(["One", ".", "”", "Two", "!", "?", "Three"])
    3
    """
    n, ended = 0, False
    for token in tokens:
        ends = token in TERMINAL_PUNCTUATION and ord(token) not in NO_SENTENCE_ENDS
        begins = n == 0 or (ended and not ends and any(unicodedata.category(c)[0] != "P" for c in token))
        n += begins
        ended = ends or (ended and not begins)
    return n


def line_facts(line: str, *, min_words: int = 3, max_word_length: int = 1000) -> dict[str, int]:
    """What the rules say of one line, as datatrove's C4 filter reads it: each of them 0 or 1, or a number.

    >>> facts = line_facts("Enable JavaScript now. [1]")
    >>> facts["javascript"], facts["no_terminal_punct"], facts["too_few_words"], facts["sentences"]
    (1, 1, 0, 1)
    """
    line = line.strip()
    words = line.split()
    longest = max(map(len, words), default=0)
    line = CITATION.sub("", line)
    lower = line.lower()
    return {
        "too_long_word": longest if longest > max_word_length else 0,
        "no_terminal_punct": int(not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")),
        "too_few_words": int(len(words) < min_words),
        "lorem_ipsum": int("lorem ipsum" in lower),
        "javascript": int("javascript" in lower),
        "curly_bracket": int("{" in line),
        "policy": int(any(policy in lower for policy in POLICIES)),
        "sentences": sentence_count(tokens_of(line)),
    }
