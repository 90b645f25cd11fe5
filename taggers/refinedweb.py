"""Lines that are not the text of a page, as RefinedWeb finds them (Penedo et al. 2023, arXiv:2306.01116, appendix G.2).

The paper drops a line if it is mostly of uppercase letters, of digits alone, a counter ("3 likes"), or one word; and of
a short one (at most ten words) the call that it begins with ("sign-in"), ends with ("Read more...") or has ("items in
cart"). A document that loses more than 5 % of its words is dropped whole (`removed_word_ratio > 0.05`). DCLM takes over
the rules (Li et al. 2024, arXiv:2406.11794). The paper gives its rules by example; here they are exactly:

- A line ends at "\\n"; whitespace at both ends is passed over and blank lines do not count. Spans hold the "\\n".
- Uppercase: more than half of the code points that are not whitespace are uppercase letters; the score is that share.
- Numeric: nothing but decimal digits, and whitespace.
- Counter: a number (digits with "," and ".", and K, M or B behind) and one of like, share, comment, retweet, repost,
  quote, bookmark, upvote, downvote, download, view, follower, or its plural; before and behind it no letter or digit.
- One word: no whitespace in the line.
- Call: at most ten words, and it begins with sign in, sign-in, sign up, log in or login, ends with read more, see more,
  show more or continue reading (marks behind it are passed over), or has item(s) in cart or add to cart. The paper cuts
  the call out of the line; here the whole line counts.

Cost: about 150 MB/s of text on one core of a 2-core cloud machine, 2026-11-24.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Spans, spans_column
from dolma.kernels.block_sums import DIGITS, POINTS, SPACES, UPPERCASE, WORDS, block_sums
from dolma.kernels.phrases import BETWEEN_WORDS, Phrases, occurrences, phrases_of
from dolma.kernels.views import Blocks, Int64, code_points_at, line_spans

Bools = npt.NDArray[np.bool_]

_KINDS = ("uppercase", "numeric", "counter", "one_word", "call")
_COUNTED = (
    "like", "share", "comment", "retweet", "repost", "quote", "bookmark", "upvote", "downvote", "download", "view",
    "follower",
)  # fmt: skip
_BEGIN = ("sign in", "sign-in", "sign up", "log in", "login")
_END = ("read more", "see more", "show more", "continue reading")
_ANYWHERE = ("item in cart", "items in cart", "add to cart")
_CALL_WORDS = 10
_LONGEST_COUNTER = 100  # bytes
_COUNTER = re.compile(rf"[\W_]*\d[\d.,]*[kmb]?\s+(?:{'|'.join(_COUNTED)})s?[\W_]*", re.IGNORECASE)


class RefinedWeb:
    """Lines in capitals, of digits, counters, single words and calls to act, and the share of words in them.

    >>> columns = RefinedWeb()(TextBatch.of(["A line of prose.\\n3 likes\\n"]))
    >>> columns["counter_lines"].to_pylist(), columns["removed_word_ratio"].to_pylist()
    ([[{'start': 17, 'end': 25, 'score': 1.0}]], [0.3333333333333333])
    """

    name = "refinedweb"
    version = 1
    languages = "English, for counters and calls; scripts with case, for capitals"
    outputs = {
        "uppercase_lines": Spans("lines of which more than half is uppercase letters; the share", range="0.5-1"),
        "numeric_lines": Spans("lines of digits alone", range="1"),
        "counter_lines": Spans('lines like "3 likes"', range="1"),
        "one_word_lines": Spans("lines of one word", range="1"),
        "call_lines": Spans('lines of at most ten words with "sign in", "read more" and the like', range="1"),
        "lines": DocInt("lines that are not blank", unit="lines"),
        **{
            f"{kind}_line_ratio": DocFloat(f"{kind} lines to lines; null without lines", range="0-1") for kind in _KINDS
        },
        "removed_line_ratio": DocFloat("lines of any of the five kinds to lines; null without lines", range="0-1"),
        "removed_word_ratio": DocFloat("words in lines of any of the five kinds to words; null without", range="0-1"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """Spans of lines and one value per document for each ratio, in batch order."""
        lines = batch.view(line_spans)
        sums = block_sums(batch.utf8, lines.text_starts, lines.text_ends)
        documents = np.repeat(np.arange(len(batch)), lines.per_document())
        solid = sums[:, POINTS] - sums[:, SPACES]
        written = solid > 0
        share = sums[:, UPPERCASE] / np.maximum(solid, 1)
        counters, calls = _phrase_lines(batch, lines, sums)
        kinds = {
            "uppercase": share > 0.5,
            "numeric": written & (sums[:, DIGITS] == solid),
            "counter": counters,
            "one_word": sums[:, WORDS] == 1,
            "call": calls,
        }
        removed = np.any(list(kinds.values()), axis=0)
        n_lines = _sums(documents, written, len(batch))
        return {
            **{
                f"{kind}_lines": _spans(batch, lines, documents, chosen, share if kind == "uppercase" else None)
                for kind, chosen in kinds.items()
            },
            "lines": pa.array(n_lines),
            **{
                f"{kind}_line_ratio": _ratio(_sums(documents, chosen, len(batch)), n_lines)
                for kind, chosen in kinds.items()
            },
            "removed_line_ratio": _ratio(_sums(documents, removed, len(batch)), n_lines),
            "removed_word_ratio": _ratio(
                _sums(documents, np.where(removed, sums[:, WORDS], 0), len(batch)),
                _sums(documents, sums[:, WORDS], len(batch)),
            ),
        }


@functools.cache
def _phrases() -> Phrases:
    counted = [(word + ending, BETWEEN_WORDS) for word in _COUNTED for ending in ("", "s")]
    return phrases_of([*counted, *((call, BETWEEN_WORDS) for call in (*_BEGIN, *_END, *_ANYWHERE))])


def _phrase_lines(batch: TextBatch, lines: Blocks, sums: Int64) -> tuple[Bools, Bools]:
    """Which lines are counters, and which are calls."""
    found = occurrences(batch.utf8, batch.offsets, _phrases())
    of_line = np.searchsorted(lines.starts, found.starts, side="right") - 1
    counters, calls = np.zeros(len(lines.starts), dtype=np.bool_), np.zeros(len(lines.starts), dtype=np.bool_)
    n_counted = 2 * len(_COUNTED)
    short = lines.text_ends - lines.text_starts <= _LONGEST_COUNTER
    for line in np.unique(of_line[(found.entries < n_counted) & short[of_line]]).tolist():
        text = batch.utf8[lines.text_starts[line] : lines.text_ends[line]].tobytes().decode()
        counters[line] = _COUNTER.fullmatch(text) is not None
    begins = found.starts == lines.text_starts[of_line]
    call = found.entries - n_counted
    n_begin, n_end = len(_BEGIN), len(_BEGIN) + len(_END)
    is_call = (call >= n_end) | ((call >= 0) & (call < n_begin) & begins)
    for k in np.flatnonzero((call >= n_begin) & (call < n_end)).tolist():
        is_call[k] = _only_marks(batch, found.ends[k], lines.text_ends[of_line[k]])
    calls[of_line[is_call & (sums[of_line, WORDS] <= _CALL_WORDS) & (found.ends <= lines.text_ends[of_line])]] = True
    return counters, calls


def _only_marks(batch: TextBatch, start: int, end: int) -> bool:
    """Whether nothing but a few marks stands in between."""
    rest = batch.utf8[start : min(end, start + 16)].tobytes().decode("utf-8", "replace")
    return end - start <= 16 and not any(map(str.isalnum, rest))


def _sums(documents: Int64, values: npt.NDArray[Any], n_docs: int) -> Int64:
    return np.bincount(documents, weights=values, minlength=n_docs).astype(np.int64)


def _ratio(part: Int64, whole: Int64) -> pa.Array:
    """`part / whole`, null where there is no whole."""
    return pa.array(part / np.maximum(whole, 1), mask=whole == 0)


def _spans(
    batch: TextBatch, lines: Blocks, documents: Int64, chosen: Bools, scores: npt.NDArray[np.float64] | None
) -> pa.ListArray:
    """The chosen lines, each with the newline that ends it."""
    of = documents[chosen]
    starts = lines.starts[chosen]
    ends = np.minimum(lines.ends[chosen] + 1, batch.offsets[of + 1])
    bounds = np.stack([starts, ends], axis=1).ravel()
    points = code_points_at(batch.utf8, batch.offsets, of.repeat(2), bounds).reshape(-1, 2)
    counts = np.bincount(of, minlength=len(batch)).astype(np.int64)
    return spans_column(
        counts, points[:, 0], points[:, 1], np.ones(len(of)) if scores is None else scores[chosen].astype(np.float64)
    )
