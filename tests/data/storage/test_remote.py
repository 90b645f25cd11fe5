"""`pytest tests/data/storage/test_remote.py`: servers that fail, hang, refuse and forbid."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dolma.data import streams
from dolma.data.storage import remote, retries, web
from dolma.data.storage.table import STORAGES
from dolma.errors import DataError, MissingExtraError, WriteError

DATA = b'{"id":"a","text":"some text"}\n' * 1000


class Faulty(BaseHTTPRequestHandler):
    """A file by ranges, after `failures` answers of `status`; a status of 0 hangs up amid the answer."""

    protocol_version = "HTTP/1.1"
    failures, status, body = 0, 503, b""
    asked: list[str] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_DELETE = do_PUT

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked.append(self.command)
        hangs_up = False
        if kind.failures and (kind.status or self.headers["Range"] != "bytes=0-0"):
            kind.failures -= 1
            if kind.status:
                self._answer(kind.status, kind.body)
                return
            hangs_up = True
        start, end = 0, len(DATA)
        if given := self.headers.get("Range"):
            first, _, last = given.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(DATA))
        self._answer(206 if given else 200, DATA[start:end], part=f"bytes {start}-{end - 1}/{len(DATA)}", cut=hangs_up)

    def _answer(self, status: int, body: bytes, *, part: str = "", cut: bool = False) -> None:
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", part)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Faulty]]]:
    kind = type("Handler", (Faulty,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    yield f"http://127.0.0.1:{server.server_address[1]}", kind
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def hanging() -> Iterator[str]:
    """A server that takes connections and never says anything."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sends `s3://` to a server at an address."""
    pytest.importorskip("boto3", reason="boto3 is not installed (dolma[s3])")

    def at(address: str) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)

    return at


# --- failures that pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_what_passes_is_tried_again_and_counted(faulty: Any, status: int) -> None:
    base, kind = faulty
    kind.failures, kind.status = 3, status
    retries.taken()
    assert streams.read_bytes(f"{base}/a.jsonl") == DATA
    assert list(retries.described()) == [f"{base}: 3 requests failed for a passing reason and had to be made again"]


def test_a_bucket_that_fails_for_a_while_is_read(faulty: Any, amazon: Any) -> None:
    base, kind = faulty
    amazon(base)
    kind.failures, kind.body = 2, b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
    retries.taken()
    assert streams.read_bytes("s3://bucket/a.jsonl") == DATA
    assert retries.taken() == {"s3://bucket": 2}


def test_what_does_not_pass_is_given_up(faulty: Any) -> None:
    base, kind = faulty
    kind.failures = 1000
    with pytest.raises(DataError, match=r"the server answers 503 .*, 8 times\n  see whether `curl -I http://.*` works"):
        streams.read_bytes(f"{base}/a.jsonl")
    assert len(kind.asked) == remote.ATTEMPTS


@pytest.mark.parametrize(("status", "advice"), [(401, "give a signed URL"), (403, "give a signed URL"), (400, "")])
def test_what_will_not_pass_is_not_tried_again(faulty: Any, status: int, advice: str) -> None:
    base, kind = faulty
    kind.failures, kind.status = 1000, status
    with pytest.raises(DataError, match=rf"(?s)the server answers {status} .*{advice}"):
        streams.read_bytes(f"{base}/a.jsonl")
    assert len(kind.asked) <= 2


# --- no answer -------------------------------------------------------------------------------------------------------


def test_patience_ends_within_a_minute() -> None:
    # The last attempt begins within PATIENCE_SECONDS, after a pause of 8 s at most.
    assert remote.PATIENCE_SECONDS + remote.ANSWER_SECONDS <= 60
    assert remote.CONNECT_SECONDS <= remote.ANSWER_SECONDS


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_server_that_never_answers(scheme: str, amazon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 1)
    for module in (web, pytest.importorskip("dolma.data.storage.s3")):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 1)
    with hanging() as base:
        if scheme == "s3":
            amazon(base)
            base = "s3://silent"
        began = time.monotonic()
        with pytest.raises(DataError, match=r"cannot be read: .*(too slowly|Read timeout).*\n  see whether `"):
            streams.read_bytes(f"{base}/a.jsonl")
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_server_that_refuses(scheme: str, amazon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0)
    amazon("http://127.0.0.1:1")
    base = "http://127.0.0.1:1" if scheme == "http" else "s3://nobody"
    with pytest.raises(DataError, match=r"cannot be read: .*(refused|Could not connect).*\n  see whether `"):
        streams.read_bytes(f"{base}/a.jsonl")


# --- S3's own --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "let this user have s3:GetObject there; `aws sts get-caller-identity` shows who that is"),
        (403, "InvalidAccessKeyId", "run `aws configure`, or set AWS_PROFILE"),
        (403, "ExpiredToken", "run `aws configure`, or set AWS_PROFILE"),
        (301, "PermanentRedirect", "set AWS_DEFAULT_REGION to what `aws s3api get-bucket-location --bucket bucket`"),
    ],
)
def test_what_to_type(faulty: Any, amazon: Any, status: int, code: str, advice: str) -> None:
    base, kind = faulty
    amazon(base)
    kind.status, kind.body = status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    def only_gets(self: Any) -> None:
        type(self).failures = 0 if self.command == "HEAD" else 1
        Faulty.do_GET(self)

    kind.do_GET = only_gets
    with pytest.raises(DataError, match=rf"s3://bucket/a\.jsonl: cannot be read: {code} \(no\).*\n  {advice}"):
        streams.read_bytes("s3://bucket/a.jsonl")


def test_writing_without_permission(faulty: Any, amazon: Any) -> None:
    base, kind = faulty
    amazon(base)
    kind.failures, kind.status = 1000, 403
    kind.body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    with pytest.raises(WriteError, match=r"written: AccessDenied .*\n  let this user have s3:PutObject there"):
        streams.write_bytes("s3://bucket/a", b"x")


def test_no_credentials(amazon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    amazon("http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(DataError, match=r"Unable to locate credentials\n  run `aws configure`, or set AWS_PROFILE"):
        streams.list_files("s3://bucket/x")


@pytest.mark.parametrize("scheme", ["s3", "gs", "azure", "hf"])
def test_a_package_that_is_missing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"s3": "boto3", "gs": "google.cloud", "azure": "azure.storage", "hf": "huggingface_hub"}[scheme]
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"run `pip install 'dolma\[{STORAGES[scheme].extra}\]'`"):
        streams.size(f"{scheme}://bucket/name/a")
