"""What is made of Presidio's answers, by a stand-in for it where it is not installed.

Run: `pytest tests/taggers/dolma1/test_presidio.py`.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.errors import ConfigError, MissingExtraError
from dolma.taggers.dolma1.presidio import PiiPresidioV1
from dolma.taggers.registry import make_tagger

PATTERNS = {
    "EMAIL_ADDRESS": r"\w+@[\w.]+\w",
    "PHONE_NUMBER": r"\d{3}-\d{3}-\d{4}",
    "IP_ADDRESS": r"\d+\.\d+\.\d+\.\d+",
}


class Engine:
    """Answers by three patterns, the kinds in an order that is not that of the text."""

    def __init__(self, **options: object) -> None:
        self.options = options

    def analyze(self, *, text: str, entities: list[str], language: str) -> list[SimpleNamespace]:
        assert text.strip() and language == "en"
        found = [(kind, match.span()) for kind in entities for match in re.finditer(PATTERNS[kind], text)]
        return [SimpleNamespace(entity_type=kind, start=start, end=end) for kind, (start, end) in reversed(found)]


class Part:
    """Anything else that Presidio is made of."""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass


def no_pipeline(name: str) -> None:
    raise OSError(f"[E050] Can't find model {name!r}")


@pytest.fixture
def stand_in(monkeypatch):
    modules = {
        "spacy": {"blank": lambda language: SimpleNamespace(), "load": no_pipeline},
        "tldextract": {"TLDExtract": Part},
        "presidio_analyzer": {"AnalyzerEngine": Engine, "RecognizerRegistry": Part},
        "presidio_analyzer.nlp_engine": {"SpacyNlpEngine": Part},
        "presidio_analyzer.predefined_recognizers": {
            "EmailRecognizer": Part,
            "IpRecognizer": Part,
            "PhoneRecognizer": Part,
        },
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def columns(tagger, *texts):
    return {name: column.to_pylist() for name, column in tagger(TextBatch.of(texts)).items()}


def test_spans_are_those_of_presidio_in_text_order_with_score_1(stand_in):
    answer = columns(PiiPresidioV1(), "", "é c@d.de a@b.de 1.2.3.4")
    assert answer["EMAIL_ADDRESS"] == [
        [],
        [{"start": 2, "end": 8, "score": 1.0}, {"start": 9, "end": 15, "score": 1.0}],
    ]
    assert answer["IP_ADDRESS"][1] == [{"start": 16, "end": 23, "score": 1.0}]
    assert answer["doc"] == [-1.0, 0.75]


@pytest.mark.parametrize("word", ["isbn", "ISBN", "doi", "#"])
def test_a_number_near_a_book_or_a_reference_is_left_out(stand_in, word):
    answer = columns(PiiPresidioV1(), f"{word} 212-555-0100 1.2.3.4 a@b.de", f"{word} {'é' * 100} 212-555-0100")
    assert [len(answer[name][0]) for name in PATTERNS] == [1, 0, 0]
    assert len(answer["PHONE_NUMBER"][1]) == 1


def test_a_number_that_begins_a_url_is_no_telephone_number(stand_in):
    assert columns(PiiPresidioV1(), "212-555-0100.com/x")["PHONE_NUMBER"] == [[]]


def test_a_pipeline_that_is_not_installed_is_an_error_that_says_how_to_get_it(stand_in):
    with pytest.raises(
        ConfigError, match=r"no pipeline 'en_core_web_lg'\n  run `python -m spacy download en_core_web_lg`"
    ):
        PiiPresidioV1(model="en_core_web_lg")


def test_without_presidio_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    message = r"'pii_presidio_v1' needs the package 'presidio-analyzer'.*\n  run `pip install 'dolma\[pii_presidio\]'`"
    with pytest.raises(MissingExtraError, match=message):
        make_tagger(TaggerSpec(use="pii_presidio_v1"))


@pytest.mark.filterwarnings("ignore")
def test_presidio_itself_finds_all_three_kinds():
    pytest.importorskip("presidio_analyzer")
    answer = columns(PiiPresidioV1(), "Mail a@b.com or call 212-555-0100 at 10.0.0.1")
    assert [[(span["start"], span["end"]) for span in answer[name][0]] for name in PATTERNS] == [
        [(5, 12)],
        [(21, 33)],
        [(37, 45)],
    ]
