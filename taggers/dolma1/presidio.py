"""Personal data of Dolma 1.x as Microsoft Presidio finds it (`python/dolma/taggers/pii.py` of 1.2.1).

Presidio's recognizers of e-mail addresses, telephone numbers and IP addresses for English, and no others. They go by
patterns and by the `phonenumbers` library; a spaCy pipeline only raises the scores of what stands near certain words,
and 1.x leaves scores out. So a blank pipeline is used, which nobody needs to download, unless `model` names another.
E-mail domains are checked against the list of public suffixes that is part of `tldextract`; nothing is fetched.

As in 1.x a telephone number or an IP address is left out if "isbn", "doi" (in either case) or "#" is in the 100 code
points before or behind it, and a number that a host name and "/" go on. In 1.2.1 a text without words ends the run.

Cost: about 0.2 MB/s on one core of a 2-core cloud machine, 2026-11-24, where `pii` does over 100. In Presidio's own
1,600 synthetic sentences it finds 59 of 102 telephone numbers, and 20 that are none; `pii` finds 101, and no others.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, Spans, spans_of
from dolma.errors import ConfigError, MissingExtraError
from dolma.kernels.views import word_spans
from dolma.printable import printable
from dolma.taggers.catalogue import Need

EXTRA = "pii_presidio"
ENTITIES = ("EMAIL_ADDRESS", "PHONE_NUMBER", "IP_ADDRESS")
WINDOW = 100

_VETO = re.compile("isbn|doi|#", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"[a-z0-9.-]{0,253}\.[a-z]{2,4}/", re.IGNORECASE | re.ASCII)


class PiiPresidioV1:
    """E-mail addresses, telephone numbers and IP addresses as Presidio finds them, and how many there are per word."""

    name = "pii_presidio_v1"
    version = 1
    languages = "English"
    needs = (Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'"),)
    outputs = {
        "EMAIL_ADDRESS": Spans("e-mail addresses", range="1"),
        "PHONE_NUMBER": Spans("telephone numbers", range="1"),
        "IP_ADDRESS": Spans("IPv4 and IPv6 addresses", range="1"),
        "doc": DocFloat("spans divided by words; -1 without words", unit="spans per word", range=">= 0, or -1"),
    }

    def __init__(self, *, model: str | None = None) -> None:
        """Make the recognizers, with the installed spaCy pipeline `model`, blank English unless given.

        Raises:
            MissingExtraError: Presidio is not installed.
            ConfigError: spaCy finds no such pipeline.
        """
        self._analyzer = _analyzer(model)

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans per document and kind, and one value per document."""
        rows = [self._spans(text) for text in batch.texts()]
        n_words = batch.view(word_spans).per_document()
        n_spans = np.array([sum(map(len, row.values())) for row in rows], dtype=np.int64)
        per_word = np.where(n_words > 0, n_spans / np.maximum(n_words, 1), -1.0)
        return {name: spans_of([row[name] for row in rows]) for name in ENTITIES} | {"doc": pa.array(per_word)}

    def _spans(self, text: str) -> dict[str, list[tuple[int, int, float]]]:
        found: dict[str, list[tuple[int, int, float]]] = {name: [] for name in ENTITIES}
        if text.strip():
            for result in self._analyzer.analyze(text=text, entities=list(ENTITIES), language="en"):
                if not _doubtful(text, result.entity_type, result.start, result.end):
                    found[result.entity_type].append((result.start, result.end, 1.0))
        return {name: sorted(spans) for name, spans in found.items()}


def _doubtful(text: str, kind: str, start: int, end: int) -> bool:
    if kind == "EMAIL_ADDRESS":
        return False
    near = text[max(start - WINDOW, 0) : end + WINDOW]
    return _VETO.search(near) is not None or (kind == "PHONE_NUMBER" and _HOST.match(text, end) is not None)


def _analyzer(model: str | None) -> Any:
    """Presidio's engine with the three recognizers."""
    try:
        import spacy
        import tldextract
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import EmailRecognizer, IpRecognizer, PhoneRecognizer
    except ImportError as error:
        raise MissingExtraError("presidio-analyzer", extra=EXTRA, purpose="the tagger 'pii_presidio_v1'") from error

    suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).fqdn)

    try:
        pipeline = spacy.blank("en") if model is None else spacy.load(model)
    except OSError as error:
        raise ConfigError(
            f"pii_presidio_v1: spaCy finds no pipeline {model!r}\n  run `python -m spacy download {printable(model)}`"
        ) from error
    if model is None:
        pipeline.max_length = 1 << 62  # a limit for parsers, of which there is none here
    engine = SpacyNlpEngine()
    engine.nlp = {"en": pipeline}
    registry = RecognizerRegistry(
        recognizers=[recognizer(supported_language="en") for recognizer in (OfflineEmailRecognizer, IpRecognizer)]
        + [PhoneRecognizer(supported_language="en")],
        supported_languages=["en"],
    )
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
