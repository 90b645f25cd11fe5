"""Source code: language, comments, headers, lines and signs of data. Run: `pytest tests/taggers/test_code.py`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.taggers.code import Code
from dolma.taggers.code_guesses import guesses
from dolma.taggers.code_languages import by_name, languages
from dolma.taggers.code_syntax import SYNTAXES
from dolma.taggers.pii import Pii

SAMPLE = Path(__file__).parents[2] / "data/sample/code/documents/registry-0000.jsonl.gz"


def sample() -> list[dict[str, Any]]:
    with gzip.open(SAMPLE, "rt", encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def of(text: str, path: str | None = None, **options: Any) -> dict[str, Any]:
    """All outputs of one text."""
    tagger = Code(**options)
    batch = TextBatch.of([text], metadata=[None if path is None else json.dumps({"path": path}).encode()])
    columns = check_columns(tagger(batch), outputs=tagger.outputs, n_docs=1, tagger="code")
    return {name: column.to_pylist()[0] for name, column in columns.items()}


def language(text: str, path: str | None = None) -> tuple[str | None, str | None]:
    found = of(text, path)
    return found["language"], found["language_by"]


# --- language ---


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a/b.py", "", ("Python", "extension")),
        ("a\\b.PY", "", ("Python", "extension")),
        ("pkg:usr/share/b.rs", "", ("Rust", "extension")),
        ("py", "", ("Python", "extension")),
        ("src/Makefile", "", ("Makefile", "name")),
        ("Dockerfile", "", ("Dockerfile", "name")),
        ("CMakeLists.txt", "", ("CMake", "name")),
        ("a.H", "", ("C++", "extension")),
        ("a.h", "int f(void);", ("C", "extension")),
        ("a.h", "class A {\npublic:\n};", ("C++", "extension")),
        ("a.h", "#import <Foundation/Foundation.h>", ("Objective-C", "extension")),
        ("a.m", "@implementation A\n@end", ("Objective-C", "extension")),
        ("a.m", "function y = f(x)\n% doubles\ny = 2 * x;", ("MATLAB", "extension")),
        ("a.m", "f[x_] := x^2 (* square *)", ("Mathematica", "extension")),
        ("a.pl", "use strict;\nmy $a = 1;", ("Perl", "extension")),
        ("a.pl", "parent(X, Y) :- father(X, Y).", ("Prolog", "extension")),
        ("a.v", "module a(input b); endmodule", ("Verilog", "extension")),
        ("a.v", "Theorem a : True.\nProof. trivial. Qed.", ("Rocq Prover", "extension")),
        ("a.ts", "export const a: string = 'b'", ("TypeScript", "extension")),
        ("a.ts", '<?xml version="1.0"?>\n<!DOCTYPE TS>', ("XML", "extension")),
        ("a.1", '.\\" by me\n.TH A 1\n', ("Roff", "extension")),
        ("a-1.2", "what is new", ("Text", "extension")),
        ("a.pro", "QT += core", ("QMake", "extension")),
        ("a.fs", "let a = 1", ("F#", "extension")),
        ("a.fs", "#version 330\nvoid main() {}", ("GLSL", "extension")),
        ("a.unknown", "#!/usr/bin/env -S python3.11 -u\nx", ("Python", "shebang")),
        (None, "#!/bin/sh\nx", ("Shell", "shebang")),
        (None, "/* -*- mode: c++; tab-width: 4 -*- */", ("C++", "modeline")),
        (None, "# vim: set ft=ruby:", ("Ruby", "modeline")),
        (None, "<?php echo $this->a;", ("PHP", "content")),
        (None, '{"a": [1, 2, {}]}\n', ("JSON", "content")),
        (None, "Dear all,\n\nthe minutes are attached.\n", (None, None)),
        (None, "", (None, None)),
    ],
)
def test_the_language_of_a_file(path: str | None, text: str, expected: tuple[str | None, str | None]) -> None:
    assert language(text, path) == expected


def test_names_are_looked_for_in_the_fields_in_turn():
    batch = TextBatch.of(["", "", ""], metadata=[b'{"ext":"go"}', b'{"path":"a.rb","ext":"go"}', b'{"name":"a.py"}'])
    assert Code()(batch)["language"].to_pylist() == ["Go", "Ruby", None]
    assert Code(fields="metadata.name")(batch)["language"].to_pylist() == [None, None, "Python"]
    with pytest.raises(ConfigError, match="no fields"):
        Code(fields=[])


def test_real_files_have_the_language_that_they_were_published_under():
    wrong = {
        (document["metadata"]["language"], language(document["text"], document["metadata"]["path"])[0])
        for document in sample()
    }
    assert [pair for pair in wrong if pair[0] != pair[1]] == []


def test_nine_in_ten_real_files_are_known_without_a_name():
    documents = [document for document in sample() if document["metadata"]["language"] != "Markdown"]
    found = guesses([document["text"].encode() for document in documents])
    right = sum(guess == document["metadata"]["language"] for guess, document in zip(found, documents, strict=True))
    wrong = sum(guess not in (None, d["metadata"]["language"]) for guess, d in zip(found, documents, strict=True))
    assert right >= 0.9 * len(documents) and wrong <= 1


def test_every_language_has_a_syntax_and_is_known_by_something():
    assert {known.syntax for known in languages().values()} <= set(SYNTAXES)
    extensions = [extension for known in languages().values() for extension in known.extensions]
    assert len(extensions) == len(set(extensions))
    assert all(by_name(f"a.{extension}", bytes) for extension in extensions)


# --- comments ---


@pytest.mark.parametrize(
    ("path", "text", "comment"),
    [
        ("a.py", "x = '# no'  # yes", "# yes"),
        ("a.c", 'char *s = "/* no */"; /* yes\n */', "/* yes\n */"),
        ("a.js", 'let a = /[/*]"/; // yes', "// yes"),
        ("a.rs", "fn f<'a>() { '\"'; b'\"'; /* y /* e */ s */ }", "/* y /* e */ s */"),
        ("a.sh", 'echo $# "# no" a#no # yes', "# yes"),
        ("a.lua", "s = [[-- no]] --[==[ yes ]] ]==]", "--[==[ yes ]] ]==]"),
        ("a.php", "<p>// no</p><?php // yes", "// yes"),
        ("a.sql", "select '--no' -- yes", "-- yes"),
        ("a.hs", "f' = '\"' {- yes -}", "{- yes -}"),
        ("a.html", "<p># // no</p><!-- yes -->", "<!-- yes -->"),
        ("a.tex", "50\\% of % yes", "% yes"),
        ("a.yaml", "a: b#no # yes", "# yes"),
        ("a.cmake", "set(a [[no]]) #[===[ yes\n]] ]=] ]===]\n", "#[===[ yes\n]] ]=] ]===]"),
        ("a.el", '(list ?" ?\\" a) ; yes', "; yes"),
        ("a.pm", "my $n = $#a;\n=head1 yes\n\n=cut", "=head1 yes\n\n=cut"),
    ],
)
def test_comments_are_told_from_strings(path: str, text: str, comment: str) -> None:
    found = of(text, path)
    assert (found["comments"], found["comment_share"]) == (1, pytest.approx(len(comment) / len(text)))


def test_documentation_strings_are_no_comments():
    text = '#!/usr/bin/python\n"""Module."""\n\ndef f():\n    r\'\'\'Function.\'\'\'\n    return """no"""\n'
    found = of(text, "a.py")
    assert (found["comments"], found["comment_share"]) == (0, 0.0)
    assert found["docstring_share"] == pytest.approx(len('"""Module."""' + "'''Function.'''") / len(text))


@pytest.mark.parametrize("path", ["a.json", "a.unknown", None])
def test_what_has_no_comments_has_no_share_of_them(path: str | None) -> None:
    found = of("words // words", path)
    assert (found["comments"], found["comment_share"], found["docstring_share"], found["header"]) == (
        None,
        None,
        None,
        [],
    )


# --- headers ---


def test_a_licence_header_with_its_statements():
    header = "# Copyright (c) 2020 Jané Doe\n# © 2021 Others  \n# see the copyright notice\n"
    header += "# SPDX-License-Identifier: MIT OR Apache-2.0"
    text = f"#!/bin/sh\n{header}\n\n# no more\necho\n"
    found = of(text, "a.sh")
    assert found["header"] == [{"start": 10, "end": 10 + len(header), "score": 1.0}]
    assert [text[span["start"] : span["end"]] for span in found["copyright"]] == [
        "Copyright (c) 2020 Jané Doe",
        "© 2021 Others",
    ]
    assert found["spdx"] == "MIT OR Apache-2.0"


@pytest.mark.parametrize(
    ("path", "text", "header"),
    [
        ("a.php", "<?php\n/* Licence */\n", "/* Licence */"),
        ("a.xml", '<?xml version="1.0"?>\n<!-- Licence -->\n<a/>', "<!-- Licence -->"),
        ("a.py", "# -*- coding: utf-8 -*-\n# license: MIT\nimport os", "# -*- coding: utf-8 -*-\n# license: MIT"),
    ],
)
def test_a_header_stands_behind_declarations(path: str, text: str, header: str) -> None:
    (span,) = of(text, path)["header"]
    assert (text[span["start"] : span["end"]], span["score"]) == (header, 1.0)


def test_a_comment_that_is_no_licence_scores_0_and_one_behind_code_is_no_header():
    assert of("// what it does\nint a;", "a.c")["header"] == [{"start": 0, "end": 15, "score": 0.0}]
    assert of("int a; // Copyright", "a.c")["header"] == []


# --- lines and signs ---


def test_lines_and_characters():
    found = of("ab1\r\n" + "é" * 101 + "\n", None)
    assert (found["lines"], found["max_line_length"], found["mean_line_length"]) == (2, 101, 52.0)
    assert (found["long_line_share"], found["digit_share"]) == (0.5, 1 / 107)
    assert (found["alnum_share"], found["alpha_share"]) == (104 / 107, 103 / 107)


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("a.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a", "comment"),
        ("a.py", "# This file was automatically generated\n", "comment"),
        ("a.c", "/* Generated by Cython 0.29 */\n", "comment"),
        ("a.py", "# @generated\n", "comment"),
        ("a.py", "x = 1  # the report that is generated by users\n", None),
        ("a.py", "\n" * 12 + "# Do not edit\n", None),
        ("lib/a.min.js", "a", "name"),
        ("a_pb2.py", "a", "name"),
        ("x/Cargo.lock", "a", "lock file"),
        ("a.js.map", '{"version":3,"sources":["a"],"mappings":"AAAA"}', "source map"),
        ("a.css", "a{}\n/*# sourceMappingURL=a.css.map */\n", "source map"),
        ("a.js", "var a=1;" * 50, "minified"),
        ("a.py", "a = 1;" * 50, None),
    ],
)
def test_why_a_file_looks_generated(path: str, text: str, why: str | None) -> None:
    assert of(text, path)["generated"] == why


def test_data_within_code():
    text = "a = [\n" + "0x12,0x34,\n" * 10 + "]\n'" + "QUJD" * 25 + "'\n"
    found = of(text, "a.py")
    assert (
        found["hex_share"] == pytest.approx(len("0x12,0x34,\n" * 10) / len(text), abs=0.02) or found["hex_share"] == 0
    )
    assert (found["longest_encoded"], found["base64_share"]) == (100, 100 / len(text))
    assert found["number_line_share"] == 10 / 13


def test_markup():
    text = '<!DOCTYPE html><title>T</title><script>var a</script>{{ b }} <?php c ?><p title=">">d</p>'
    found = of(text, "a.html")
    assert (found["html_text_length"], found["html_text_share"]) == (len("T{{ b }} d"), len("T{{ b }} d") / len(text))
    assert found["template_tags"] == 2
    assert of(text, "a.py")["html_text_length"] is None
    assert of('<?xml version="1.0"?>', "a.svg")["xml_declaration"] is True
    assert of(" " * 90 + '<?xml version="1.0"?>', "a.svg")["xml_declaration"] is False


def test_secrets_are_those_of_pii():
    text = "token = 'ghp_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R'\n"
    expected = Pii(types=["api_key"])(TextBatch.of([text]))["api_key"].to_pylist()[0]
    assert of(text, "a.py")["api_key"] == expected != []


# --- all of it ---


def test_an_empty_text_has_no_measure_that_is_not_a_number():
    found = of("", "a.py")
    assert all(value == value for value in found.values() if isinstance(value, float))


PARTS = [
    "#",
    "//",
    "/*",
    "'",
    '"',
    "<?php",
    "<p>",
    "Copyright (c) 2020",
    "SPDX-License-Identifier: MIT",
    "é",
    "\n",
    "{{",
    "def ",
]
PATHS = [None, "a.py", "a.h", "a.php", "a.html", "a.js", "Makefile", "a.unknown"]
documents = st.tuples(
    st.sampled_from(PATHS),
    st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=2)), max_size=12).map("".join),
)


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(st.lists(documents, max_size=4))
def test_a_document_does_not_depend_on_the_others(given_documents: list[tuple[str | None, str]]) -> None:
    tagger = Code()
    metadata = [None if path is None else json.dumps({"path": path}).encode() for path, _ in given_documents]
    batch = TextBatch.of([text for _, text in given_documents], metadata=metadata)
    rows = {name: column.to_pylist() for name, column in tagger(batch).items()}
    for i, (path, _) in enumerate(given_documents):
        text = batch.text(i)
        alone = of(text, path)
        assert {name: values[i] for name, values in rows.items()} == alone
        for name in ("header", "copyright"):
            assert all(0 <= span["start"] < span["end"] <= len(text) for span in alone[name])


@pytest.mark.parametrize(
    "part", ["Copyright (c) 2020 ", "SPDX-License-Identifier: ", "generated by ", "<?xml ", "'", "/*", "{"]
)
def test_a_long_line_of_one_thing_is_read_a_few_times(part: str) -> None:
    of(part * (2_000_000 // len(part)), "a.c")
    of(part * (2_000_000 // len(part)))
