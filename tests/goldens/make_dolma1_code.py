"""Write down what Dolma 1.2.1's taggers of code and licences answer.

Run where it is installed with its extra `code`, not where this project is:

    cd /tmp && PYTHON_OF_DOLMA_1 /path/to/make_dolma1_code.py

`dolma1_code.json.gz` gets the cases that are made up here, and for each tagger the answer for each id: output to spans,
or the error that ended the run. Asked of code: `data/sample/code` and the cases; of licences: the pages.
`code_composition` is asked with `lid.176.ftz` in place of its model: the lines of a text by language.
"""

from __future__ import annotations

import glob
import gzip
import importlib
import io
import json
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

CODE = (
    "code_secrets_v1",
    "code_copyright_comments_v1",
    "code_redpajama_taggers_v1",
    "code_starcoder_taggers_v1",
    "code_starcoder_taggers_v2",
)
LICENCES = ("cc_re", "cc_re_fast")

PYTHON = '''"""Module."""
import os  # a comment


class A:
    """Class."""

    def f(self):
        """Method.

        More of it.
        """
        return "# no comment"  #: another


async def g():
    """Not counted."""
'''
JAVASCRIPT = "// one\nlet a = '// no';\n/* two\n three */ let b = `/* no */`;\n"
HTML = (
    "<!DOCTYPE html><html><head><title>T</title><style>p{}</style><script>var a;</script></head><body>{}</body></html>"
)
SECRETS = (
    'key = "AKIAIOSFODNN7EXAMPL1"\n'
    "password = 'hunter2secret'\r\npassword: hunter2secret\n"
    'token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"\n'
    'x = "c3VwZXIgbG9uZyBzdHJpbmcgc2hvdWxkIGNhdXNlIGVub3VnaCBlbnRyb3B5"\n'
    "y = '2b00042f7481c7b056c4b410d28f33cf'\n"
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "url = https://user:pa55word1@host.example/\n"
    "secret = ${VARIABLE}\n"
    "slack xoxb-34532454-e039d02840a0b9379c\n"
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFh7HgQ\n"
    "é密码 api_key = 'abcdé12345'\n"
)
CASES: list[tuple[str, str, dict]] = [
    ("empty", "", {"ext": "py"}),
    ("blank", "\n \n", {"ext": "md"}),
    ("no extension", "a = 1\n", {}),
    ("no language", "a = 1\n", {"ext": "docx"}),
    ("no text of an extension", "a = 1\n", {"ext": 5}),
    ("python", PYTHON, {"ext": "py", "max_stars_count": 12}),
    ("python, broken", PYTHON + "def (:\n# last\n", {"ext": "py", "max_stars_count": None}),
    ("python, open string", PYTHON + "x = '''\n", {"ext": "py"}),
    ("python, no comment", "x = 1\n", {"ext": "py"}),
    ("javascript", JAVASCRIPT, {"ext": "js", "max_stars_count": 3.0}),
    ("java", JAVASCRIPT.replace("`", '"'), {"ext": "java"}),
    ("rust", "// a\nfn main() {}\n", {"ext": "rs"}),
    ("html", HTML.replace("{}", "<p>words &amp; more</p> " * 12), {"ext": "html"}),
    ("html, little text", HTML.replace("{}", "<p>words</p>"), {"ext": "htm"}),
    ("html, broken", "<div><p>x</i><!-- c -->a < b &c; d" + " text" * 30, {"ext": "html"}),
    ("html, empty", "", {"ext": "html"}),
    ("xml", '<?xml version="1.0"?>\n<!-- c --><a>b</a>', {"ext": "xml"}),
    ("xml, later", " " * 90 + '<?xml version="1.0"?>', {"ext": "xml"}),
    ("notice", "int a;\n/* Copyright (c) me\n * and others */\nint b; /* other */", {"ext": "c"}),
    ("no notice", "/* about a */\nint a; /* Copyright */", {"ext": "c"}),
    ("open comment", "/* Copyright", {"ext": "c"}),
    ("short comment", "/*/ Copyright */ x", {"ext": "c"}),
    ("block", "#!/bin/sh\n# by me\n\n-- x\n// y\ncode # z\n", {"ext": "sh"}),
    ("block to the end", "# by me\n\n", {"ext": "sh"}),
    ("no block", " # by me\n", {"ext": "sh"}),
    ("lines", "a\r\nbc\rdef\x0bg\u2028héllo 漢字 ²\x1c", {"ext": "txt"}),
    ("secrets", SECRETS, {"ext": "txt"}),
    (
        "secret, part of an earlier line",
        "password: hunter2secret # pragma: allowlist secret\npassword: hunter2secret",
        {},
    ),
    ("secret, part of its name", "password: pass12word3 password", {}),
    ("secret, the same as its name", "my_password: my_password1 = 'pass'", {}),
    ("secret, twice", "password: hunter2secret\npassword: hunter2secret\n", {}),
]

A = '<a rel="license" href="https://creativecommons.org/licenses/'
PAGES: list[tuple[str, dict]] = [
    ("none", {"html": "<p>All rights reserved</p>"}),
    ("no html", {}),
    ("empty", {"html": ""}),
    ("plain", {"html": f'{A}by/4.0/">CC BY</a>'}),
    ("language", {"html": f'{A}by-sa/3.0/deed.de">CC</a> {A}by-nc-nd/2.5/us/">CC</a> {A}by-nc/2.0/fr/legalcode.en">'}),
    ("no language", {"html": f'{A}by/4.0/deed">CC BY</a> {A}by/3.0/igo/legalcode">'}),
    ("no version", {"html": f"{A}by-nd-sa'>x</a>"}),
    ("several", {"html": f'{A}by/4.0/">a</a>' * 4}),
    ("public domain", {"html": '<a href="http://creativecommons.org/publicdomain/zero/1.0/deed.en">0</a>'}),
    ("mark", {"html": "<meta name='l' content='http://creativecommons.org/publicdomain/mark/1.0/'>"}),
    ("two in a tag", {"html": f'{A}by/4.0/" content="http://creativecommons.org/licenses/by-sa/4.0/">'}),
    ("no tag", {"html": "see https://creativecommons.org/licenses/by-nc-sa/3.0/ for it"}),
    ("not closed on its line", {"html": f'{A}by/4.0/"\n>CC BY</a>'}),
    ("over lines", {"html": "<a\n rel=license\n href=&quot;http://creativecommons.org/licenses/by/1.0/&quot; >"}),
    ("a symbol before", {"html": '<a title="1 + 1" href="http://creativecommons.org/licenses/by/1.0/">'}),
    ("letters before", {"html": '<a title="हिन्दी «é»" HREF="http://creativecommons.org/licenses/by/1.0/">'}),
    ("another site", {"html": '<a href="http://creativecommons.org.example/licenses/by/1.0/">'}),
    ("www", {"html": '<a href="http://www.creativecommons.org/licenses/by/1.0/">'}),
    (
        "a tag within",
        {
            "html": '<a href="http://creativecommons.org/licenses/by/<a href="http://creativecommons.org/licenses/by-sa/">'
        },
    ),
]


def answer(tagger: object, id: str, text: str, metadata: dict) -> dict:
    """What 1.2.1 says: `{"attributes": ...}`, or `{"error": ...}` where it would end the run."""
    record = importlib.import_module("dolma.core.data_types").DocumentWithMetadata
    try:
        result = tagger.predict(record(id=id, text=text, source="", version=None, metadata=metadata))
    except Exception as error:  # noqa: BLE001 - whatever it is would have ended its run: that is the answer
        return {"error": type(error).__name__}
    attributes: dict[str, list] = {}
    for span in result.spans:
        attributes.setdefault(span.type, []).append([span.start, span.end, round(float(span.score), 5)])
    return {"attributes": attributes}


def documents() -> list[tuple[str, str, dict]]:
    """The documents of the sample, then the cases."""
    found = []
    for path in sorted(glob.glob(f"{ROOT}/data/sample/code/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            found += [json.loads(line) for line in lines]
    return [(document["id"], document["text"], document["metadata"]) for document in found] + CASES


def main() -> None:
    """Ask each tagger about its documents."""
    for name in ("code", "licenses", "code_composition"):
        importlib.import_module(f"dolma.taggers.{name}")
    registry = importlib.import_module("dolma.core.registry").TaggerRegistry
    answers = {}
    for name in CODE:
        tagger = registry.get(name)()
        answers[name] = {id: answer(tagger, id, text, metadata) for id, text, metadata in documents()}
    for name in LICENCES:
        tagger = registry.get(name)()
        answers[name] = {id: answer(tagger, id, "a page", metadata) for id, metadata in PAGES}
    kind = registry.get("code_composition")
    kind.MODEL_PATH = str(ROOT / "taggers" / "models" / "lid.176.ftz")
    tagger = kind()
    answers["code_composition"] = {id: answer(tagger, id, text, {}) for id, text, _ in documents()[::3]}
    written = {"cases": CASES, "pages": PAGES, "answers": answers}
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as out:
        out.write(json.dumps(written, indent=0, ensure_ascii=False).encode())
    (HERE / "dolma1_code.json.gz").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
