"""`pytest tests/e2e/test_exit_status.py`: what a script sees when a stage meets broken input.

Every error ends with a status, names the place, and leaves nothing that looks finished.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from .conftest import Place

STAGES = ("tag", "dedupe", "mix", "tokenize", "stat")
USES_ATTRIBUTES = ("mix", "stat")
GOOD = [{"id": f"d{i}", "text": f"document number {i}", "source": "books"} for i in range(6)]


def measured(place: Place, stage: str, *arguments: str) -> None:
    """Give the stage the attributes that it reads."""
    if stage in USES_ATTRIBUTES:
        assert place.stage("tag", *arguments).status in (0, 4)


# --- records that cannot be used -------------------------------------------------------------------------------------

BAD_RECORDS = {
    "broken JSON": b'{"id": "x", "text": "never clos',
    "no JSON": b"Traceback (most recent call last):",
    "no text": b'{"id": "x", "content": "elsewhere"}',
    "text is a number": b'{"id": "x", "text": 5}',
    "text is null": b'{"id": "x", "text": null}',
    "a list": b'["id", "text"]',
}


@pytest.fixture
def bad(place: Place) -> Place:
    """Six good records with a broken one as the fourth line."""
    place.write("a.jsonl", [*GOOD[:3], BAD_RECORDS["broken JSON"], *GOOD[3:]])
    return place


@pytest.mark.parametrize("stage", STAGES)
def test_a_broken_line_ends_with_status_3_and_its_place(bad: Place, stage: str) -> None:
    measured(bad, stage, "--on-error", "skip")
    ended = bad.stage(stage)
    assert ended.status == 3
    assert f"{bad.path('documents', 'a.jsonl')}:4: not valid JSON" in ended.err
    offset = sum(len(line) for line in Path(bad.path("documents", "a.jsonl")).read_bytes().splitlines(True)[:3])
    assert f"(byte {offset})" in ended.err


@pytest.mark.parametrize("stage", STAGES)
def test_a_broken_line_leaves_no_result(bad: Place, stage: str) -> None:
    if stage == "mix":
        measured(bad, stage, "--on-error", "skip")
    bad.stage(stage)
    assert bad.results(stage) == []


@pytest.mark.parametrize("stage", STAGES)
def test_after_a_broken_line_was_mended_the_same_command_works(bad: Place, stage: str) -> None:
    bad.stage(stage)
    bad.write("a.jsonl", GOOD)
    measured(bad, stage)
    assert bad.stage(stage).status == 0
    assert bad.results(stage) != []


@pytest.mark.parametrize("stage", STAGES)
def test_skip_finishes_with_status_4_and_the_count(bad: Place, stage: str) -> None:
    measured(bad, stage, "--on-error", "skip")
    ended = bad.stage(stage, "--on-error", "skip")
    assert ended.status == 4
    assert "1 records were skipped" in ended.err
    assert f"{bad.path('documents', 'a.jsonl')}:4: not valid JSON" in ended.err
    assert "--max-errors 1" in ended.err
    assert bad.results(stage) != []


@pytest.mark.parametrize("stage", STAGES)
def test_skip_within_max_errors_is_a_success(bad: Place, stage: str) -> None:
    measured(bad, stage, "--on-error", "skip")
    ended = bad.stage(stage, "--on-error", "skip", "--max-errors", "1")
    assert ended.status == 0
    assert "1 bad record left out" in ended.out or stage == "stat"


@pytest.mark.parametrize("stage", STAGES)
def test_a_rerun_after_skipping_says_so_again(bad: Place, stage: str) -> None:
    measured(bad, stage, "--on-error", "skip")
    bad.stage(stage, "--on-error", "skip")
    ended = bad.stage(stage, "--on-error", "skip")
    assert ended.status == 4
    assert "1 records were skipped" in ended.err


@pytest.mark.parametrize("stage", STAGES)
def test_quarantine_keeps_the_raw_bytes(bad: Place, stage: str) -> None:
    measured(bad, stage, "--on-error", "skip")
    ended = bad.stage(stage, "--on-error", "quarantine", "--quarantine", bad.path("quarantine"))
    assert ended.status == 4
    kept = bad.files("quarantine")
    assert BAD_RECORDS["broken JSON"] + b"\n" in kept.values()
    assert any(b'"line":4' in data for path, data in kept.items() if path.endswith(".reasons.jsonl"))


@pytest.mark.parametrize("kind", sorted(BAD_RECORDS))
@pytest.mark.parametrize("stage", ["tag", "dedupe", "tokenize"])
def test_every_kind_of_bad_record_is_named_or_skipped(place: Place, stage: str, kind: str) -> None:
    path = place.write("a.jsonl", [GOOD[0], BAD_RECORDS[kind], GOOD[1]])
    ended = place.stage(stage)
    assert ended.status == 3
    assert f"{path}:2: " in ended.err
    assert place.stage(stage, "--on-error", "skip").status == 4


def test_a_record_without_text_says_which_keys_it_has(place: Place) -> None:
    place.write("a.jsonl", [{"id": "x", "content": "elsewhere"}])
    assert "it has: content, id" in place.stage("tag").err


def test_a_record_without_the_key_of_dedupe_is_named(place: Place) -> None:
    path = place.write("a.jsonl", [{**GOOD[0], "metadata": {"url": "u"}}, GOOD[1]])
    ended = place.dolma(
        "dedupe", "--by", "metadata.link", "--documents", str(path), "--attributes", place.path("attributes")
    )
    assert ended.status == 3
    assert f"{path}:1: " in ended.err or str(path) in ended.err
    assert place.results("dedupe") == []


# --- files that cannot be used ---------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    """Leave the first two thirds of the file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_truncated_file_is_an_error_whatever_the_policy(place: Place, stage: str, suffix: str, policy: str) -> None:
    noise = [
        {"id": f"{i}", "text": " ".join(str((i * 7919 + j * 104729) % 9973) for j in range(99))} for i in range(99)
    ]
    path = place.write(f"a{suffix}", noise)
    measured(place, stage)
    attributes = place.files("attributes")
    cut(path)
    ended = place.stage(stage, "--on-error", policy)
    assert ended.status == 3
    assert f"{path}: truncated {'gzip' if suffix.endswith('gz') else 'zstd'}" in ended.err
    assert "(byte " in ended.err
    assert place.results(stage) == []
    assert place.files("attributes") == attributes or stage in ("tag", "dedupe")


@pytest.mark.parametrize("stage", ["tag", "dedupe", "tokenize"])
def test_a_zst_file_of_several_frames_is_read_whole(place: Place, stage: str) -> None:
    path = place.write("a.jsonl.zst", GOOD[:3])
    more = place.write("b.jsonl.zst", GOOD[3:])
    path.write_bytes(path.read_bytes() + more.read_bytes())
    more.unlink()
    ended = place.stage(stage)
    assert ended.status == 0
    assert "6 documents in" in ended.out


@pytest.mark.parametrize("stage", STAGES)
def test_documents_that_are_not_there_end_with_status_2(place: Place, stage: str) -> None:
    (place.folder / "documents").mkdir()
    ended = place.stage(stage)
    assert ended.status == 2
    assert f"no document file matches '{place.path('documents')}'" in ended.err
    assert place.results(stage) == []


# --- attributes that do not fit --------------------------------------------------------------------------------------


def rewrite(path: Path, rows: list[dict[str, Any]]) -> None:
    """Other rows in an attribute file, as if a foreign program had written it: there is no manifest to object."""
    schema = pq.read_schema(path)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    (path.parent / "_manifest.json").unlink()


@pytest.fixture
def tagged(place: Place) -> Place:
    place.write("a.jsonl", GOOD)
    place.write("b.jsonl", [{**record, "id": f"b{record['id']}"} for record in GOOD])
    assert place.stage("tag").status == 0
    return place


def test_mix_stops_at_a_missing_attribute_file(tagged: Place) -> None:
    gone = Path(tagged.path("attributes", "length", "b.jsonl.parquet"))
    gone.unlink()
    ended = tagged.stage("mix")
    assert ended.status == 3
    assert tagged.path("documents", "b.jsonl") in ended.err
    assert str(gone) in ended.err
    assert tagged.results("mix") == []


def test_stat_counts_the_documents_of_a_missing_attribute_file(tagged: Place) -> None:
    Path(tagged.path("attributes", "length", "b.jsonl.parquet")).unlink()
    ended = tagged.stage("stat", "--json")
    assert ended.status == 0
    words = json.loads(ended.out)["details"]["attributes"]["length"]["words"]["all"]
    assert (words["count"], words["missing"]) == (6, 6)


OTHER_ROWS = {
    "another id": (lambda rows: [*rows[:2], {**rows[2], "id": "other"}, *rows[3:]], 3),
    "another order": (lambda rows: [rows[1], rows[0], *rows[2:]], 1),
    "shorter": (lambda rows: rows[:-1], 6),
    "empty": (lambda rows: [], 1),
    "longer": (lambda rows: [*rows, rows[0]], None),
}


@pytest.mark.parametrize("kind", list(OTHER_ROWS))
def test_mix_stops_at_the_first_row_that_is_of_another_document(tagged: Place, kind: str) -> None:
    change, line = OTHER_ROWS[kind]
    path = Path(tagged.path("attributes", "length", "b.jsonl.parquet"))
    rewrite(path, change(pq.read_table(path).to_pylist()))
    ended = tagged.stage("mix")
    assert ended.status == 3
    assert tagged.path("documents", "b.jsonl") + (f":{line}: " if line is not None else ": ") in ended.err
    assert str(path) in ended.err
    assert not any(Path(name).stem == "b" or name == "manifest.json" for name in tagged.results("mix"))


@pytest.mark.parametrize("kind", list(OTHER_ROWS))
def test_stat_stops_at_the_first_row_that_is_of_another_document(tagged: Place, kind: str) -> None:
    change, line = OTHER_ROWS[kind]
    path = Path(tagged.path("attributes", "length", "b.jsonl.parquet"))
    rewrite(path, change(pq.read_table(path).to_pylist()))
    ended = tagged.stage("stat")
    assert ended.status == 3
    assert tagged.path("documents", "b.jsonl") + (f":{line}: " if line is not None else ": ") in ended.err
    assert str(path) in ended.err
    assert tagged.results("stat") == []


def test_attributes_that_changed_since_they_were_written_are_an_error(tagged: Place) -> None:
    path = Path(tagged.path("attributes", "length", "b.jsonl.parquet"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    ended = tagged.stage("mix")
    assert ended.status == 3
    assert f"{path}: changed since it was written" in ended.err
    assert tagged.results("mix") == []


@pytest.mark.parametrize("stage", USES_ATTRIBUTES)
def test_a_truncated_attribute_file_is_an_error(tagged: Place, stage: str) -> None:
    path = Path(tagged.path("attributes", "length", "b.jsonl.parquet"))
    cut(path)
    ended = tagged.stage(stage)
    assert ended.status == 3
    assert str(path) in ended.err
    assert not any(name.endswith("manifest.json") for name in tagged.results(stage))


# --- again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_a_rerun_after_success_does_nothing_and_says_so(tagged: Place, stage: str) -> None:
    assert tagged.stage(stage).status == 0
    files, times = tagged.files(), tagged.times()
    ended = tagged.stage(stage)
    assert ended.status == 0
    assert "nothing to do" in ended.out
    assert tagged.files() == files
    assert tagged.times() == times


@pytest.mark.parametrize("stage", STAGES)
def test_a_finished_stage_leaves_no_traces_of_its_work(tagged: Place, stage: str) -> None:
    tagged.stage(stage)
    assert [path for path in tagged.files() if path.startswith(".") or "/." in path] == []


@pytest.mark.parametrize("stage", STAGES)
def test_other_documents_in_the_same_output_are_refused(tagged: Place, stage: str) -> None:
    tagged.stage(stage)
    before = tagged.files("attributes"), tagged.files("out")
    tagged.write("b.jsonl", [{"id": "new", "text": "new"}])
    if stage in USES_ATTRIBUTES:
        assert tagged.stage("tag", "--overwrite").status == 0
        before = tagged.files("attributes"), tagged.files("out")
    ended = tagged.stage(stage)
    assert ended.status == 2
    assert "--overwrite" in ended.err
    assert (tagged.files("attributes"), tagged.files("out")) == before
    assert tagged.stage(stage, "--overwrite").status == 0


@pytest.mark.parametrize("stage", ["tag", "dedupe", "mix", "stat"])
def test_an_empty_file_is_a_corpus_of_no_documents(place: Place, stage: str) -> None:
    place.write("a.jsonl", [])
    measured(place, stage)
    ended = place.stage(stage)
    assert ended.status == 0
    assert "0 documents in, 0 out" in ended.out


def test_no_token_shard_is_made_of_no_documents(place: Place) -> None:
    place.write("a.jsonl", [])
    ended = place.stage("tokenize")
    assert ended.status != 0
    assert "0 documents were read" in ended.err or "there is nothing to write" in ended.err
    assert place.results("tokenize") == []
