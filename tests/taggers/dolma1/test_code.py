"""Answers of Dolma 1.2.1 about code (tests/goldens/make_dolma1_code.py), and the cases in which ours are others.

Run: `pytest tests/taggers/dolma1/test_code.py`.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError, MissingExtraError
from dolma.taggers.dolma1.code import CodeComposition, CodeCopyrightCommentsV1, CodeSecretsV1
from dolma.taggers.registry import make_tagger

ROOT = Path(__file__).parents[3]
LID176 = ROOT / "taggers" / "models" / "lid.176.ftz"
WITH_LIBRARIES = ("code_secrets_v1", "code_starcoder_taggers_v1", "code_starcoder_taggers_v2")
# Why ours says otherwise.
DIFFERENT = {
    "code_secrets_v1": {
        "secret, part of an earlier line": "its line is part of an earlier line, where 1.2.1 places it",
        "secret, the same as its name": "1.2.1 places it at the first of its letters, in the name",
    },
    "code_redpajama_taggers_v1": {},
    "code_starcoder_taggers_v1": {},
    "code_starcoder_taggers_v2": {"empty": "an empty text in Python, Java or JavaScript ended the run"},
}

Answer = dict[str, list[list[float]]]


@functools.cache
def goldens() -> dict[str, Any]:
    with gzip.open(ROOT / "tests" / "goldens" / "dolma1_code.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


@functools.cache
def documents() -> dict[str, tuple[str, dict[str, Any]]]:
    found = {}
    with gzip.open(
        ROOT / "data/sample/code/documents/registry-0000.jsonl.gz", "rt", encoding="utf-8", newline="\n"
    ) as lines:
        for document in map(json.loads, lines):
            found[document["id"]] = (document["text"], document["metadata"])
    return found | {id: (text, metadata) for id, text, metadata in goldens()["cases"]}


def answers(tagger: Any, ids: list[str]) -> list[Answer]:
    """Ours as 1.x writes them."""
    texts = [documents()[id][0] for id in ids]
    batch = TextBatch.of(texts, metadata=[json.dumps(documents()[id][1]).encode() for id in ids])
    columns = check_columns(tagger(batch), outputs=tagger.outputs, n_docs=len(ids), tagger=tagger.name)
    values = {name: column.to_pylist() for name, column in columns.items()}
    return [
        {name: spans for name in values if (spans := _spans(tagger.outputs[name].kind, values[name][i], len(text)))}
        for i, text in enumerate(texts)
    ]


def _spans(kind: str, value: Any, size: int) -> list[list[float]]:
    if kind == "spans":
        return [[span["start"], span["end"], span["score"]] for span in value]
    return [] if value is None else [[0, size, float(value)]]


def close(answer: Answer) -> Any:
    return {
        name: [[start, end, pytest.approx(score, abs=1e-5)] for start, end, score in sorted(spans)]
        for name, spans in answer.items()
    }


@pytest.mark.golden
@pytest.mark.parametrize("name", DIFFERENT)
def test_answers_are_those_of_dolma1_but_for_its_mistakes(name: str) -> None:
    if name in WITH_LIBRARIES:
        pytest.importorskip("bs4")
        pytest.importorskip("detect_secrets")
    theirs = goldens()["answers"][name]
    tagger = make_tagger(TaggerSpec(use=name))
    differing = {
        id
        for id, ours in zip(theirs, answers(tagger, list(theirs)), strict=True)
        if "error" in theirs[id] or ours != close(theirs[id]["attributes"])
    }
    assert differing == set(DIFFERENT[name])


# --- copyright ---


@pytest.mark.golden
def test_copyright_spans_end_where_the_comment_ends():
    """1.2.1 leaves the line ends of a block out of its length, and adds 1 to what it divides by the text's length."""
    theirs = goldens()["answers"]["code_copyright_comments_v1"]
    for id, ours in zip(theirs, answers(CodeCopyrightCommentsV1(), list(theirs)), strict=True):
        text, expected = documents()[id][0], theirs[id]["attributes"]
        assert ours.get("copyright_notice") == expected.get("copyright_notice")
        if "comment_block" in ours:
            ((_, end, _),) = ours["comment_block"]
            lines = text[:end].split("\n")
            assert expected["comment_block"] == [[0, sum(len(line) or 1 for line in lines), 1.0]]
            assert all(not line or line.startswith(("//", "#", "--")) for line in lines)
        elif text:
            assert "comment_block" not in expected
        for spans in (ours.get("copyright_notice"), ours.get("comment_block")):
            if spans:
                assert ours["doc"][0][2] == (spans[0][1] - spans[0][0]) / len(text)


@pytest.mark.parametrize(
    ("text", "span", "share"),
    [
        ("# by me\n# and others\ncode", [0, 20], 20 / 25),  # 1.2.1: 0-19, 0.8
        ("# by me", [0, 7], 1.0),  # 1.2.1: 1.14
        ("# by me\n\n", [0, 9], 1.0),  # 1.2.1: 0-9, 1.11
        ("\n", [0, 1], 1.0),  # 1.2.1: 0-2, 3.0
        ("", None, -1.0),  # 1.2.1: 0-1, -1
    ],
)
def test_a_block_of_comments(text: str, span: list[int] | None, share: float) -> None:
    columns = CodeCopyrightCommentsV1()(TextBatch.of([text]))
    spans = [[found["start"], found["end"]] for found in columns["comment_block"].to_pylist()[0]]
    assert (spans, columns["doc"].to_pylist()) == ([span] if span else [], [pytest.approx(share)])


def test_a_million_open_comments_take_linear_time():
    """1.2.1 searches from each "/*" to the end."""
    assert CodeCopyrightCommentsV1()(TextBatch.of(["/* copyright " * 1_000_000]))["doc"].to_pylist() == [0.0]


# --- secrets ---


def test_a_secret_is_placed_in_its_own_line():
    """1.2.1: 10-23 in the first line, which says that it is none."""
    pytest.importorskip("detect_secrets")
    text = "password: hunter2secret # pragma: allowlist secret\npassword: hunter2secret"
    found = CodeSecretsV1()(TextBatch.of([text]))["SECRET_Secret_Keyword"].to_pylist()
    assert found == [[{"start": 61, "end": 74, "score": 1.0}]]


PARTS = [
    "api_key",
    "KEY",
    "pass",
    "password",
    "PWD",
    "ſecret",
    "token",
    "ibm",
    "_",
    " ",
    "=",
    ":",
    "'",
    '"',
    "`",
    "(",
    ";",
    "==",
]
PARTS += [
    "abcdef0123456789",
    "AKIA",
    "ABCDEFGHIJ012345",
    "AKC",
    "AP1",
    "aws",
    "://",
    "user:pa55@",
    "eyJ",
    ".",
    "-us12",
    "@",
    "M",
]
PARTS += [
    "//registry/:_authToken=",
    "npm_abc",
    "SG.",
    "xoxb-1-a",
    "https://hooks.slack.com/services/T1/B1/a",
    "sk_live_",
    "AC",
]
PARTS += [
    "0a1b2c3d4e5f6789" * 2,
    "zZ9yY8xX7wW6vV5uU4tT3sS2",
    "\n",
    "# pragma: allowlist nextline secret\n",
    "é",
    "contraseña",
]
PARTS += [" # pragma: allowlist secret", "BEGIN PRIVATE KEY", "softlayer", "sq0csp-", "AccountKey=", "=>", "]", "cl"]


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=25).map("".join), min_size=1, max_size=5))
def test_no_secret_is_in_a_line_that_is_not_shown(texts: list[str]) -> None:
    pytest.importorskip("detect_secrets")
    batch, tagger = TextBatch.of(texts), CodeSecretsV1()
    found = {name: column.to_pylist() for name, column in tagger(batch).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dolma.taggers.dolma1.code._may_have_secret", lambda line: True)
        assert {name: column.to_pylist() for name, column in tagger(batch).items()} == found


# --- StarCoder ---


def test_an_empty_text_has_no_comments():
    """1.2.1: division by zero ends the run."""
    pytest.importorskip("bs4")
    tagger = make_tagger(TaggerSpec(use="code_starcoder_taggers_v2"))
    columns = tagger(TextBatch.of([""], metadata=[b'{"ext":"py"}']))
    assert columns["code_to_comment_ratio_doc"].to_pylist() == [-1.0]


def test_documents_without_metadata_have_no_language():
    pytest.importorskip("bs4")
    tagger = make_tagger(TaggerSpec(use="code_starcoder_taggers_v1"))
    assert tagger(TextBatch.of(["# a"]))["nl_ratio_doc"].to_pylist() == [-1.0]
    odd = [b'{"ext":["py"],"max_stars_count":"many"}', b"[]", None]
    columns = tagger(TextBatch.of(["# a"] * 3, metadata=odd))
    assert columns["num_github_stars_doc"].to_pylist() == [0.0] * 3


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("code_secrets_v1", "detect_secrets.core.scan", "detect-secrets"),
        ("code_starcoder_taggers_v1", "bs4", "beautifulsoup4"),
        ("code_starcoder_taggers_v2", "bs4", "beautifulsoup4"),
    ],
)
def test_without_its_library_a_tagger_says_what_to_install(monkeypatch, name, module, package) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{name}' needs the package '{package}'.*\n.*'dolma\[code\]'"):
        make_tagger(TaggerSpec(use=name))


# --- composition ---


@pytest.mark.golden
def test_lines_have_the_labels_of_the_model():
    """1.2.1 strips "_", "l", "a", "b" and "e" from the beginning of a label, not "__label__": "en" becomes "n"."""
    theirs = goldens()["answers"]["code_composition"]
    for id, ours in zip(theirs, answers(CodeComposition(path=LID176), list(theirs)), strict=True):
        expected = theirs[id]["attributes"]
        lines: dict[str, float] = {}
        entropy: dict[str, float] = {}
        for name, ((_, _, value),) in ours.items():
            if f"{name}_pct" in ours:
                label = "id" if name == "id_" else name
                label = label if name == "other" else re.sub("^[_label]+", "", label)
                lines[label] = lines.get(label, 0) + value
                entropy[label] = entropy.get(label, 0) + value * ours[f"{name}_entropy"][0][2]
        assert ours["boundaries"] == expected["boundaries"]
        assert lines == {name[:-4]: expected[name[:-4]][0][2] for name in expected if name.endswith("_pct")}
        for label, n in lines.items():
            assert expected[f"{label}_entropy"][0][2] == pytest.approx(entropy[label] / n, abs=2e-5)
            assert expected[f"{label}_pct"][0][2] == round(n / sum(lines.values()), 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("composition")
    lines = {"code": "def f ( x ) : return x", "prose": "the cat sat on the mat", "bare": "0 1 2 3"}
    (folder / "lines.txt").write_text("".join(f"__label__{label} {line}\n" for label, line in lines.items()) * 20)
    options = {"dim": 4, "minCount": 1, "epoch": 60, "thread": 1, "verbose": 0}
    fasttext.train_supervised(str(folder / "lines.txt"), lr=0.5, **options).save_model(str(folder / "model.bin"))
    return folder / "model.bin"


def test_code_and_prose_meet(model):
    tagger = CodeComposition(path=model)
    text = "def f ( x ) :\n return x\n\nthe cat sat\nno\nthe mat\ndef f ( )\n0 1 2 3\nthe cat\n"
    columns = {name: column.to_pylist() for name, column in tagger(TextBatch.of([text, ""])).items()}
    assert columns["boundaries"] == [2, 0]  # "other" and "bare" stand between some
    assert [columns[name] for name in ("code", "prose", "bare", "other")] == [
        [3, None],
        [3, None],
        [1, None],
        [1, None],
    ]
    assert columns["prose_pct"] == [0.38, None]
    assert columns["other_entropy"] == [0.0, None]
    assert 0 < columns["code_entropy"][0] < 1.6


def test_the_published_model_is_not_downloaded_by_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"has not been fetched\n  run `dolma fetch https://"):
        CodeComposition()
