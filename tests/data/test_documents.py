"""`pytest tests/data/test_documents.py`: JSON lines to batches, the bad-record policy, the rule for damaged text."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Shard, pieces
from dolma.data.documents import LISTED_FAILURES, DocumentWriter, Intake, Reading, read_batches
from dolma.data.formats import records as decoding
from dolma.errors import DataError, RecordError


def put(folder: Path, *lines: bytes | dict[str, Any], end: bytes = b"\n") -> Shard:
    path = folder / "books" / "documents" / "a.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((line if isinstance(line, bytes) else msgspec.json.encode(line)) + end for line in lines))
    return shard_at(path)


def shard_at(path: Path) -> Shard:
    (shard,) = Dataset(documents=(str(path),)).shards()
    return shard


def read(shard: Shard, intake: Intake | None = None, *, batch_bytes: int = 1 << 20, **reading: Any) -> list[TextBatch]:
    options = Reading(batch_bytes=batch_bytes, **reading)
    return list(read_batches(shard, options, intake=intake or Intake(), records=True))


def texts(shard: Shard, **reading: Any) -> list[str]:
    return [text for batch in read(shard, **reading) for text in batch.texts()]


# --- what a record is ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True, params=[True, False], ids=["kernel", "decoder"])
def worth_a_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is of both ways of reading a text."""
    worth = decoding._worth_a_kernel
    monkeypatch.setattr(decoding, "_worth_a_kernel", lambda reading, piece: request.param and worth(reading, piece))


def test_a_batch_holds_every_field(tmp_path: Path) -> None:
    shard = put(tmp_path, {"id": "x", "text": "ä", "source": "s", "metadata": {"n": 1}}, {"text": "b"})
    intake = Intake()
    (batch,) = read_batches(shard, Reading(), intake=intake, metadata=True)
    assert (batch.ids, batch.sources, batch.texts()) == (["x", "a.jsonl:2"], ["s", "books"], ["ä", "b"])
    assert (batch.lines.tolist(), batch.offsets.tolist(), batch.path) == ([1, 2], [0, 2, 3], shard.path)
    assert (batch.metadata, batch.records) == ([b'{"n":1}', None], None)
    assert (intake.documents, intake.bytes, intake.n_failed, intake.repaired) == (2, 3, 0, {})


def test_records_are_the_lines_byte_for_byte(tmp_path: Path) -> None:
    lines = [b'{"text":"a",  "score":1.50, "text2": "\\u00e4", "big": 123456789012345678901234567890}', b'{ "text":""}']
    (batch,) = read(put(tmp_path, *lines))
    assert batch.records == lines


def test_blank_lines_are_no_records_and_count_as_lines(tmp_path: Path) -> None:
    shard = put(tmp_path, b"", {"text": "a"}, b"  \t", {"text": "b"}, b"")
    assert [batch.lines.tolist() for batch in read(shard)] == [[2, 4]]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"{}", b"\r"])
def test_lines_of_any_end_are_decoded_a_block_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes, last: bytes
) -> None:
    by_line: list[int] = []
    one = decoding.RecordBlocks._one

    def counted(*arguments: Any, line: int, **more: Any) -> Any:
        by_line.append(line)
        return one(*arguments, line=line, **more)

    monkeypatch.setattr(decoding.RecordBlocks, "_one", counted)
    lines = [b'{"id":"a","text":"a\\r\\nb"}', b'{"text":"b","metadata":{"n":1}}']
    shard = put(tmp_path, *lines, end=end)
    with open(shard.path, "ab") as file:
        file.write(last if last != b"{}" else b'{"text":"c"}')
    lines += [b'{"text":"c"}'] if last == b"{}" else []
    (batch,) = read(shard_at(Path(shard.path)))
    assert (batch.records, batch.texts()) == (lines, ["a\r\nb", "b", "c"][: len(lines)])
    assert (batch.lines.tolist(), batch.ids[:2]) == ([1, 2, 3][: len(lines)], ["a", "a.jsonl:2"])
    assert not by_line


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_empty_lines_do_not_slow_a_block_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    monkeypatch.setattr(decoding.RecordBlocks, "_line_by_line", None)
    lines = [b"", b'{"text":"a"}', b"", b"", b'{"text":"b","x":NaN}', b""]
    (batch,) = read(put(tmp_path, *lines, end=end))
    assert (batch.texts(), batch.lines.tolist()) == (["a", "b"], [2, 5])
    assert batch.records == [b'{"text":"a"}', b'{"text":"b","x":null}']


@pytest.mark.parametrize("other", [b'{"text":"x"}', b"no JSON"])  # a block at once, and line by line
def test_the_last_value_of_a_key_counts(tmp_path: Path, other: bytes) -> None:
    twice = b'{"id":"a","id":"b","text":"one","text":"two","source":"s","source":"t"}'
    batch = read(put(tmp_path, twice, other), on_error="skip")[0]
    assert (batch.ids[0], batch.texts()[0], batch.sources[0]) == ("b", "two", "t")


def test_a_file_of_empty_lines_holds_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding.RecordBlocks, "_line_by_line", None)
    assert list(read(put(tmp_path, b"", b"", b""))) == []


def test_windows_line_ends_are_not_in_records(tmp_path: Path) -> None:
    (batch,) = read(put(tmp_path, b'{"text":"a"}', b'{"text":"b"}', end=b"\r\n"))
    assert batch.records == [b'{"text":"a"}', b'{"text":"b"}']


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"7", "7"),
        (b"-1", "-1"),
        (b'""', ""),
        (b"null", None),
        (b"1.0", "1"),
        (b"-2e3", "-2000"),
        (b"-0.0", "0"),
        (b"9007199254740991.0", "9007199254740991"),
        (b"9007199254740993", "9007199254740993"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_ids_and_sources_are_text(tmp_path: Path, given: bytes, expected: str | None) -> None:
    (batch,) = read(put(tmp_path, b'{"text":"","id":%b,"source":%b}' % (given, given)))
    assert (batch.ids, batch.sources) == (
        ["a.jsonl:1" if expected is None else expected],
        [expected or "books"],
    )


@pytest.mark.parametrize("given", [b"1.5", b"9007199254740992.0", b"1e300", b"true", b"[]", b"{}"])
@pytest.mark.parametrize("role", ["id", "source"])
def test_what_cannot_be_an_id_says_the_way_out(tmp_path: Path, given: bytes, role: str) -> None:
    shard = put(tmp_path, b'{"text":"","%b":%b}' % (role.encode(), given))
    with pytest.raises(RecordError, match=rf"- at `\$\.{role}` \(byte 0\)\n  `--{role}-field NAME` takes another"):
        read(shard)
    (batch,) = read(shard, **{role: "none"})
    assert (batch.ids, batch.sources) == (["a.jsonl:1"], ["books"])


def test_ids_that_floats_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    shard = put(tmp_path, *(b'{"text":"","id":%d.0}' % (2**53 + n) for n in range(2)))
    with pytest.raises(RecordError, match=r"got 9007199254740992\.0, no whole number below 2\*\*53, - at `\$\.id`"):
        read(shard)


def test_a_missing_id_is_shard_and_line(tmp_path: Path) -> None:
    shard = put(tmp_path, b"", {"text": "a"})
    assert read(shard)[0].ids == ["a.jsonl:2"]


def test_empty_and_blank_texts_are_documents(tmp_path: Path) -> None:
    assert texts(put(tmp_path, {"text": ""}, {"text": " \n"})) == ["", " \n"]


def test_fields_by_dotted_path(tmp_path: Path) -> None:
    shard = put(
        tmp_path,
        {"metadata": {"body": {"t": "a"}, "key": 3, "from": "web"}},
        {"metadata": {"body": {"t": "b"}, "odd-name": 1}},
    )
    fields = {"text": "metadata.body.t", "id": "metadata.key", "source": "metadata.from"}
    (batch,) = read(shard, **fields)
    assert (batch.texts(), batch.ids, batch.sources) == (["a", "b"], ["3", "a.jsonl:2"], ["web", "books"])


@pytest.mark.parametrize("metadata", [False, True])
def test_a_key_with_a_dot_comes_before_a_way_through_objects(tmp_path: Path, metadata: bool) -> None:
    records = [
        {"meta.text": "a", "meta": {"text": "no", "id": 1}, "meta.id": 2},
        {"meta": {"text": "b", "id": 3}},
        {"meta.text": "c", "meta": "no object", "meta.id": None},
    ]
    shard = put(tmp_path, *records)
    (batch,) = read_batches(shard, Reading(text="meta.text", id="meta.id"), intake=Intake(), metadata=metadata)
    assert (batch.texts(), batch.ids) == (["a", "b", "c"], ["2", "3", "a.jsonl:3"])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"meta":{"body":"a"}}', r"missing required field `meta\.text`; it has: meta"),
        (b'{"meta":"text"}', r"Expected `object`, got `str` - at `\$\.meta`"),
        (b'{"meta":{"text":5}}', r"Expected `str`, got `int` - at `\$\.meta\.text`"),
        (b'{"meta.text":null,"meta":{"text":"a"}}', r"Expected `str`, got `null`"),
    ],
)
def test_a_dotted_text_that_is_not_there(tmp_path: Path, record: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        read(put(tmp_path, record), text="meta.text")


def test_a_field_may_lie_in_another(tmp_path: Path) -> None:
    shard = put(tmp_path, {"doc": "a"}, {"doc": "b", "doc.id": 7})
    assert [batch.ids for batch in read(shard, text="doc", id="doc.id", on_error="skip")] == [["7"]]


@pytest.mark.parametrize("metadata", ['{"url": "u"}', ' {"url": "u"}\n'])
def test_metadata_as_json_in_a_string_is_read(tmp_path: Path, metadata: str) -> None:
    shard = put(tmp_path, {"text": "a", "metadata": metadata}, {"text": "b", "metadata": "{no JSON"})
    (batch,) = read_batches(shard, Reading(), intake=Intake(), metadata=True)
    assert batch.metadata == [b'{"url": "u"}', b'"{no JSON"']


def test_metadata_is_there_beside_fields_taken_from_it(tmp_path: Path) -> None:
    shard = put(tmp_path, b'{"text": "a", "metadata": {"id": "x"}}', {"text": "b"})
    (batch,) = read_batches(shard, Reading(id="metadata.id"), intake=Intake(), metadata=True)
    assert (batch.ids, batch.metadata) == (["x", "a.jsonl:2"], [b'{"id": "x"}', None])


def test_field_names_that_are_no_python_names(tmp_path: Path) -> None:
    shard = put(tmp_path, {"raw-text": "a", "class": "id", "a b": "s", "f0": 1})
    (batch,) = read(shard, text="raw-text", id="class", source="a b")
    assert (batch.texts(), batch.ids, batch.sources) == (["a"], ["id"], ["s"])


def test_text_and_id_may_be_one_field(tmp_path: Path) -> None:
    assert read(put(tmp_path, {"text": "a"}), id="text")[0].ids == ["a"]


def test_an_empty_file_has_no_batch(tmp_path: Path) -> None:
    assert read(put(tmp_path)) == []


def test_nul_and_other_odd_characters_are_text(tmp_path: Path) -> None:
    odd = "\0\u2028\x1f\U0001f600\ufeff"
    assert texts(put(tmp_path, json.dumps({"text": odd}).encode())) == [odd]


# --- bad records -----------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[bytes, str]] = {
    "no text": (b'{"content": "a", "id": 1}', r"missing required field `text`; it has: content, id"),
    "no field": (b"{}", r"missing required field `text`; it has: nothing"),
    "null text": (b'{"text": null}', r"Expected `str`, got `null` - at `\$\.text`"),
    "number as text": (b'{"text": 5}', r"Expected `str`, got `int` - at `\$\.text`"),
    "list as id": (b'{"text": "", "id": []}', r"Expected `int \| float \| str \| null`, got `array`"),
    "no JSON": (b"hello", "not valid JSON: invalid character"),
    "cut short": (b'{"text": "a', "not valid JSON: the line ends within a value"),
    "array": (b"[1]", "a JSON array, expected an object a line"),
    "two objects": (b'{"text": "a"}{"text": "b"}', "not valid JSON: trailing characters"),
    "deep": (b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON nested too deeply"),
    "control character": (b'{"text": "a\tb"}', "not valid JSON: invalid character"),
    "damaged and no text": (b'{"body": "\xff"}', "missing required field `text`; it has: body"),
}
bad_records = pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)


@bad_records
def test_a_bad_record_stops_the_run_by_name(tmp_path: Path, bad: bytes, reason: str) -> None:
    good = b'{"text": "a"}'
    at = 28 + {"trailing characters": 14, "invalid character": 11 if b"\t" in bad else 0}.get(reason[16:], 0)
    with pytest.raises(RecordError, match=rf"documents/a\.jsonl:3: .*{reason}.* \(byte {at}\)\n") as caught:
        read(put(tmp_path, good, good, bad, good))
    assert (caught.value.line, caught.value.offset) == (3, at)


@bad_records
def test_a_bad_record_is_skipped_and_counted(tmp_path: Path, bad: bytes, reason: str) -> None:
    good = b'{"text": "a"}'
    intake = Intake()
    (batch,) = read(put(tmp_path, good, bad, good), intake, on_error="skip")
    assert (batch.lines.tolist(), batch.records) == ([1, 3], [good, good])
    assert (intake.documents, intake.n_failed, intake.repaired) == (2, 1, {})
    assert [(record.line, record.offset) for record in intake.failed] == [(2, 14)]


def test_the_error_says_what_to_type_next(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"\n  name another field with `--text-field`.*\n  `--on-error skip`"):
        read(put(tmp_path, b'{"content": ""}'))


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_raw_bytes_are_kept_in_quarantine(tmp_path: Path, compression: str) -> None:
    bad = [b'{"text": \xff\x00 "', b"  padded ", b'{"text": "\\ud800", "id": {}}\r']
    data = b"\n".join([bad[0], b'{"text": "a"}', bad[1], b"", bad[2]])
    path = tmp_path / f"a.jsonl{compression}"
    with streams.open_output(str(path)) as out:
        out.write(data)
    kept = tmp_path / "kept"
    read(shard_at(path), on_error="quarantine", quarantine=str(kept))
    assert sorted(file.name for file in kept.iterdir()) == [f"{path.name}.jsonl", f"{path.name}.reasons.jsonl"]
    assert (kept / f"{path.name}.jsonl").read_bytes() == b"".join(record + b"\n" for record in bad)
    reasons = [json.loads(line) for line in (kept / f"{path.name}.reasons.jsonl").read_text().splitlines()]
    assert [reason["line"] for reason in reasons] == [1, 3, 5]
    assert all(reason["file"] == str(path) and reason["reason"] for reason in reasons)


def test_quarantine_of_pieces_is_the_quarantine_of_the_whole(tmp_path: Path) -> None:
    bad = [b'{"text": %d}' % n for n in range(30)]
    shard = put(tmp_path, *bad)
    for piece in pieces(shard, piece_bytes=100):
        reading = Reading(on_error="quarantine", quarantine=str(tmp_path / "kept"))
        assert list(read_batches(piece, reading, intake=Intake())) == []
    files = sorted((tmp_path / "kept").glob("a.jsonl#0000?.jsonl"))
    assert len(files) > 2
    assert b"".join(file.read_bytes() for file in files) == b"".join(record + b"\n" for record in bad)


def test_without_bad_records_there_is_no_quarantine(tmp_path: Path) -> None:
    read(put(tmp_path, {"text": ""}), on_error="quarantine", quarantine=str(tmp_path / "kept"))
    assert not (tmp_path / "kept").exists()


def test_a_task_that_fails_leaves_no_quarantine(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"bad\n" * 5000)[:-4])
    with pytest.raises(DataError, match="truncated gzip"):
        read(shard_at(path), on_error="quarantine", quarantine=str(tmp_path / "kept"), batch_bytes=1)
    assert [file for file in (tmp_path / "kept").rglob("*") if file.is_file()] == []


def test_quarantine_needs_a_folder() -> None:
    with pytest.raises(ValueError, match="on_error `quarantine` needs a folder"):
        Reading(on_error="quarantine")


def test_the_list_of_bad_records_is_capped_and_all_are_counted(tmp_path: Path) -> None:
    intake = Intake()
    read(put(tmp_path, *[b"bad"] * 500), intake, on_error="skip")
    assert (intake.n_failed, len(intake.failed)) == (500, LISTED_FAILURES)


# --- damaged text ----------------------------------------------------------------------------------------------------

DAMAGED: dict[str, tuple[bytes, str, dict[str, int]]] = {
    "lone high": (rb'{"text": "a\ud800b"}', "a\ufffdb", {"lone_surrogate": 1}),
    "lone low": (rb'{"text": "a\uDfFfb"}', "a\ufffdb", {"lone_surrogate": 1}),
    "reversed pair": (rb'{"text": "\udc00\ud800"}', "\ufffd\ufffd", {"lone_surrogate": 2}),
    "high, then a pair": (rb'{"text": "\ud800\ud83d\ude00"}', "\ufffd\U0001f600", {"lone_surrogate": 1}),
    "after an escaped backslash": (rb'{"text": "\\ud800\ud800"}', "\\ud800\ufffd", {"lone_surrogate": 1}),
    "invalid byte": (b'{"text": "a\xffb"}', "a\ufffdb", {"invalid_utf8": 1}),
    "cut character": (b'{"text": "a\xe2\x82"}', "a\ufffd", {"invalid_utf8": 1}),
    "surrogate in UTF-8": (b'{"text": "\xed\xa0\x80"}', "\ufffd\ufffd\ufffd", {"invalid_utf8": 3}),
    "both, and a U+FFFD of its own": (
        '{"text": "\ufffd\\ud800'.encode() + b'\xff"}',
        "\ufffd\ufffd\ufffd",
        {"invalid_utf8": 1, "lone_surrogate": 1},
    ),
}
damaged = pytest.mark.parametrize(("line", "text", "repaired"), DAMAGED.values(), ids=DAMAGED)


@damaged
def test_damaged_text_is_replaced_and_counted(tmp_path: Path, line: bytes, text: str, repaired: dict[str, int]) -> None:
    intake = Intake()
    good = b'{"text": "ok\\ud83d\\ude00"}'
    (batch,) = read(put(tmp_path, good, line, good), intake)
    assert batch.texts() == ["ok\U0001f600", text, "ok\U0001f600"]
    assert intake.repaired == repaired
    assert msgspec.json.decode((batch.records or [])[1]) == {"text": text}


@damaged
def test_damaged_text_is_a_bad_record_where_that_is_asked(
    tmp_path: Path, line: bytes, text: str, repaired: dict[str, int]
) -> None:
    with pytest.raises(RecordError, match=r"a\.jsonl:1: damaged text: \d (invalid utf8|lone surrogate)"):
        read(put(tmp_path, line), invalid_unicode="error")


def test_the_rest_of_a_repaired_record_keeps_its_bytes(tmp_path: Path) -> None:
    (batch,) = read(put(tmp_path, b'{"n": 1.50, "text": "\\ud800", "big": 12345678901234567890123, "n": 1e999}'))
    assert batch.records == [b'{"n": 1.50, "text": "\\ufffd", "big": 12345678901234567890123, "n": 1e999}']


def test_a_lone_surrogate_in_a_field_that_is_not_read_is_replaced_too(tmp_path: Path) -> None:
    intake = Intake()
    (batch,) = read(put(tmp_path, rb'{"text": "a", "metadata": {"t": "\ud800"}}'), intake)
    assert (batch.records, intake.repaired) == ([rb'{"text": "a", "metadata": {"t": "\ufffd"}}'], {"lone_surrogate": 1})


@pytest.mark.parametrize("on_error", ["skip", "quarantine"])
def test_every_way_of_reading_counts_alike(tmp_path: Path, on_error: str) -> None:
    shard = put(
        tmp_path, *[line for line, _ in BAD.values()], *[line for line, _, _ in DAMAGED.values()], b'{"text":""}'
    )
    reading = Reading(on_error=on_error, quarantine=str(tmp_path / "kept"))  # type: ignore[arg-type]
    seen = []
    for records in (False, True):
        for metadata in (False, True):
            intake = Intake()
            batches = read_batches(shard, reading, intake=intake, records=records, metadata=metadata)
            documents = [(id, text) for batch in batches for id, text in zip(batch.ids, batch.texts(), strict=True)]
            seen.append((documents, intake.failed, intake.n_failed, intake.repaired, intake.bytes))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert len(seen[0][0]) == len(DAMAGED) + 1


# --- size ------------------------------------------------------------------------------------------------------------


def test_a_batch_is_bounded_and_a_longer_document_comes_alone(tmp_path: Path) -> None:
    long = {"text": "x" * 10_000_000}
    batches = read(put(tmp_path, {"text": "a"}, long, *[{"text": "b" * 100}] * 50_000), batch_bytes=1 << 20)
    assert sum(map(len, batches)) == 50_002
    assert sorted(len(batch.utf8) for batch in batches)[-2] < 3 << 20


def test_a_line_of_50_megabytes(tmp_path: Path) -> None:
    shard = put(tmp_path, {"text": "a"}, {"text": "é" * 25_000_000}, {"text": "b"})
    assert [len(text) for text in texts(shard)] == [1, 25_000_000, 1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from dolma.data.dataset import Dataset\n"
        "from dolma.data.documents import Intake, Reading, read_batches\n"
        "(shard,) = Dataset(documents=(sys.argv[1],)).shards()\n"
        "n = sum(len(batch) for batch in read_batches(shard, Reading(), intake=Intake(), records=True))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )

    def peak_of(n_docs: int) -> int:
        path = str(tmp_path / f"{n_docs}.jsonl.gz")
        with streams.open_output(path) as out:
            for _ in range(n_docs // 1000):
                out.write((b'{"text":"' + b"word " * 2000 + b'"}\n') * 1000)
        run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        n, peak = map(int, run.stdout.split())
        assert n == n_docs
        return peak

    assert peak_of(20_000) < 1.2 * peak_of(2_000)


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.bz2", ".jsonl.xz", ".jsonl.lz4", ".parquet"]
)
@pytest.mark.parametrize("n_docs", [0, 1, 1000])
def test_what_was_written_is_read(tmp_path: Path, suffix: str, n_docs: int) -> None:
    path = str(tmp_path / f"a{suffix}")
    lines = [msgspec.json.encode({"id": str(n), "text": f"text {n}"}) for n in range(n_docs)]
    with DocumentWriter(path) as writer:
        writer.write(lines[:500])
        writer.write(lines[500:])
    assert writer.written is not None and writer.written.checksum == streams.checksum(path)
    assert [record for batch in read(shard_at(Path(path))) for record in batch.records or []] == lines


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet"])
def test_an_exception_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(KeyError), DocumentWriter(str(tmp_path / f"a{suffix}")) as writer:
        writer.write([b'{"text":""}'])
        raise KeyError
    assert list(tmp_path.iterdir()) == []
