"""Language identification of Dolma 1.x by fastText (`python/dolma/taggers/language.py` of 1.2.1).

Text is lower-cased and shown to the model whole: documents, or pieces that end after a "\\n" and are not blank. Scores
are as the model gives them, up to 1.001 and down to -0.001 for their complement; languages below 1e-5 have none.
A document's score by paragraphs is their mean by characters, where blank paragraphs count as no English.

The output of Indonesian (`id`) is called `id_`: `id` is the document's.

1.2.1 downloads lid.176.bin (126 MB). The model here is lid.176.ftz, which is part of this package and is the same model
compressed; the option `path` names another, a file or a URL that `dolma fetch` has fetched.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, Output, Spans, spans_column
from dolma.errors import ConfigError
from dolma.kernels.fasttext import Classifier
from dolma.kernels.pieces import Pieces, trimmed_texts
from dolma.kernels.views import Int64, code_points, line_spans
from dolma.models.fetch import fetched_path
from dolma.taggers.dolma1.lengths import paragraphs
from dolma.taggers.fasttext import lowered, output_name
from dolma.taggers.language import identifier

Scores = npt.NDArray[np.float64]

_EN = DocFloat("probability of English", range="0-1.001")
_NOT_EN = DocFloat("one less the probability of English", range="-0.001-1")
_EN_SPANS = Spans("paragraphs, with the probability of English", range="0-1.001")
_NOT_EN_SPANS = Spans("paragraphs, with one less the probability of English", range="-0.001-1")


class _Judged:
    """What a model says of documents and paragraphs: views of a batch, for all taggers that ask the same."""

    def __init__(self, classifier: Classifier, labels: tuple[int, ...]) -> None:
        self.classifier, self.labels = classifier, labels

    def documents(self, utf8: npt.NDArray[np.uint8], offsets: Int64) -> Scores:
        """The score of each label, 0 where it has none; float64, shape `(n_docs, n_labels)`."""
        text, bounds = _lowered(utf8, offsets)
        trimmed = trimmed_texts(text, bounds)
        return self._scores(text, trimmed.starts, trimmed.ends)

    def paragraphs(self, utf8: npt.NDArray[np.uint8], offsets: Int64) -> Scores:
        """The same of each paragraph that is not blank; float64, shape `(n_paragraphs, n_labels)`."""
        text, bounds = _lowered(utf8, offsets)
        lines = line_spans(text, bounds)
        some = lines.text_starts < lines.text_ends
        return self._scores(text, lines.text_starts[some], lines.text_ends[some])

    def _scores(self, text: npt.NDArray[np.uint8], starts: Int64, ends: Int64) -> Scores:
        found = self.classifier.probabilities(text, starts, ends, labels=self.labels)
        return found.astype(np.float64)


class _FtLangId:
    """What these taggers have in common: a model."""

    version = 1

    def __init__(self, path: str | Path | None = None) -> None:
        """Open the model: the one that is part of this package, or that at `path`.

        Raises:
            ConfigError: there is none, or it does not know what the tagger is to tell.
        """
        self.classifier = identifier(path)
        self.files = () if path is None else (str(fetched_path(path)),)
        self._prepare(self.classifier.model.labels)

    def _prepare(self, labels: tuple[str, ...]) -> None:
        """Declare what will be told, and know whom to ask."""
        raise NotImplementedError


class _All(_FtLangId):
    """Of all languages; each has an output."""

    outputs: Mapping[str, Output]

    def _prepare(self, labels: tuple[str, ...]) -> None:
        self.outputs = {output_name(label): self._output(label) for label in labels}
        self.judged = _judged(self.classifier, tuple(range(len(labels))))

    def _output(self, label: str) -> Output:
        return DocFloat(f"probability of {label!r}; null below 0.00001", range="0.00001-1.001")


class _English(_FtLangId):
    """Of English alone."""

    def _prepare(self, labels: tuple[str, ...]) -> None:
        if "en" not in labels:
            raise ConfigError(
                f"{type(self).__name__}: the model has no label 'en', only {', '.join(labels[:9])}, ..."
                "\n  give a model of language identification as `path`"
            )
        self.judged = _judged(self.classifier, (labels.index("en"),))


class FtLangIdDocV1(_All):
    """The probability of every language, of documents.

    >>> tagger = FtLangIdDocV1()
    >>> round(tagger(TextBatch.of(["Das ist ein ganz gewöhnlicher Satz."]))["de"][0].as_py(), 2)
    1.0
    """

    name = "ft_lang_id_doc_v1"

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document and language, mostly null."""
        return _with_nulls(self.outputs, batch.view(self.judged.documents))


class FtLangId1e2(_All):
    """The probability of every language above 0.01, to two decimals, of documents.

    >>> tagger = FtLangId1e2()
    >>> tagger(TextBatch.of(["Das ist ein ganz gewöhnlicher Satz."]))["de"].to_pylist()
    [1.0]
    """

    name = "ft_lang_id_1e2"

    def _output(self, label: str) -> Output:
        return DocFloat(f"probability of {label!r}; null up to 0.01", range="0.01-1")

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document and language, mostly null."""
        scores = batch.view(self.judged.documents)
        rounded = np.zeros_like(scores)
        for place in zip(*np.nonzero(scores > 0.01), strict=True):
            rounded[place] = round(scores[place].item(), 2)
        return _with_nulls(self.outputs, rounded)


class FtLangIdParagraphV1(_All):
    """The probability of every language, of paragraphs.

    >>> tagger = FtLangIdParagraphV1()
    >>> tagger(TextBatch.of(["Das ist ein ganz gewöhnlicher Satz."]))["qu"].to_pylist()
    [[]]
    """

    name = "ft_lang_id_paragraph_v1"

    def _output(self, label: str) -> Output:
        return Spans(f"paragraphs, with the probability of {label!r}", range="0.00001-1.001")

    def __call__(self, batch: TextBatch) -> Columns:
        """One list of spans per document and language, of paragraphs in which the language has a probability."""
        pieces, scores = paragraphs(batch), batch.view(self.judged.paragraphs)
        columns = {}
        for k, name in enumerate(self.outputs):
            some = scores[:, k] > 0
            columns[name] = _spans(pieces.of(some), scores[some, k])
        return columns


class FtLangIdEnDocV2(_English):
    """The probability that a document is English, and that it is not.

    >>> columns = FtLangIdEnDocV2()(TextBatch.of(["This is a quite ordinary sentence."]))
    >>> round(columns["en"][0].as_py() + columns["not_en"][0].as_py(), 5)
    1.0
    """

    name = "ft_lang_id_en_doc_v2"
    outputs: Mapping[str, Output] = {"en": _EN, "not_en": _NOT_EN}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        english = batch.view(self.judged.documents)[:, 0]
        values = {"en": english, "not_en": 1 - english}
        return {name: pa.array(values[name]) for name in self.outputs}


class FtLangIdEnOnlyV2(FtLangIdEnDocV2):
    """The probability that a document is English.

    >>> list(FtLangIdEnOnlyV2()(TextBatch.of(["This is a quite ordinary sentence."])))
    ['en']
    """

    name = "ft_lang_id_en_only_v2"
    outputs: Mapping[str, Output] = {"en": _EN}


class FtLangIdEnParagraphV2(_English):
    """The probability that each paragraph is English, and that it is not.

    >>> columns = FtLangIdEnParagraphV2()(TextBatch.of(["One line.\\n\\nAnd another"]))
    >>> [(span["start"], span["end"]) for span in columns["en"][0].as_py()]
    [(0, 10), (11, 22)]
    """

    name = "ft_lang_id_en_paragraph_v2"
    outputs: Mapping[str, Output] = {"en": _EN_SPANS, "not_en": _NOT_EN_SPANS}

    def __call__(self, batch: TextBatch) -> Columns:
        """One list of spans per document."""
        pieces, english = paragraphs(batch), batch.view(self.judged.paragraphs)[:, 0]
        return {"en": _spans(pieces, english), "not_en": _spans(pieces, 1 - english)}


class FtLangIdEnParagraphWithDocScoreV2(FtLangIdEnParagraphV2):
    """The probability that each paragraph is English, and its mean over a document by characters.

    >>> columns = FtLangIdEnParagraphWithDocScoreV2()(TextBatch.of(["One line.\\n\\nAnd another", ""]))
    >>> columns["doc_en"].to_pylist()[1], columns["doc_not_en"].to_pylist()[1]
    (0.0, 0.0)
    """

    name = "ft_lang_id_en_paragraph_with_doc_score_v2"
    outputs: Mapping[str, Output] = {
        "en": _EN_SPANS,
        "not_en": _NOT_EN_SPANS,
        "doc_en": DocFloat("mean probability of English over characters, blank paragraphs 0", range="0-1.001"),
        "doc_not_en": DocFloat("one less that; 0 for an empty text", range="-0.001-1"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One list of spans, or one value, per document."""
        pieces, english = paragraphs(batch), batch.view(self.judged.paragraphs)[:, 0]
        weighted = (pieces.last_points - pieces.first_points) * english
        sums = np.bincount(pieces.documents, weights=weighted, minlength=len(batch))
        sizes = batch.view(code_points)
        doc_en = np.divide(sums, sizes, out=np.zeros(len(batch)), where=sizes > 0)
        return {
            "en": _spans(pieces, english),
            "not_en": _spans(pieces, 1 - english),
            "doc_en": pa.array(doc_en),
            "doc_not_en": pa.array(np.where(sizes > 0, 1 - doc_en, 0.0)),
        }


@functools.lru_cache(maxsize=16)
def _judged(classifier: Classifier, labels: tuple[int, ...]) -> _Judged:
    return _Judged(classifier, labels)


def _lowered(utf8: npt.NDArray[np.uint8], offsets: Int64) -> tuple[npt.NDArray[np.uint8], Int64]:
    text, _, ends = lowered(utf8, offsets[:-1], offsets[1:])
    return text, np.concatenate([np.zeros(1, np.int64), ends])


def _with_nulls(outputs: Mapping[str, Output], scores: Scores) -> Columns:
    """The columns of scores; null for 0."""
    return {name: pa.array(scores[:, k], mask=scores[:, k] == 0) for k, name in enumerate(outputs)}


def _spans(pieces: Pieces, scores: Scores) -> pa.ListArray:
    return spans_column(pieces.per_document(), pieces.first_points, pieces.last_points, scores)
