from __future__ import annotations

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma.errors import ConfigError, DataError
from dolma.models.fetch import cache_folder, cached_path, fetch, fetched_path, http_url, sha256_of

CONTENT = b"bad.example\nworse.example\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path in self.server.cut:
            self.wfile.write(body[: len(body) // 2])
            return
        if self.server.slow:
            time.sleep(0.3)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """Serves what is in `files`, breaks off those in `cut`, and notes what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.asked, self.slow = {"/list.txt": CONTENT}, set[str](), list[str](), False

    def url(self, path: str = "/list.txt") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "cache"


def temporaries(cache: Path) -> list[Path]:
    return list(cache.rglob("*.tmp"))


def test_a_local_path_is_returned_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(CONTENT)
    assert fetched_path(tmp_path / "list.txt") == tmp_path / "list.txt"
    assert fetched_path(f"file://{tmp_path}/list.txt", sha256=SHA256.upper()) == tmp_path / "list.txt"


def test_what_is_no_file_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "a device or a pipe")):
        with pytest.raises(ConfigError, match=f"is {what}, expected a file\n  give the path of a file"):
            fetched_path(path)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file: .*absent\.txt\n  give a path"):
        fetched_path(tmp_path / "absent.txt")


def test_a_url_is_downloaded_once(server: Server) -> None:
    path = fetch(server.url())
    assert path.name == "list.txt"
    assert path.read_bytes() == CONTENT
    assert fetch(server.url(), sha256=SHA256) == path
    assert fetched_path(server.url(), sha256=SHA256) == path
    assert server.asked == ["/list.txt"]


def test_nothing_is_downloaded_unless_asked_for(server: Server) -> None:
    with pytest.raises(ConfigError, match=f"has not been fetched\n  run `dolma fetch {re.escape(server.url())}`"):
        fetched_path(server.url())
    assert server.asked == []


def test_the_command_quotes_a_url_that_a_shell_would_read() -> None:
    with pytest.raises(ConfigError, match=re.escape("run `dolma fetch 'https://example.org/a?b=1&c=2'`")):
        fetched_path("https://example.org/a?b=1&c=2")


def test_again_downloads_what_is_there(server: Server) -> None:
    fetch(server.url())
    server.files["/list.txt"] = b"new"
    assert fetch(server.url()).read_bytes() == CONTENT
    assert fetch(server.url(), again=True).read_bytes() == b"new"


def test_progress_is_told(server: Server) -> None:
    told: list[tuple[int, int | None]] = []
    fetch(server.url(), on_bytes=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_an_interrupted_download_leaves_nothing(server: Server, cache: Path) -> None:
    server.cut.add("/list.txt")
    with pytest.raises(DataError, match=r"the download ended after 65,000 of 130,000 bytes\n  run the command again"):
        fetch(server.url())
    assert not cached_path(server.url()).exists()
    assert temporaries(cache) == []
    server.cut.clear()
    assert fetch(server.url()).read_bytes() == CONTENT


def test_what_a_killed_process_left_is_removed(server: Server, cache: Path) -> None:
    left = cached_path(server.url()).with_name(".list.txt.123-0.tmp")
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT[:10])
    (left.parent / "lock").write_bytes(b"")
    assert fetch(server.url()).read_bytes() == CONTENT
    assert temporaries(cache) == []


def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(server: Server, cache: Path) -> None:
    with pytest.raises(DataError, match=f"SHA-256 is {SHA256}, expected {'0' * 64}"):
        fetch(server.url(), sha256="0" * 64)
    assert not cached_path(server.url()).exists()
    assert temporaries(cache) == []


def test_a_wrong_checksum_does_not_replace_what_is_there(server: Server) -> None:
    fetch(server.url())
    server.files["/list.txt"] = b"tampered"
    with pytest.raises(DataError, match="SHA-256"):
        fetch(server.url(), sha256=SHA256, again=True)
    assert fetched_path(server.url(), sha256=SHA256).read_bytes() == CONTENT


def test_a_file_that_was_changed_in_the_cache_is_found_by_its_checksum(server: Server) -> None:
    fetch(server.url()).write_bytes(b"changed")
    with pytest.raises(DataError, match="not the expected file"):
        fetched_path(server.url(), sha256=SHA256)


def test_an_absent_file_says_what_the_server_answers(server: Server) -> None:
    with pytest.raises(DataError, match=r"/absent: the server answers 404 Not Found"):
        fetch(server.url("/absent"))


def test_no_server() -> None:
    with pytest.raises(DataError, match=r"cannot download: .*refused"):
        fetch("http://127.0.0.1:9/list.txt")


def test_a_path_is_nothing_to_fetch() -> None:
    with pytest.raises(ConfigError, match=r"'list\.txt' is no URL"):
        fetch("list.txt")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"cannot write there: .*\n  name another cache folder in \$DOLMA_CACHE"):
        fetch(server.url())


def test_processes_at_the_same_time_download_once(server: Server) -> None:
    server.slow = True
    script = "import sys; from dolma.models.fetch import fetch; print(fetch(sys.argv[1]).stat().st_size)"
    command = [sys.executable, "-c", script, server.url()]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in running] == [str(len(CONTENT))] * 3
    assert server.asked == ["/list.txt"]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("DOLMA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/dolma")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/dolma")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.example/x/list.txt.gz", "list.txt.gz"),
        ("https://a.example/x/list.txt.gz?version=2", "list.txt.gz"),
        ("https://a.example", "file"),
        ("https://a.example/%2e%2e/..", "file"),
        ("https://a.example/a%2Fb c", "a_b_c"),
        ("https://a.example/lock", "lock_"),
    ],
)
def test_a_cached_file_keeps_its_name(url: str, name: str, cache: Path) -> None:
    path = cached_path(url)
    assert path.name == name
    assert path.parent.parent == cache / "fetched"


def test_a_hugging_face_url_in_either_form_is_one_file() -> None:
    assert cached_path("hf://o/n/b.bin") == cached_path("https://huggingface.co/o/n/resolve/main/b.bin")


def test_urls_that_differ_in_a_query_are_two_files() -> None:
    assert cached_path("https://a.example/l?v=1") != cached_path("https://a.example/l?v=2")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("hf://o/n/a/b.bin", "https://huggingface.co/o/n/resolve/main/a/b.bin"),
        ("hf://o/n@v1/b.bin", "https://huggingface.co/o/n/resolve/v1/b.bin"),
        ("hf://datasets/o/n/b.bin", "https://huggingface.co/datasets/o/n/resolve/main/b.bin"),
        ("https://a.example/b", "https://a.example/b"),
    ],
)
def test_hugging_face_urls(url: str, address: str) -> None:
    assert http_url(url) == address


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"'http://\[::1' is no URL: Invalid IPv6 URL"):
        fetch("http://[::1")


def test_a_bad_hugging_face_url() -> None:
    with pytest.raises(ConfigError, match=r"hf://o/n: expected hf://owner/name"):
        fetch("hf://o/n")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert sha256_of(os.fspath(tmp_path / "a")) == SHA256
