"""Personal data as Dolma 1.x finds it (`python/dolma/taggers/pii.py` of 1.2.1): e-mail, telephone, IPv4.

- E-mail: a run of anything but whitespace and "@", "@", a run of anything but whitespace and `@,?!;:)(`, with a "." in
  it, up to whitespace or the end of the text, one of `.@,?!;:)(` between. Without the punctuation, brackets and quotes
  at both ends. Behind whitespace, "@" or at the start; a sole "(" is no name.
- Telephone: three, three and four decimal digits (of any script), the first three in parentheses or not, any number of
  spaces, `-` and `.` behind them, at most one behind the second three; behind whitespace, which belongs to the span,
  or at the start. More digits may follow.
- IP: four numbers of up to three digits and at most 255, leading zeros and all, joined by "."; no digit before or
  behind them.
- `pii_regex_v1`, `_v2` and `_with_counts_v2` leave out a telephone number or an IP address if "isbn", "doi" (in either
  case) or "#" is in the 100 code points before or behind it, and a number that a host name and "/" go on
  (`212-555-0100.com/`). `pii_regex_with_counts_fast_v2` leaves out none, counts whitespace in front of a telephone
  number from the start of its paragraph, and finds nothing in a text with more than 10,000 "?".

`dolma/taggers/pii.py` finds more kinds, with fewer false ones. What 1.2.1 answers otherwise is in docs/dolma1.md.

Cost: about 200 MB/s of mixed text, the fast one 500, on one core of a 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Output, Spans, spans_column
from dolma.kernels.bits64 import byte_counts
from dolma.kernels.dolma1_pii import EMAIL, IP, PHONE, Matches, doubtful_1x, personal_data_1x
from dolma.kernels.views import Int64, code_points, code_points_at, word_spans

KINDS = {"EMAIL_ADDRESS": EMAIL, "PHONE_NUMBER": PHONE, "IP_ADDRESS": IP}
MOST_QUESTION_MARKS = 10_000

_SPANS: dict[str, Output] = {
    "EMAIL_ADDRESS": Spans("e-mail addresses", range="1"),
    "PHONE_NUMBER": Spans("telephone numbers of ten digits, with the whitespace before them", range="1"),
    "IP_ADDRESS": Spans("IPv4 addresses", range="1"),
}
_DOC = DocFloat("spans divided by words; -1 without words", unit="spans per word", range=">= 0, or -1")


class PiiRegexV2:
    """E-mail addresses, telephone numbers and IPv4 addresses, and how many there are per word.

    >>> columns = PiiRegexV2()(TextBatch.of(["Mail a@b.de, call 212-555-0100.", ""]))
    >>> columns["EMAIL_ADDRESS"].to_pylist(), columns["doc"].to_pylist()
    ([[{'start': 5, 'end': 11, 'score': 1.0}], []], [0.5, -1.0])
    """

    name = "pii_regex_v2"
    version = 1
    outputs = _SPANS | {"doc": _DOC}

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans per document and kind, and one value per document."""
        found = batch.view(personal_data_1x)
        sure = ~doubtful_1x(batch.utf8, batch.offsets, found)
        columns = {
            name: _column(batch, found, chosen, found.starts)[0]
            for name, kind in KINDS.items()
            for chosen in [sure & (found.kinds == kind)]
        }
        n_words = batch.view(word_spans).per_document()
        n_spans = np.bincount(found.documents[sure], minlength=len(batch))
        per_word = np.where(n_words > 0, n_spans / np.maximum(n_words, 1), -1.0)
        return columns | self._per_document(n_spans.astype(np.int64), per_word)

    def _per_document(self, n_spans: Int64, per_word: npt.NDArray[np.float64]) -> Columns:
        return {"doc": pa.array(per_word)}


class PiiRegexV1(PiiRegexV2):
    """E-mail addresses, telephone numbers and IPv4 addresses, as `pii_regex_v2` finds them.

    In 1.2.1 this one ends the run at a text without words.

    >>> PiiRegexV1()(TextBatch.of(["at 10.2.3.4"]))["doc"].to_pylist()
    [0.5]
    """

    name = "pii_regex_v1"


class PiiRegexWithCountsV2(PiiRegexV2):
    """E-mail addresses, telephone numbers and IPv4 addresses, how many there are, in all and per word.

    >>> PiiRegexWithCountsV2()(TextBatch.of(["a@b.de or c@d.de", ""]))["doc_count"].to_pylist()
    [2, 0]
    """

    name = "pii_regex_with_counts_v2"
    outputs = _SPANS | {"doc": _DOC, "doc_count": DocInt("spans of all three kinds", unit="spans")}

    def _per_document(self, n_spans: Int64, per_word: npt.NDArray[np.float64]) -> Columns:
        return {"doc": pa.array(per_word), "doc_count": pa.array(n_spans)}


class PiiRegexWithCountsFastV2:
    """E-mail addresses, telephone numbers and IPv4 addresses of each paragraph, how many, and their share of the text.

    >>> columns = PiiRegexWithCountsFastV2()(TextBatch.of(["IP 1.2.3.4"]))
    >>> columns["doc_count"].to_pylist(), columns["doc_frac"].to_pylist()
    ([1], [0.7])
    """

    name = "pii_regex_with_counts_fast_v2"
    version = 1
    outputs = _SPANS | {
        "doc_count": DocInt("spans of all three kinds", unit="spans"),
        "doc_frac": DocFloat(
            "code points of all spans divided by those of the text; -1 if it is empty", range=">= 0, or -1"
        ),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans per document and kind, and two values per document."""
        found = batch.view(personal_data_1x)
        n_question_marks = byte_counts(batch.utf8, batch.offsets, ord("?"))
        searched = (n_question_marks <= MOST_QUESTION_MARKS)[found.documents]
        columns: Columns = {}
        n_points = np.zeros(len(batch))
        for name, kind in KINDS.items():
            chosen = searched & (found.kinds == kind)
            columns[name], lengths = _column(batch, found, chosen, found.paragraph_starts)
            n_points += np.bincount(found.documents[chosen], weights=lengths, minlength=len(batch))
        size = batch.view(code_points)
        n_spans = np.bincount(found.documents[searched], minlength=len(batch))
        share = np.where(size > 0, n_points / np.maximum(size, 1), -1.0)
        return columns | {"doc_count": pa.array(n_spans.astype(np.int64)), "doc_frac": pa.array(share)}


def _column(
    batch: TextBatch, found: Matches, chosen: npt.NDArray[np.bool_], starts: Int64
) -> tuple[pa.ListArray, Int64]:
    """The chosen matches, of one kind, as spans of code points, and how long each is."""
    documents = found.documents[chosen]
    bounds = np.stack([starts[chosen], found.ends[chosen]], axis=1).ravel()
    points = code_points_at(batch.utf8, batch.offsets, documents.repeat(2), bounds).reshape(-1, 2)
    counts = np.bincount(documents, minlength=len(batch)).astype(np.int64)
    return spans_column(counts, points[:, 0], points[:, 1], np.ones(len(documents))), points[:, 1] - points[:, 0]
