"""Which language source code is in by its text alone, and how much of it is comments, beside other tools.

    python -m benchmarks.code 'code/documents/*.jsonl.zst'
    python -m benchmarks.code --magika PYTHON --write 2026-11-26 --corpus "what it is" PATTERN...

Documents are JSON lines with `text` and `metadata.path`. The truth is the language that the path tells, so files whose
extension lies count as mistakes of all. A guess is right, wrong, or none; magika's "txt" and "unknown" are none, and so
is "Text only" of `pygments.guess_lexer`, which is shown the first 8 kB. Labels of other names count as the language's
if they agree but for case and punctuation, or by `SAME`.

Comments are those of `code` with documentation strings left out, and the tokens of pygments that are comments or
documentation, hashbangs and preprocessor lines left out; compared on every n-th document (`--every`).
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy import keep
from benchmarks.stages import HERE, machine
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.taggers.catalogue import Accuracy
from dolma.taggers.code import Code
from dolma.taggers.code_guesses import guesses
from dolma.taggers.code_languages import by_name

NONE = frozenset(["txt", "unknown", "textonly"])
SAME = {"bash": "shell", "latex": "tex", "jsonc": "json", "rst": "restructuredtext", "vim": "vimscript"}
SAME |= {"viml": "vimscript", "batch": "batchfile", "svg": "xml", "groff": "roff", "troff": "roff", "lisp": "emacslisp"}
SAME |= {"postgresqlsqldialect": "sql", "mysql": "sql", "transactsql": "sql", "cpp": "c++"}


def documents_of(patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The documents whose path tells a language, in the order of their files."""
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    records = [json.loads(line) for path in paths for line in b"".join(streams.read_chunks(path)).splitlines()]
    found = [record for record in records if (record.get("metadata") or {}).get("path")]
    kept = [record for record in found if by_name(record["metadata"]["path"], record["text"].encode)]
    if not kept:
        raise SystemExit(f"no document with a path that tells its language: {patterns}")
    return kept


def normal(label: str | None) -> str | None:
    """The label without case and punctuation, "+" and "#" apart; None for a label that tells no language."""
    name = re.sub(r"[^a-z0-9+#]", "", (label or "").lower())
    return None if not name or name in NONE else SAME.get(name, name)


def shares(found: Sequence[str | None], truth: Sequence[str]) -> dict[str, float]:
    """The shares of guesses that are right, none, and wrong."""
    pairs = [(normal(label), normal(language)) for label, language in zip(found, truth, strict=True)]
    right = sum(a == b for a, b in pairs) / len(pairs)
    none = sum(a is None for a, _ in pairs) / len(pairs)
    return {"right": right, "none": none, "wrong": 1 - right - none}


def row(tool: str, found: Sequence[str | None], truth: Sequence[str], seconds: float) -> str:
    """A row of the table."""
    cells = " | ".join(f"{share:.1%}" for share in shares(found, truth).values())
    return f"| {tool} | {cells} | {seconds / len(truth) * 1e3:.2f} |"


def by_magika(python: str, texts: Sequence[str]) -> tuple[str, list[str], float]:
    """Name and version, labels, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        command = [os.path.abspath(python), str(HERE / "others" / "magika_languages.py"), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"magika_languages.py failed:\n{done.stderr}")
    answer = json.loads(done.stdout)
    return f"magika {answer['version']}", answer["labels"], answer["seconds"]


def by_pygments(texts: Sequence[str]) -> tuple[str, list[str], float]:
    """Name, labels, and seconds."""
    from pygments.lexers import guess_lexer

    guess_lexer(texts[0][:8192])
    began = time.process_time()
    labels = [guess_lexer(text[:8192]).name for text in texts]
    return "pygments", labels, time.process_time() - began


def comments(documents: Sequence[dict[str, Any]]) -> list[float]:
    """How much the share of comments differs from that of pygments, of each document that it has a lexer for."""
    from pygments.lexers import get_lexer_by_name
    from pygments.token import Comment, String
    from pygments.util import ClassNotFound

    left_out = (Comment.Preproc, Comment.PreprocFile, Comment.Hashbang)
    metadata = [json.dumps({"path": document["metadata"]["path"]}).encode() for document in documents]
    columns = Code()(TextBatch.of([document["text"] for document in documents], metadata=metadata))
    differences = []
    for document, language, share in zip(
        documents, columns["language"].to_pylist(), columns["comment_share"].to_pylist(), strict=True
    ):
        try:
            lexer = get_lexer_by_name((language or "").lower())
        except ClassNotFound:
            continue
        if share is not None and document["text"]:
            tokens = lexer.get_tokens(document["text"])
            theirs = sum(
                len(token) for kind, token in tokens if (kind in Comment or kind is String.Doc) and kind not in left_out
            )
            differences.append(abs(theirs / len(document["text"]) - share))
    return differences


def report(patterns: Sequence[str], *, magika: str | None, every: int) -> tuple[str, dict[str, float], int]:
    """The tables, as Markdown; the shares of our guesses, and of how many documents they are."""
    documents = documents_of(patterns)
    texts = [document["text"] for document in documents]
    told = [by_name(document["metadata"]["path"], document["text"].encode) for document in documents]
    truth = [found[0] for found in told if found]
    encoded = [text.encode() for text in texts]
    guesses(encoded[:2])
    began = time.process_time()
    ours = guesses(encoded)
    rows = [row("signs", ours, truth, time.process_time() - began)]
    if magika is not None:
        name, labels, seconds = by_magika(magika, texts)
        rows.append(row(name, labels, truth, seconds))
    name, labels, seconds = by_pygments(texts)
    rows.append(row(name, labels, truth, seconds))
    differences = comments(documents[::every])
    close = sum(difference < 0.01 for difference in differences)
    text = "\n".join(
        [
            machine("numba", "pygments"),
            "",
            f"{len(documents)} documents of {len(set(truth))} languages.",
            "",
            "| tool | right | none | wrong | ms per document |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"Share of comments: of {len(differences)} documents {close} differ from pygments by less than 0.01; "
            f"the mean difference is {statistics.fmean(differences or [0.0]):.4f}.",
            "",
        ]
    )
    return text, shares(ours, truth), len(documents)


def main() -> None:
    """Print the tables, and keep them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--magika", metavar="PYTHON", help="an interpreter that has magika")
    parser.add_argument("--every", type=int, default=8, help="compare comments on every n-th document")
    parser.add_argument("--write", metavar="DATE")
    parser.add_argument("--corpus", default="", help="what the documents are, for the result file")
    given = parser.parse_args()
    found, ours, n = report(given.documents, magika=given.magika, every=given.every)
    print(found)
    if given.write:
        title = f"# Source code, {given.write}\n\n`python -m benchmarks.code`\n\n"
        text = f"{title}{given.corpus}\n\n{found}" if given.corpus else title + found
        (HERE / "results" / f"{given.write}-code.md").write_text(text, encoding="utf-8")
        what = "language of files whose name is withheld"
        keep([Accuracy(tagger="code", script="benchmarks.code", date=given.write, documents=what, n=n, values=ours)])


if __name__ == "__main__":
    sys.exit(main())
