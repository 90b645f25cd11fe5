"""The benchmark scripts run. No figure is looked at. Run: pytest tests/benchmarks"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORUM = "data/sample/forum/documents/*.jsonl.gz"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def printed(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_floor_prints_both_floors():
    lines = printed("benchmarks.floor", "--repeats", "1", FORUM).splitlines()
    assert [line.split(":")[0] for line in lines] == ["reading", "reading and writing"]


def test_stages_prints_a_row_per_stage():
    rows = printed("benchmarks.stages", "--repeats", "1", FORUM)
    for name in ("tag length gopher", "dedupe text", "mix, one rule", "tokenize", "stat"):
        assert f"| {name} |" in rows


def test_workers_prints_what_one_and_two_take():
    rows = printed("benchmarks.workers", "--copies", "2", "--repeats", "1", "--stages", "tokenize", "--", FORUM)
    assert "| tokenize |" in rows and "| tokenize, little to do |" in rows


def test_memory_prints_a_row_per_stage():
    rows = printed("benchmarks.memory", "--times", "1", "2", "--", FORUM)
    assert all(f"| {name} |" in rows for name in ("tag", "dedupe", "mix", "tokenize"))


def test_taggers_prints_passes_and_every_tagger_alone():
    rows = printed("benchmarks.taggers", "--repeats", "1", "--alone", "1", "--sample", "1", FORUM)
    assert "| gopher_v1 c4_v2 fineweb length |" in rows
    assert "| length |" in rows
    assert "Two workers are " in rows
    assert "First use of all " in rows


def test_pii_prints_precision_and_recall_by_type(tmp_path):
    spans = [{"start": 0, "end": 6, "type": "EMAIL_ADDRESS"}, {"start": 8, "end": 11, "type": "EMAIL_ADDRESS"}]
    path = tmp_path / "labelled.jsonl"
    path.write_text(json.dumps({"text": "a@b.de, who, c@d.de", "spans": spans}) + "\n", encoding="utf-8")
    assert "| pii | EMAIL_ADDRESS | 2 | 2 | 1 | 1 | 1 | 0.500 | 0.500 |" in printed("benchmarks.pii", str(path))


def test_recall_prints_a_row_for_each_similarity_and_labelled_documents(tmp_path):
    (tmp_path / "truth").mkdir()
    text = "one two three four five six seven eight nine ten"
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as out:
        out.writelines(
            json.dumps({"id": str(i), "text": one}) + "\n" for i, one in enumerate([text, text, text + " x"])
        )
    for name, line in (("a.pairs", "0\t2\t0.85714\t1.0\n"), ("a.exact", "1\t0\n1\t1\n")):
        with gzip.open(tmp_path / "truth" / f"{name}.tsv.gz", "wt") as out:
            out.write(line)
    rows = printed("benchmarks.recall", "--pairs", "2", "--labelled", str(tmp_path))
    assert "| default, 18 x 7 | all | | | | | precision, verified: | 1.0000 |" in rows
    assert "| default, 18 x 7 | 1 of 1 | 1 of 1 | 2 of 2 |" in rows


def test_growth_prints_a_row_for_each_method_and_size():
    lines = printed("benchmarks.growth", "--megabytes", "0.01", "--methods", "exact", "--", FORUM).splitlines()
    assert [line.split("|")[2].strip() for line in lines if line.startswith("| exact |")] == ["1 x", "4 x", "16 x"]


def test_semantic_prints_a_row_for_each_number_of_cells():
    lines = printed("benchmarks.semantic", "--documents", "200", "--cells", "1", "2").splitlines()
    assert sum(line.startswith(("| random | 1 | 0.99 | 100.0% | 0.0 |", "| topics | 2 | 0.9")) for line in lines) == 3


def test_code_prints_a_row_per_tool():
    rows = printed("benchmarks.code", "data/sample/code/documents/*.jsonl.gz")
    assert "| signs |" in rows and "| pygments |" in rows
    assert "Share of comments: of " in rows


def test_classifiers_prints_figures_by_label(tmp_path):
    path = tmp_path / "labelled.jsonl"
    records = [{"text": f"{'good' if i % 2 else 'bad'} text {i}", "kind": i % 2} for i in range(60)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    rows = printed("benchmarks.classifiers", f"kind={path}").splitlines()
    assert "labelled: 60 documents. Means over 5 splits, about 20% held out in each." in rows
    assert sum(row.startswith("| labelled | 25 epochs at 0.5 | ") for row in rows) == 3


def test_models_prints_a_row_per_part():
    rows = printed("benchmarks.models", "--repeats", "1", "--megabytes", "0.2", FORUM)
    for name in ("KenLM alone, on words", "tagger: SentencePiece, `normalize: ccnet`"):
        assert f"| {name} |" in rows


def test_gpu_skips_where_there_is_none():
    torch = pytest.importorskip("torch", reason="torch is not installed (dolma[train])")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert printed("benchmarks.gpu") == "skipped: torch sees no CUDA device here\n"


def test_reshard_prints_a_row_per_command():
    rows = printed("benchmarks.reshard", "--copies", "2", "--repeats", "1", FORUM)
    assert all(f"| {name} |" in rows for name in ("floor", "reshard, in order", "mix, shuffled"))


def test_the_waterfall_is_measured() -> None:
    rows = printed("benchmarks.waterfall", "--rows", "2000", "--rounds", "1").splitlines()
    assert rows[0].startswith("rows 2,000, rules 20, columns 22")
