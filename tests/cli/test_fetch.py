from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dolma.models import public
from dolma.models.fetch import cached_path
from dolma.models.public import PUBLIC, Public

if TYPE_CHECKING:
    from .conftest import Dolma


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of the folder `served`, which has `a.txt` and `b.txt`."""
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.txt").write_text("a.example\n")
    (tmp_path / "served/b.txt").write_text("b.example\n")
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_a_url(server: str, dolma: Dolma) -> None:
    url = f"{server}/a.txt"
    ended = dolma("fetch", url, "--sha256", hashlib.sha256(b"a.example\n").hexdigest())
    assert (ended.status, ended.out) == (0, f"{cached_path(url)}\n")
    assert cached_path(url).read_text() == "a.example\n"


def test_a_name_is_all_of_its_files(server: str, dolma: Dolma, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = (f"{server}/a.txt", f"{server}/b.txt")
    entry = Public(name="mine", kind="list", urls=urls, licence="none", tagger="url_list")
    monkeypatch.setitem(public.PUBLIC, "mine", entry)
    ended = dolma("fetch", "mine", urls[0], "--json")
    assert json.loads(ended.out) == {url: str(cached_path(url)) for url in urls}
    row = next(row for row in json.loads(dolma("fetch", "--list", "--json").out) if row["name"] == "mine")
    assert row["fetched"] == 2


def test_again(server: str, dolma: Dolma, tmp_path: Path) -> None:
    url = f"{server}/a.txt"
    dolma("fetch", url)
    (tmp_path / "served/a.txt").write_text("new.example\n")
    dolma("fetch", url)
    assert cached_path(url).read_text() == "a.example\n"
    dolma("fetch", url, "--again")
    assert cached_path(url).read_text() == "new.example\n"


def test_a_failed_download_ends_with_the_status_of_data(server: str, dolma: Dolma) -> None:
    ended = dolma("fetch", f"{server}/absent.txt")
    assert ended.status == 3
    assert "the server answers 404" in ended.err


def test_a_checksum_of_several(dolma: Dolma) -> None:
    ended = dolma("fetch", "http://a.example/a", "http://a.example/b", "--sha256", "00")
    assert (ended.status, ended.err) == (
        2,
        "error: --sha256 is of one file, and 2 are to be fetched\n  fetch each file by a command of its own\n",
    )


def test_a_misspelt_name(dolma: Dolma) -> None:
    ended = dolma("fetch", "blocklist_hosts_pron_v1")
    assert ended.status == 2
    assert "'blocklist_hosts_pron_v1' is no URL and no name; did you mean 'blocklist_hosts_porn_v1'?" in ended.err


def test_nothing(dolma: Dolma) -> None:
    assert "nothing to fetch\n  give URLs or names" in dolma("fetch").err


def test_the_list_shows_every_name(dolma: Dolma) -> None:
    out = dolma("fetch", "--list").out
    assert all(name in out for name in PUBLIC)
