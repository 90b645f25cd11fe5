"""`pytest tests/data/storage/test_web.py`: web servers that say what is not so, lead elsewhere, and never end."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dolma.data import streams
from dolma.data.storage import remote, web
from dolma.errors import DataError

DATA = b"".join(b'{"id":"%06d","text":"some text"}\n' % number for number in range(60_000))  # more than one range
OTHER = DATA.replace(b"some", b"SOME")

Respond = Callable[["Server"], None]


class Server(BaseHTTPRequestHandler):
    """Gives `DATA` in parts; a test replaces `respond`."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        try:
            self.respond()
        except OSError:  # the reader has heard enough
            self.close_connection = True

    def respond(self) -> None:
        self.give()

    @property
    def part(self) -> tuple[int, int]:
        """Begin and end of the bytes that are asked for."""
        first, _, last = self.headers.get("Range", f"bytes=0-{len(DATA)}").removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, len(DATA))

    def give(
        self,
        data: bytes = DATA,
        *,
        parts: bool = True,
        of: str = "bytes {}-{}/{}",
        **headers: str | int,
    ) -> None:
        start, end = self.part
        body = data[start:end] if (parts := parts and "Range" in self.headers) else data
        said = {"Content-Length": len(body), **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.send_response(206 if parts else 200)
        if parts:
            self.send_header("Content-Range", of.format(start, end - 1, len(data)))
        for name, value in said.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def lead_to(self, place: str) -> None:
        self.send_response(302)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Respond], str]]:
    """A function that has a server respond so, and returns the address of a file there."""
    kind = type("Handler", (Server,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0)

    def respond_so(respond: Respond) -> str:
        kind.respond = respond  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{server.server_address[1]}/a.jsonl"

    try:
        yield respond_so
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read(path: str) -> bytes:
    return b"".join(streams.read_chunks(path))


# --- what is read all the same ---------------------------------------------------------------------------------------


def test_a_file_in_parts(serving: Any) -> None:
    assert read(serving(lambda server: server.give(ETag='"a"'))) == DATA


@pytest.mark.parametrize("length", [0, 100, 10 * len(DATA)])
def test_a_length_of_HEAD_that_is_not_so(serving: Any, length: int) -> None:
    def respond(server: Server) -> None:
        server.give(**({"Content_Length": length} if server.command == "HEAD" else {}))

    path = serving(respond)
    assert (read(path), streams.size(path)) == (DATA, len(DATA))


def test_a_server_that_knows_no_parts(serving: Any) -> None:
    assert read(serving(lambda server: server.give(parts=False))) == DATA


def test_an_empty_file_has_no_part(serving: Any) -> None:
    def respond(server: Server) -> None:
        server.send_response(416)
        server.send_header("Content-Range", "bytes */0")
        server.send_header("Content-Length", "0")
        server.end_headers()

    path = serving(respond)
    assert (read(path), streams.size(path)) == (b"", 0)


def test_a_compressed_file_that_a_server_calls_one_that_it_compressed(serving: Any) -> None:
    packed = gzip.compress(DATA[:1000])
    path = serving(lambda server: server.give(packed, parts=False, Content_Encoding="x-gzip"))
    assert read(path + ".gz") == DATA[:1000]


# --- what is an error, as it would be other bytes --------------------------------------------------------------------


def test_parts_that_are_given_for_the_beginning_only(serving: Any) -> None:
    path = serving(lambda server: server.give(parts=server.part[0] == 0))
    with pytest.raises(DataError, match=r"asked for the bytes from [\d,]+ on and gives others\n  download the file"):
        read(path)


def test_parts_that_are_other_ones(serving: Any) -> None:
    def respond(server: Server) -> None:
        server.give(of="bytes {}-{}/{}" if server.part[0] == 0 else f"bytes 0-{1 << 20}/{len(DATA)}")

    with pytest.raises(DataError, match=r"asked for the bytes from [\d,]+ on and gives others"):
        read(serving(respond))


@pytest.mark.parametrize(("header", "mark"), [("ETag", '"{}"'), ("ETag", 'W/"{}"'), ("Last_Modified", "{}")])
def test_a_file_that_is_replaced(serving: Any, header: str, mark: str) -> None:
    def respond(server: Server) -> None:
        first = server.part[0] == 0
        server.give(DATA if first else OTHER, **{header: mark.format("a" if first else "b")})

    with pytest.raises(DataError, match="changed on the server while it was being read\n  nothing was finished"):
        read(serving(respond))


def test_a_file_that_grows(serving: Any) -> None:
    def respond(server: Server) -> None:
        server.give(of="bytes {}-{}/{}" if server.part[0] == 0 else f"bytes {{}}-{{}}/{len(DATA) + 9}")

    with pytest.raises(DataError, match="changed on the server"):
        read(serving(respond))


def test_a_whole_file_that_never_ends(serving: Any) -> None:
    def respond(server: Server) -> None:
        if "Range" in server.headers:
            return server.give(parts=False)
        server.send_response(200)
        server.send_header("Connection", "close")
        server.end_headers()
        while True:
            server.wfile.write(DATA)

    with pytest.raises(DataError, match="changed on the server"):
        read(serving(respond))


def test_a_file_that_a_server_compresses(serving: Any) -> None:
    path = serving(lambda server: server.give(gzip.compress(DATA), parts=False, Content_Encoding="gzip"))
    with pytest.raises(DataError, match=r"the server sends it compressed \(gzip\), although it was asked not"):
        read(path)


# --- other places ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1:1/a", "data:text/plain,a", "/a.jsonl", ""])
def test_where_a_server_leads_that_is_no_web_server_or_a_circle(serving: Any, place: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*\n  see what `curl -IL http://.*` shows; or download"):
        read(serving(lambda server: server.lead_to(place)))


# --- no end ----------------------------------------------------------------------------------------------------------


def begin_of_headers(server: Server) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-A: "


def begin_of_body(server: Server) -> bytes:
    start, end = server.part
    length = f"Content-Range: bytes {start}-{end - 1}/{len(DATA)}\r\nContent-Length: {end - start}"
    return f"HTTP/1.1 206 OK\r\n{length}\r\n\r\n".encode()


@pytest.mark.parametrize("begin", [begin_of_headers, begin_of_body])
def test_a_byte_now_and_then(serving: Any, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Server], bytes]) -> None:
    stopped = threading.Event()

    def respond(server: Server) -> None:
        server.wfile.write(begin(server))
        while not stopped.wait(0.05):
            server.wfile.write(b"a")

    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.5)
    try:
        with pytest.raises(DataError, match="cannot be read: the server answers too slowly"):
            read(serving(respond))
    finally:
        stopped.set()


def test_headers_without_end(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(server: Server) -> None:
        while True:
            server.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.5)
    with pytest.raises(DataError, match="cannot be read: the server answers too slowly"):
        read(serving(respond))
