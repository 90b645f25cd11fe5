"""`pytest tests/data/test_object_storage.py`: S3 over HTTP, as moto plays it on this machine, and plain web servers."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TagConfig
from dolma.data import discovery, streams
from dolma.data.attributes import AttributeReader, attribute_schema, read_attributes
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import DocumentWriter, Intake, Reading, read_batches
from dolma.data.manifest import input_content, read_manifest
from dolma.data.storage import remote
from dolma.errors import DataError, OutputExistsError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (dolma[s3])")
moto_server = pytest.importorskip("moto.server", reason="moto is not installed (dolma[dev])")
pytest.importorskip("requests", reason="requests is not installed (dolma[http])")

# boto of before 2025 asks the clock in a way that Python 3.12 warns of.
pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow\(\) is deprecated:DeprecationWarning")
_numbers = itertools.count()
LINES = [json.dumps({"id": f"d{i}", "text": f"text {i}"}).encode() for i in range(6)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    name = f"object-storage-{next(_numbers)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def put(path: str, lines: list[bytes] = LINES) -> str:
    with DocumentWriter(path) as writer:
        writer.write(lines)
    return path


def corpus(base: str) -> Dataset:
    put(f"{base}/web/documents/a.jsonl.gz", LINES[:3])
    put(f"{base}/web/documents/deep/b.jsonl.zst", LINES[3:])
    put(f"{base}/books/documents/c.parquet", LINES[:1])
    return Dataset(documents=(f"{base}/*/documents/**/*",))


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
def test_what_was_written_is_read(bucket: str, suffix: str) -> None:
    path = f"{bucket}/deep/a.jsonl{suffix}"
    with streams.open_output(path) as out:
        out.write(b"text" * 500_000)
        assert not streams.exists(path)
    assert out.written is not None
    assert (out.written.bytes, out.written.checksum) == (streams.size(path), streams.checksum(path))
    assert b"".join(streams.read_chunks(path)) == b"text" * 500_000


def test_an_exception_leaves_nothing(bucket: str) -> None:
    with pytest.raises(KeyError), streams.open_output(f"{bucket}/a.gz") as out:
        out.write(b"x")
        raise KeyError
    assert streams.list_files(bucket) == []


def test_files_are_listed_by_pattern(bucket: str, tmp_path: Path) -> None:
    names = [
        "a.jsonl",
        "x/b.jsonl.gz",
        "x/y/c.parquet",
        "x/.hidden.jsonl",
        ".deep/d.jsonl",
        "x/.d/e.jsonl",
        "x/read.me",
    ]
    for base in (bucket, str(tmp_path)):
        for name in names:
            streams.write_bytes(f"{base}/{name}", b"")
    for pattern in (
        "*.jsonl",
        "**/*.jsonl*",
        "x/**",
        "x",
        "*/?.jsonl.gz",
        "x/[a-c].*",
        "x/[!a]*",
        "x/.*",
        "x/*/*",
    ):
        there = [path.removeprefix(bucket) for path in discovery.find(f"{bucket}/{pattern}").paths]
        here = discovery.find(f"{tmp_path}/{pattern}").paths
        assert there == [path.removeprefix(str(tmp_path)) for path in here], pattern


def test_one_name_is_not_the_beginning_of_another(bucket: str) -> None:
    streams.write_bytes(f"{bucket}/a.jsonl.gz", b"x")
    assert (streams.exists(f"{bucket}/a.jsonl"), streams.exists(f"{bucket}/a.jsonl.gz")) == (False, True)


def test_what_is_not_there(bucket: str) -> None:
    with pytest.raises(FileNotFoundError):
        streams.read_bytes(f"{bucket}/no.json")
    for read in (streams.checksum, lambda path: list(streams.read_chunks(path)), read_attributes):
        with pytest.raises(DataError, match=r"/no\.parquet: no such file"):
            read(f"{bucket}/no.parquet")
    streams.remove(f"{bucket}/no.json")
    streams.remove_tree(f"{bucket}/no")


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    with pytest.raises(DataError, match=r"cannot be listed: NoSuchBucket .*\n  see what `aws s3 ls` shows"):
        discovery.find("s3://nobody-has-this/a*")


def test_a_server_that_is_not_there(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0)
    with pytest.raises(DataError, match="Could not connect"):
        streams.size(f"{bucket}/a")
    with pytest.raises(DataError, match="Could not connect"):
        list(streams.read_chunks(f"{bucket}/a"))


def test_a_truncated_object_is_an_error(bucket: str) -> None:
    path = put(f"{bucket}/documents/a.jsonl.gz")
    streams.write_bytes(path, streams.read_bytes(path)[:-5])
    (shard,) = Dataset(documents=(path,)).shards()
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: truncated gzip: .*\(byte \d+\)"):
        list(read_batches(shard, Reading(), intake=Intake()))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".parquet"])
def test_documents_are_read(bucket: str, suffix: str) -> None:
    (shard,) = Dataset(documents=(put(f"{bucket}/web/documents/a{suffix}"),)).shards()
    assert (shard.name, shard.source) == (f"a{suffix}", "web")
    batches = [
        batch for piece in pieces(shard, piece_bytes=1) for batch in read_batches(piece, Reading(), intake=Intake())
    ]
    assert [text for batch in batches for text in batch.texts()] == [f"text {i}" for i in range(6)]


def test_quarantine_is_kept_there(bucket: str) -> None:
    (shard,) = Dataset(documents=(put(f"{bucket}/web/documents/a.jsonl", [b"bad", LINES[0]]),)).shards()
    reading = Reading(on_error="quarantine", quarantine=f"{bucket}/kept")
    assert [batch.ids for batch in read_batches(shard, reading, intake=Intake())] == [["d0"]]
    assert streams.read_bytes(f"{bucket}/kept/a.jsonl.jsonl") == b"bad\n"


# --- the stage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_tag_writes_beside_the_documents_what_it_writes_locally(bucket: str, tmp_path: Path, workers: int) -> None:
    made = []
    for base in (bucket, str(tmp_path)):
        dataset = corpus(base)
        report = tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=workers))
        assert (report.outputs, report.ledger.total().out.documents) == (3, 7)
        below = [path for path in streams.list_files(base) if "/attributes/" in path and "/.inputs" not in path]
        made.append({path.removeprefix(base): streams.read_bytes(path) for path in below})
        assert dataset.attribute_names() == ["length"]
        with AttributeReader(f"{base}/web/attributes/length/a.jsonl.gz.parquet", ["words"], skip=1) as reader:
            assert reader.take(1).to_pylist() == [{"id": "d1", "words": 2}]
        assert "words" in attribute_schema(f"{base}/web/attributes/length/a.jsonl.gz.parquet")
    assert len(made[0]) == 5
    assert made[0] == made[1]


def test_a_second_run_does_nothing_and_a_changed_file_is_noticed(bucket: str) -> None:
    dataset, options = corpus(bucket), RunOptions(workers=1)
    tag(dataset, TagConfig(taggers=["length"]), options=options)
    manifest = read_manifest(f"{bucket}/web/attributes/length")
    assert manifest is not None and [out.rows for out in manifest.outputs] == [3, 3]
    assert tag(dataset, TagConfig(taggers=["length"]), options=options).complete_before
    put(f"{bucket}/web/documents/a.jsonl.gz", LINES[:2])
    with pytest.raises(OutputExistsError, match=r"input 'a\.jsonl\.gz' is changed"):
        tag(dataset, TagConfig(taggers=["length"]), options=options)


def test_a_stopped_run_goes_on(bucket: str) -> None:
    dataset, options = corpus(bucket), RunOptions(workers=1)
    whole = put(f"{bucket}/web/documents/a.jsonl.gz", LINES[:3])
    good = streams.read_bytes(whole)
    streams.write_bytes(whole, good[:-4])
    with pytest.raises(DataError, match="truncated gzip"):
        tag(dataset, TagConfig(taggers=["length"]), options=options)
    streams.write_bytes(whole, good)
    assert tag(dataset, TagConfig(taggers=["length"]), options=options).outputs == 3
    assert [path for path in streams.list_files(bucket) if "/." in path] == [f"{bucket}/books/attributes/.inputs.json"]


def test_a_changed_output_stops_the_next_stage(bucket: str) -> None:
    tag(corpus(bucket), TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    path = f"{bucket}/books/attributes/length/c.parquet.parquet"
    data = bytearray(streams.read_bytes(path))
    data[len(data) // 2] ^= 1
    streams.write_bytes(path, bytes(data))
    with pytest.raises(DataError, match="changed since it was written"):
        input_content(path)


# --- the web ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server over `tmp_path`, without ranges, as Python brings it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    yield from serve(functools.partial(Quiet, directory=str(tmp_path)))


def serve(handler: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_documents_on_a_web_server(web: str, tmp_path: Path, suffix: str) -> None:
    put(str(tmp_path / "web" / "documents" / f"a{suffix}"))
    dataset = Dataset(documents=(f"{web}/web/documents/a{suffix}",), attributes=str(tmp_path / "attributes"))
    assert tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1)).ledger.total().out.documents == 6
    assert len(read_attributes(str(tmp_path / "attributes" / "length" / f"a{suffix}.parquet"))) == 6


def test_a_page_that_is_not_there(web: str) -> None:
    with pytest.raises(DataError, match=r"documents/a\.jsonl: no such file"):
        Dataset(documents=(f"{web}/documents/a.jsonl",)).shards()


class Dropping(BaseHTTPRequestHandler):
    """Promises a hundred bytes and hangs up after ten."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b'{"text":""')

    def log_message(self, *_: Any) -> None:
        pass


def test_a_connection_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ATTEMPTS", 2)
    server = serve(Dropping)
    base = next(server)
    try:
        with pytest.raises(
            DataError, match=r"cannot be read: IncompleteRead\(0 bytes read, 90 more expected\), 2 times"
        ):
            list(streams.read_chunks(f"{base}/a.jsonl"))
    finally:
        next(server, None)
