"""`pytest tests/data/storage/test_hub.py`: a data set on Hugging Face, as a server of our own plays it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dolma.config import TagConfig
from dolma.data import discovery, streams
from dolma.data.attributes import read_attributes
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError, DataError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (dolma[hf])")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "data/a.jsonl": b'{"id":"a","text":"some text"}\n' * 3,
    "data/deep/b.jsonl": b'{"id":"b","text":"more"}\n',
    "README.md": b"# a data set\n",
}


class Hub(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._json([one for path in body["paths"] for one in _entries() if one["path"] == path])

    def do_GET(self) -> None:
        type(self).asked.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        for prefix in ("/api/datasets/own/set/tree/main", f"/api/datasets/own/set/tree/{COMMIT}"):
            if path.startswith(prefix):
                below = path.removeprefix(prefix).strip("/")
                self._json([one for one in _entries() if not below or one["path"].startswith(below + "/")])
                return
        if path in ("/api/datasets/own/set", "/api/datasets/own/set/revision/main"):
            self._json({"id": "own/set", "sha": COMMIT, "private": False, "siblings": []})
        elif path.startswith("/datasets/own/set/resolve/"):
            self._file(path.split("/", 6)[6])
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _file(self, name: str) -> None:
        if (data := FILES.get(name)) is None:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        status = 200
        if given := self.headers.get("Range"):
            start, _, end = given.removeprefix("bytes=").partition("-")
            data, status = data[int(start) : int(end) + 1 if end else None], 206
        self._answer(status, data, {"ETag": f'"{_sha(FILES[name])}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _sha(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _entries() -> list[dict[str, Any]]:
    folders = [{"type": "directory", "path": path, "oid": COMMIT, "size": 0} for path in ("data", "data/deep")]
    files = [{"type": "file", "path": path, "oid": _sha(data), "size": len(data)} for path, data in FILES.items()]
    return folders + files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_are_listed_and_read(hub: type[Hub]) -> None:
    found = discovery.find("hf://datasets/own/set/data/**/*.jsonl")
    assert found.paths == ["hf://datasets/own/set/data/a.jsonl", "hf://datasets/own/set/data/deep/b.jsonl"]
    assert [found.entries[path].size for path in found.paths] == [90, 25]
    assert streams.read_bytes(found.paths[0]) == FILES["data/a.jsonl"]
    with streams.open_seekable(found.paths[0]) as file:
        file.seek(30)
        assert file.read(5) == FILES["data/a.jsonl"][30:35]


def test_documents_are_tagged(hub: type[Hub], tmp_path: Any) -> None:
    dataset = Dataset(documents=("hf://datasets/own/set/data/**/*.jsonl",), attributes=str(tmp_path / "attributes"))
    tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    assert len(read_attributes(str(tmp_path / "attributes/length/a.jsonl.parquet"))) == 3


def test_what_is_not_there(hub: type[Hub]) -> None:
    assert streams.size("hf://datasets/own/set/no.jsonl") is None
    with pytest.raises(DataError, match=r"hf://datasets/own/none/.*: cannot be listed"):
        discovery.find("hf://datasets/own/none/*.jsonl")


def test_nothing_is_written(hub: type[Hub]) -> None:
    with pytest.raises(ConfigError, match="cannot write there; it is for reading only"):
        streams.write_bytes("hf://datasets/own/set/out.jsonl", b"")
