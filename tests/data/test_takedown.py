"""Documents that are taken down: the list, and readers. Run: pytest tests/data/test_takedown.py"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.batch import TextBatch
from dolma.data.documents import DocumentWriter, Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.data.shards import Shard
from dolma.data.takedown import Passing, Takedown, TakedownList, host_of, new_list, passing, read_takedown, takedown_at
from dolma.errors import ConfigError, DataError
from dolma.runner.ledger import Ledger

LIST = TakedownList(salt=b"s" * 16)


def write(path: Path, listed: TakedownList) -> Takedown:
    path.write_bytes(listed.encoded())
    found = takedown_at(str(path))
    assert found is not None
    return found


def shard(path: Path) -> Shard:
    return Shard(path=str(path), name=path.name, root="", inner="", size=path.stat().st_size)


def read(path: Path, reading: Reading | None = None) -> list[tuple[str, int, bytes]]:
    batches = read_batches(shard(path), reading or Reading(), intake=Intake(), records=True)
    return [
        (id, int(line), record)
        for batch in batches
        for id, line, record in zip(batch.ids, batch.lines, batch.records or [], strict=True)
    ]


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    listed = new_list().with_entries(["a", "b\n", "é"], ["a.example"])
    write(tmp_path / "list.jsonl", listed)
    assert read_takedown(str(tmp_path / "list.jsonl")) == listed
    assert not any(id in (tmp_path / "list.jsonl").read_text() for id in ("é", "a.example"))


def test_the_same_entries_are_the_same_list_in_any_order() -> None:
    one, other = LIST.with_entries(["a", "b"], []), LIST.with_entries(["b"], []).with_entries(["a", "b"], [])
    assert one.encoded() == other.encoded() and one.identity == other.identity != ""
    assert LIST.identity == "" and LIST.with_entries(["a"], []).identity != one.identity


def test_an_id_has_another_hash_under_another_salt_and_as_a_domain() -> None:
    assert LIST.hash_of_id("a") != TakedownList(salt=b"t" * 16).hash_of_id("a")
    assert LIST.hash_of_id("a.example") != LIST.hash_of_domain("a.example")


@pytest.mark.parametrize(
    ("url", "is_held"),
    [
        ("http://a.example/x", True),
        ("https://WWW.A.example:8080", True),
        ("x.y.a.example/page", True),
        ("http://aa.example", False),
        ("http://example", False),
        ("no url", False),
        (None, False),
    ],
)
def test_a_domain_holds_its_subdomains(url: str | None, is_held: bool) -> None:
    assert LIST.with_entries([], ["a.example"]).holds_url(url) is is_held


def test_hosts_are_compared_in_one_form() -> None:
    assert host_of("WWW.Example.org") == host_of("https://example.org/x") == "example.org"
    assert host_of("192.0.2.1") == "192.0.2.1" and host_of("two words") is None


def test_documents_are_found_by_id_and_url() -> None:
    listed = LIST.with_entries([f"id {i}" for i in range(0, 1000, 7)], ["a.example"])
    records = [b'{"metadata": {"url": "http://b.a.example"}}', b'{"url": "a.example/1"}', b"{}", b'{"url": 5}']
    batch = TextBatch.of([""] * 4, ids=["id 0", "id 1", "id 7", "id 8"], records=records)
    assert Passing(listed).mask(batch).tolist() == [True, True, True, False]


def test_readers_pass_over_them_and_the_ledger_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": f"{i}", "text": "ab", "source": "s"}) + "\n" for i in range(5)))
    takedown = write(tmp_path / "list.jsonl", LIST.with_entries(["1", "3", "9"], []))
    intake = Intake()
    batches = list(read_batches(shard(path), Reading(takedown=takedown), intake=intake))
    assert [id for batch in batches for id in batch.ids] == ["0", "2", "4"]
    assert (intake.documents, intake.taken_down) == (3, {"s": (2, 4)})
    ledger = Ledger()
    for batch in batches:
        ledger.pass_on(batch)
    ledger.fail("s", intake)
    ledger.check("test")
    assert ledger.account("s").dropped["takedown"].documents == 2


def test_the_list_is_a_part_of_what_decides(tmp_path: Path) -> None:
    takedown = write(tmp_path / "list.jsonl", LIST.with_entries(["a"], []))
    assert Reading(takedown=takedown).identity == Reading().identity | {"takedown": takedown.identity}
    (tmp_path / "empty.jsonl").write_bytes(LIST.encoded())
    assert takedown_at(str(tmp_path / "empty.jsonl")) is None


def test_a_list_that_changed_is_refused(tmp_path: Path) -> None:
    takedown = write(tmp_path / "list.jsonl", LIST.with_entries(["a"], []))
    write(tmp_path / "list.jsonl", LIST.with_entries(["a", "b"], []))
    with pytest.raises(DataError, match="changed while it was being read"):
        passing(takedown)


def test_no_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\$\.takedown: no such file"):
        read_takedown(str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "expected an `id` or a `domain`"),
        ('{"id": "ab"}', "expected 32 hex digits"),
        ("x", "malformed"),
        ("", ""),
    ],
)
def test_a_line_that_is_no_entry_is_an_error(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_bytes(LIST.encoded() + f"{line}\n".encode())
    with pytest.raises(DataError, match=rf"list\.jsonl:2: is no line of a list of documents taken down: .*{said}"):
        read_takedown(str(path))


def test_a_file_that_is_no_list_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    long = b'{"format_version": 1, "salt": "%s"}\n' % (b"00" * 65)
    for content in (b"", b'{"id": "a"}\n', b'{"format_version": 2, "salt": ""}\n', b"\xff", long):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"list\.jsonl:1: is no line of a list"):
            read_takedown(str(path))


# --- records out of files --------------------------------------------------------------------------------------------

NAMES = ["a.jsonl", "a.json.gz", "a.jsonl.zst", "a.csv", "a.tsv.bz2", "a.parquet", "a.arrow", "a.arrows"]
RECORDS = [{"id": f"d{i}", "text": f'text\n "{i}", {i}', "source": "s", "n": i} for i in range(10)]


@pytest.mark.parametrize("name", NAMES)
def test_other_records_keep_their_lines_and_bytes(tmp_path: Path, name: str) -> None:
    path, out = tmp_path / name, tmp_path / f"out.{name}"
    with DocumentWriter(str(path)) as writer:
        writer.write([json.dumps(record).encode() for record in RECORDS])
    before = read(path)
    for gone in (["d0", "d4", "d9"], ["d5"], ["d1", "d2", "d3", "d6", "d7", "d8"]):
        lines = np.array([line for id, line, _ in before if id in gone])
        written = format_of(str(path)).without(str(path), lines, str(out))
        assert written.bytes == out.stat().st_size
        out.replace(path)
        left = [one for one in read(path) if one[0] not in gone]
        assert read(path) == left
        assert left == [one for one in before if one in left]
    assert read(path) == []


def test_lines_of_others_are_the_bytes_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "a" , "id":"1"}\r\n\n  {"id": "2", "text": "b"}\nbroken\n{"id":"3","text":"c"}'
    )
    for line, left in (
        (3, b'\xef\xbb\xbf{"text": "a" , "id":"1"}\r\n\n\nbroken\n{"id":"3","text":"c"}'),
        (5, b'\xef\xbb\xbf{"text": "a" , "id":"1"}\r\n\n  {"id": "2", "text": "b"}\nbroken\n'),
    ):
        format_of(str(path)).without(str(path), np.array([line]), str(tmp_path / "b.jsonl"))
        assert (tmp_path / "b.jsonl").read_bytes() == left


def test_rows_of_cells_of_others_are_the_bytes_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid,text\r\n1,"one\n line"\r\n\n2,two\n3,"three"')
    format_of(str(path)).without(str(path), np.array([2]), str(tmp_path / "b.csv"))
    assert (tmp_path / "b.csv").read_bytes() == b'\xef\xbb\xbfid,text\r\n\n\n\n2,two\n3,"three"'
    assert [(id, line) for id, line, _ in read(tmp_path / "b.csv")] == [("2", 5), ("3", 6)]


def test_a_parquet_file_of_others_stays_as_compressed_as_it_was(tmp_path: Path) -> None:
    path, out = str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["a", "b"]}), path, compression="snappy")
    format_of(path).without(path, np.array([1]), out)
    assert pq.ParquetFile(out).metadata.row_group(0).column(0).compression == "SNAPPY"


def test_a_list_of_removed_lines_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"id": ["1"], "text": ["a"]}).replace_schema_metadata({"dolma.removed": "[0]"})
    pq.write_table(table, path)
    with pytest.raises(DataError, match=r"a\.parquet: its metadata 'dolma\.removed' is no list of lines"):
        read(path)
