"""An n-gram model that can be computed by hand. Run: `pytest tests/taggers/test_perplexity.py`."""

from __future__ import annotations

import io
import struct
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.models.fetch import cached_path
from dolma.models.public import PUBLIC, Public
from dolma.taggers.perplexity import PUNCTUATION, Perplexity, normalizer, steps_of
from dolma.taggers.registry import content_of, make_tagger, tagger_of_process

# Probabilities as log10; the last column is the back-off weight.
ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-2.0\t<unk>
0\t<s>\t-0.5
-1.0\t</s>
-0.7\ta\t-0.25
-0.9\tb\t-0.125

\\2-grams:
-0.2\t<s> a
-0.3\ta b
-0.4\tb </s>

\\end\\
"""
TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tiny.arpa").write_text(ARPA)
    return tmp_path / "tiny.arpa"


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> Path:
    """A SentencePiece model of characters."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ba", "aab b"] * 20),
        model_writer=model,
        vocab_size=6,
        model_type="char",
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("pieces") / "tiny.sp.model"
    path.write_bytes(model.getvalue())
    return path


def values(tagger: Perplexity, *texts: str) -> dict[str, list]:
    columns = check_columns(tagger(TextBatch.of(texts)), outputs=tagger.outputs, n_docs=len(texts), tagger="perplexity")
    return {name: column.to_pylist() for name, column in columns.items()}


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        pytest.param("a b", [-0.2, -0.3, -0.4], id="all bigrams known"),
        pytest.param("b a", [-0.5 - 0.9, -0.125 - 0.7, -0.25 - 1.0], id="none known: back-off and unigram"),
        pytest.param("a c b", [-0.2, -0.25 - 2.0, -0.9, -0.4], id="a word it does not know"),
        pytest.param(" a\n\tb\u2003", [-0.2, -0.3, -0.4], id="any whitespace is between words"),
    ],
)
def test_probabilities_are_those_computed_by_hand(path, text, terms):
    found = values(Perplexity(path=path), text)
    assert found["log10_probability"] == [pytest.approx(sum(terms), abs=1e-6)]
    assert found["tokens"] == [len(terms)]
    assert found["perplexity"] == [pytest.approx(10 ** (-sum(terms) / len(terms)), rel=1e-6)]


def test_a_text_without_tokens_has_no_perplexity(path):
    assert values(Perplexity(path=path), "", " \n") == {
        "log10_probability": [0.0, 0.0],
        "tokens": [0, 0],
        "perplexity": [None, None],
    }


def test_paragraphs_are_sentences_of_their_own(path):
    whole = values(Perplexity(path=path), "a b", "c")
    found = values(Perplexity(path=path, level="paragraph"), "\n\na b\nc", "", "a b")
    spans = found["paragraphs"]
    assert [(span["start"], span["end"]) for span in spans[0]] == [(2, 6), (6, 7)]
    assert [span["score"] for span in spans[0]] == whole["perplexity"]
    assert spans[1] == []
    assert [(span["start"], span["end"]) for span in spans[2]] == [(0, 3)]
    assert found["tokens"] == [sum(whole["tokens"]), 0, 3]
    assert found["log10_probability"] == [pytest.approx(sum(whole["log10_probability"])), 0, pytest.approx(-0.9)]
    assert found["perplexity"][0] == pytest.approx(10 ** (-sum(whole["log10_probability"]) / sum(whole["tokens"])))
    assert found["perplexity"][1] is None


def test_sentences_have_spans_in_code_points(path):
    text = "é ab! So b"
    (spans,) = values(Perplexity(path=path, level="sentence"), text)["sentences"]
    assert [text[span["start"] : span["end"]] for span in spans] == ["é ab!", "So b"]


def test_a_paragraph_of_nothing_but_controls_has_no_span(path):
    tagger = Perplexity(path=path, level="paragraph", normalize=["controls"])
    assert [len(spans) for spans in values(tagger, "\x01\x02\na b\n")["paragraphs"]] == [1]


def test_sentencepiece_cuts_the_text(path, pieces):
    found = values(Perplexity(path=path, tokenizer=pieces), "ab", "")
    # "▁" is unknown to the n-gram model.
    assert found["log10_probability"] == [pytest.approx(-0.5 - 2.0 - 0.7 - 0.3 - 0.4, abs=1e-6), 0.0]
    assert found["tokens"] == [4, 0]


def test_a_tokenizer_json_cuts_the_text(path):
    found = values(Perplexity(path=path, tokenizer=TOKENIZER), "a b")
    # "Ġb" is unknown to the n-gram model.
    assert found["log10_probability"] == [pytest.approx(-0.2 - 0.25 - 2.0 - 1.0, abs=1e-6)]
    assert found["tokens"] == [3]


def test_values_do_not_depend_on_the_other_documents(path, pieces):
    texts = ["ab b", "", "b a a", "c\nab"]
    tagger = Perplexity(path=path, tokenizer=pieces, level="paragraph")
    together = values(tagger, *texts)
    alone = [values(tagger, text) for text in texts]
    assert together == {name: [one[name][0] for one in alone] for name in together}


# --- normalization ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        ("lower", "ÉA İ", "éa i̇"),
        ("accents", "É ñ Å ß", "E n A ß"),
        ("accents", "각", unicodedata.normalize("NFD", "각")),
        ("digits", "1st ٣ Ⅷ ²", "0st 0 Ⅷ ²"),
        ("punctuation", "«a» – b—c…", '"a" - b - c...'),
        ("punctuation", "plain, text.", "plain, text."),
        ("controls", "a\nb\tc\x7fd\x9fe", "abcde"),
        ("ccnet", " Él dijo:\n«1984» ", 'el dijo:"0000"'),
        ((), " Él\n", " Él\n"),
    ],
)
def test_a_step_does_what_its_name_says(steps, text, expected):
    assert normalizer(steps_of(steps))(text) == expected


def test_steps_are_done_in_one_order():
    assert steps_of(["controls", "lower"]) == steps_of(["lower", "controls"]) == ("lower", "controls")


def as_ccnet(text: str) -> str:
    """CCNet's rules, one character at a time."""
    text = text.strip().lower()
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    text = "".join("0" if c.isdecimal() else PUNCTUATION.get(c, c) for c in text)
    return "".join(c for c in text if ord(c) >= 32 and not 127 <= ord(c) < 160)


@pytest.mark.property
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from([*PUNCTUATION, "é", "\u0301", "1", "\n"])))
def test_all_steps_are_those_of_ccnet(text):
    assert normalizer(steps_of("ccnet"))(text) == as_ccnet(text)


def test_documents_have_the_perplexity_of_ccnet_to_the_bit(path, pieces):
    import kenlm
    import sentencepiece

    texts = ["Áb ba.\nAB: «aab»", "a", "«1» b—a ab ab ab\n\nba", "aab b aab b b a"]
    model, processor = kenlm.Model(str(path)), sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    expected = []
    for text in texts:
        sentence = " ".join(processor.encode_as_pieces(as_ccnet(text)))
        expected.append(10.0 ** (-model.score(sentence) / (len(sentence.split()) + 1)))
    assert values(Perplexity(path=path, tokenizer=pieces, normalize="ccnet"), *texts)["perplexity"] == expected


def test_the_least_of_probabilities_is_an_infinite_perplexity(path):
    path.write_text(ARPA.replace("-2.0\t<unk>", "-999\t<unk>"))
    found = values(Perplexity(path=path), "x " * 50)
    assert found["perplexity"] == [float("inf")]
    assert found["log10_probability"][0] < -49_000


def test_the_model_sees_normalized_text(path):
    assert values(Perplexity(path=path, normalize="ccnet"), "Á B") == values(Perplexity(path=path), "a b")


# --- files and errors ------------------------------------------------------------------------------------------------


def test_a_recipe_makes_it_by_name_and_knows_its_files(path, pieces):
    options = {"path": str(path), "tokenizer": str(pieces), "normalize": ["digits"]}
    tagger = make_tagger(TaggerSpec(use="perplexity", name="ccnet", options=options))
    assert tagger.name == "ccnet"
    assert [file.split(" ")[0] for file in content_of(tagger)["files"]] == ["tiny.arpa", "tiny.sp.model"]


def test_a_changed_model_is_read_again(path):
    spec = TaggerSpec(use="perplexity", options={"path": str(path)})
    before = values(tagger_of_process(spec), "a")["log10_probability"]
    path.write_text(ARPA.replace("-0.2\t<s> a", "-0.15\t<s> a"))
    assert values(tagger_of_process(spec), "a")["log10_probability"] == [pytest.approx(before[0] + 0.05, abs=1e-6)]


def test_a_public_name_brings_model_and_pieces(path, pieces, monkeypatch, tmp_path):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))
    urls = ("https://example.org/en.arpa.bin", "https://example.org/en.sp.model")
    entry = Public(name="tiny", kind="model", urls=urls, licence="none", tagger="perplexity")
    monkeypatch.setitem(PUBLIC, "tiny", entry)
    with pytest.raises(ConfigError, match="run `dolma fetch tiny`"):
        Perplexity(path="tiny")
    for url, file in zip(urls, (path, pieces), strict=True):
        cached_path(url).parent.mkdir(parents=True)
        cached_path(url).write_bytes(file.read_bytes())
    assert values(Perplexity(path="tiny"), "ab") == values(Perplexity(path=path, tokenizer=pieces), "ab")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "line"}, "perplexity: level='line'; valid: document, paragraph, sentence"),
        ({"normalize": ["lowr"]}, "perplexity: normalize='lowr'; did you mean 'lower'?"),
        ({"path": "none.arpa"}, "perplexity: no such file: none.arpa\n  give a path that is there, or a URL"),
        ({"tokenizer": "none.model"}, "perplexity: tokenizer: no such file: none.model"),
        ({"path": "hf://o/n/en.arpa.bin"}, "run `dolma fetch hf://o/n/en.arpa.bin`"),
    ],
)
def test_a_wrong_option_says_what_to_give(path, options, message, monkeypatch, tmp_path):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as raised:
        Perplexity(**{"path": path} | options)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("count", "reason"), [(2**62, "it is damaged"), (0, "it is damaged"), (900, "Binary file has")]
)
def test_a_binary_model_that_is_too_short_for_its_header(tmp_path, count, reason):
    start = b"mmap lm http://kheafield.com/code format version 5\n".ljust(56, b"\0")
    sanity = struct.pack("<fffIIIQ", 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
    parameters = struct.pack("<B3xfIB3xI", 2, 1.5, 0, 1, 0) + struct.pack("<QQ", count, count)
    (tmp_path / "cut.bin").write_bytes(start + sanity + parameters)
    with pytest.raises(ConfigError, match=rf"KenLM cannot read .*cut\.bin: {reason}.*\n  give the path of an ARPA"):
        Perplexity(path=tmp_path / "cut.bin")


def test_what_is_no_model_is_refused(tmp_path, path):
    (tmp_path / "no.bin").write_text("hello\n")
    with pytest.raises(
        ConfigError, match=r'KenLM cannot read .*no\.bin: first non-empty line was "hello" not .*\n  give the path'
    ):
        Perplexity(path=tmp_path / "no.bin")
    with pytest.raises(ConfigError, match=r"sentencepiece cannot read .*no\.bin"):
        Perplexity(path=path, tokenizer=tmp_path / "no.bin")
    with pytest.raises(ConfigError, match="is 0 n-gram models, expected one"):
        (tmp_path / "no.sp.model").write_text("hello\n")
        Perplexity(path=tmp_path / "no.sp.model")


@pytest.mark.parametrize("package", ["kenlm", "sentencepiece"])
def test_a_missing_package_says_what_to_install(path, pieces, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install 'dolma\[perplexity\]'"):
        Perplexity(path=path, tokenizer=pieces)


def test_without_the_extra_words_need_no_sentencepiece(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert values(Perplexity(path=path), "a b")["tokens"] == [3]
