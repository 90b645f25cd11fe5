"""`pytest tests/e2e/test_hostile.py`: texts, files and taggers that no one expects."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from .conftest import Place

pytestmark = pytest.mark.e2e

TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
STAGES = ("tag", "dedupe", "mix", "tokenize", "stat")

# --- texts -----------------------------------------------------------------------------------------------------------

PLAIN = [{"id": f"plain{i}", "text": f"Plain text number {i}, about nothing."} for i in range(4)]
ODD_TEXTS = {
    "empty": "",
    "blank": " \n\t\u3000\n",
    "NUL": "a\0b",
    "one letter a million times": "a" * 1_000_000,
    "a long line": "word " * 1_000_000,
    "newlines": "\n" * 100_000,
    "nothing but @": "@" * 50_000 + "." * 50_000,
    "digits": "1" * 100_000,
    "almost addresses": "a.b-c@d-e.f" * 20_000,
    "combining": "e" + "\u0301" * 10_000,
    "astral": "\U0001f600" * 10_000,
    "controls": "".join(map(chr, range(32))) * 100,
    "control token": "<|endoftext|>" * 100,
}


def tagged(place: Place) -> dict[str, dict]:
    """The rows of all taggers, by id."""
    rows: dict[str, dict] = {}
    for name in ("length", "gopher", "pii"):
        for path in sorted(place.folder.joinpath("attributes", name).glob("*.parquet")):
            for row in pq.read_table(path).to_pylist():
                rows.setdefault(row["id"], {})[name] = row
    return rows


@pytest.mark.slow
def test_odd_texts_go_through_every_stage_and_leave_others_as_they_were(place: Place) -> None:
    taggers = ("--taggers", "gopher,pii")
    place.write("a.jsonl", PLAIN)
    assert place.stage("tag", *taggers).status == 0
    alone = tagged(place)
    odd = [{"id": name, "text": text} for name, text in ODD_TEXTS.items()]
    place.write("a.jsonl", [*PLAIN[:2], *odd, *PLAIN[2:]])
    assert place.stage("tag", *taggers, "--overwrite").status == 0
    found = tagged(place)
    assert {id: found[id] for id in alone} == alone
    assert found["one letter a million times"]["length"]["characters"] == 1_000_000
    for stage in STAGES[1:]:
        place = place.moved(stage)
        ended = place.stage(stage)
        assert ended.status == 0, ended.err
        assert f"{len(PLAIN) + len(odd)} documents in" in ended.out


DAMAGED = [b'{"id": "surrogate", "text": "one \\ud800 two"}', b'{"id": "bytes", "text": "one \xff\xfe two"}']


@pytest.mark.parametrize("stage", STAGES)
def test_damaged_text_is_repaired_counted_and_told(place: Place, stage: str) -> None:
    place.write("a.jsonl", [*PLAIN, *DAMAGED])
    assert place.stage("tag").status == 0
    ended = place.stage(stage, "--overwrite")
    assert ended.status == 0, ended.err
    manifests = [data for path, data in place.files().items() if path.endswith("manifest.json")]
    assert all(b'"lone_surrogate": 1' in data and b'"invalid_utf8": 2' in data for data in manifests)


@pytest.mark.parametrize("stage", ["tag", "dedupe", "tokenize", "stat"])
def test_damaged_text_may_be_an_error_instead(place: Place, stage: str) -> None:
    path = place.write("a.jsonl", [*PLAIN, DAMAGED[1]])
    ended = place.stage(stage, "--invalid-unicode", "error")
    assert ended.status == 3
    assert f"{path}:5: damaged text" in ended.err


def test_ids_of_any_kind_are_ids(place: Place) -> None:
    place.write("a.jsonl", [{"text": "none"}, {"id": 7, "text": "a number"}, {"id": None, "text": "null"}])
    assert place.stage("tag").status == 0
    ids = pq.read_table(place.path("attributes", "length", "a.jsonl.parquet"))["id"].to_pylist()
    assert ids == ["a.jsonl:1", "7", "a.jsonl:3"]
    assert place.stage("mix").status == 0


def test_the_text_may_be_in_another_field(place: Place) -> None:
    place.write("a.jsonl", [{"id": "1", "content": {"body": "here"}}])
    for stage in STAGES:
        place = place.moved(stage) if stage in ("tokenize", "stat") else place
        ended = place.stage(stage, "--text-field", "content.body")
        assert ended.status == 0, ended.err


# --- files -----------------------------------------------------------------------------------------------------------

MANY = 400
FEW_HANDLES = f"""
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    from dolma.cli.main import run

    if __name__ == "__main__":
        documents = ["--documents", "documents/*.jsonl", "--workers", "2"]
        for arguments in (
            ["tag", "-t", "length"],
            ["dedupe"],
            ["mix", "--keep", "length.words > 1", "--output", "mixed"],
            ["tokenize", "--tokenizer", {TOKENIZER!r}, "--output", "tokens"],
            ["stat", "--output", "stat"],
        ):
            status = run([*arguments, *documents])
            if status:
                sys.exit(f"{{arguments[0]}}: {{status}}")
"""


@pytest.mark.slow
def test_more_files_than_may_be_open_at_once(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    for i in range(MANY):
        line = {"id": str(i), "text": f"file number {i} of many"}
        (tmp_path / "documents" / f"{i:04d}.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "program.py").write_text(textwrap.dedent(FEW_HANDLES))
    ended = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.count(f"{MANY:,} documents in") == 5


# --- taggers ---------------------------------------------------------------------------------------------------------

TAGGERS = """
    import os
    from dolma.data.columns import DocInt
    from dolma.taggers.tagger import document_tagger

    @document_tagger(name="raising", n=DocInt("nothing"))
    def raising(text):
        if "bad" in text:
            raise ValueError("no such luck")
        return {"n": len(text)}

    @document_tagger(name="dying", n=DocInt("nothing"))
    def dying(text):
        if "bad" in text:
            os._exit(9)
        return {"n": len(text)}
"""


@pytest.fixture
def with_taggers(place: Place) -> Place:
    """Four files of good documents, of which `b.jsonl` has a bad one in its third line; taggers that mind."""
    (place.folder / "taggers.py").write_text(textwrap.dedent(TAGGERS))
    for name in "abcd":
        place.write(
            f"{name}.jsonl",
            [{"id": f"{name}{i}", "text": "bad" if (name, i) == ("b", 2) else "good"} for i in range(4)],
        )
    return place


def tag(place: Place, name: str, *arguments: str) -> object:
    return place.dolma(
        "tag", "--taggers", f"{place.folder}/taggers.py:{name}", "--documents", place.path("documents"),
        "--attributes", place.path("attributes"), *arguments,
    )  # fmt: skip


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_error_of_a_tagger_names_file_line_and_tagger(with_taggers: Place, workers: str) -> None:
    ended = tag(with_taggers, "raising", "--on-tagger-error", "fail", "--workers", workers)
    assert ended.status != 0
    assert with_taggers.path("documents", "b.jsonl") + ":3: " in ended.err
    assert "raising" in ended.err
    assert "no such luck" in ended.err
    assert "_manifest.json" not in with_taggers.files("attributes", "raising")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_error_of_a_tagger_stops_nothing_and_is_no_success(with_taggers: Place, workers: str) -> None:
    ended = tag(with_taggers, "raising", "--workers", workers)
    assert ended.status == 4
    assert "taggers failed on 1 document; at most 0 may be\n" in ended.err
    first = with_taggers.path("documents", "b.jsonl") + ":3: "
    assert f"  raising: ValueError: 1 document, first {first}" in ended.err
    assert "`--max-errors 1` accepts this" in ended.err
    assert "_manifest.json" in with_taggers.files("attributes", "raising")
    assert tag(with_taggers, "raising", "--workers", workers).status == 4, "nor is it later, when nothing is left to do"


def test_an_error_of_a_tagger_stops_no_later_stage(with_taggers: Place) -> None:
    (with_taggers.folder / "recipe.yaml").write_text(
        f"documents: [{with_taggers.path('documents')}/*.jsonl]\n"
        f"output: {with_taggers.path('out')}\n"
        f"tag: {{taggers: ['{with_taggers.folder}/taggers.py:raising']}}\n"
        "mix: {keep: ['COALESCE(raising.n, 0) > 0']}\n"
    )
    ended = with_taggers.dolma("run", with_taggers.path("recipe.yaml"))
    assert ended.status == 4
    assert "taggers failed on 1 document" in ended.err
    assert "mixed/manifest.json" in with_taggers.files("out")


def test_an_error_of_a_tagger_can_be_left_empty(with_taggers: Place) -> None:
    ended = tag(with_taggers, "raising", "--max-errors", "1")
    assert ended.status == 0, ended.err
    rows = pq.read_table(with_taggers.path("attributes", "raising", "b.jsonl.parquet")).to_pylist()
    assert [row["n"] for row in rows] == [4, 4, None, 4]


def test_a_tagger_that_kills_its_process_is_named_by_its_file(with_taggers: Place) -> None:
    ended = tag(with_taggers, "dying", "--workers", "2")
    assert ended.status == 1
    assert with_taggers.path("documents", "b.jsonl") in ended.err
    assert "_manifest.json" not in with_taggers.files("attributes", "dying")


# --- programs --------------------------------------------------------------------------------------------------------


def test_a_program_that_chose_fork_may_call_the_library(place: Place) -> None:
    place.write("a.jsonl", PLAIN)
    place.write("b.jsonl", PLAIN[:2])
    program = f"""
        import multiprocessing
        from dolma.config import TagConfig
        from dolma.data.dataset import Dataset
        from dolma.runner.options import RunOptions
        from dolma.taggers.tag import tag

        if __name__ == "__main__":
            multiprocessing.set_start_method("fork")
            dataset = Dataset(documents=({place.path("documents")!r},), attributes={place.path("attributes")!r})
            report = tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=2))
            print(report.ledger.total().out.documents)
    """
    (place.folder / "program.py").write_text(textwrap.dedent(program))
    ended = subprocess.run([sys.executable, place.path("program.py")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "6\n"), ended.stderr


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_row_over_the_limit_is_left_out_by_every_stage_whatever_columns_it_reads(place: Place, suffix: str) -> None:
    long = {1: "x" * 300, 2: "y" * 300}
    table = pa.table({"id": list("0123"), "text": ["a b c"] * 4, "metadata": [long.get(i, "z") for i in range(4)]})
    place.write(f"a.{suffix}", [])
    path = place.path("documents", f"a.{suffix}")
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as out:
            out.write_table(table)
    options = ("--max-line-bytes", "200", "--on-error", "skip", "--max-errors", "2")
    for stage in ("tag", "dedupe", "mix"):
        assert place.stage(stage, *options).status == 0
    (written,) = place.files("out", "documents").values()
    mixed = [json.loads(line)["id"] for line in written.splitlines()]
    assert mixed == ["0", "3"]


def test_behind_a_link_in_an_output_only_files_of_its_manifest_are_replaced(place: Place) -> None:
    place.write("a.jsonl", PLAIN)
    place.write("b.jsonl", [{"id": "b", "text": "B"}])
    assert place.stage("tag").status == place.stage("mix").status == 0
    documents, elsewhere = place.folder / "out" / "documents", place.folder / "elsewhere"
    documents.rename(elsewhere)
    documents.symlink_to(elsewhere)
    (elsewhere / "kept.txt").write_text("of another program")
    places = ("--documents", place.path("documents"), "--attributes", place.path("attributes"), "-o", place.path("out"))
    again = ("--keep", "length.characters > 2", "--format", ".jsonl.gz", "--overwrite")
    assert place.dolma("mix", *places, *again).status == 0
    assert documents.is_symlink()
    assert place.files("elsewhere").keys() == {"a.jsonl.gz", "b.jsonl.gz", "kept.txt"}
    assert place.dolma("verify", place.path("out")).status == 0
