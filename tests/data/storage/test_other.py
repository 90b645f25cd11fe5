"""Addresses that none of our storages is for, by a transport of smart_open."""

from __future__ import annotations

import io
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from smart_open import transport

from dolma.data import streams
from dolma.data.storage import remote
from dolma.errors import ConfigError, DataError


@pytest.fixture
def shelf(monkeypatch):
    """What is at `shelf://host/NAME`, by name: bytes, or an exception to raise."""
    files: dict[str, bytes | Exception] = {}
    module = ModuleType("shelf")

    def open_uri(uri, mode, transport_params):
        assert mode == "rb"
        found = files.get(urlsplit(uri).path.lstrip("/"), FileNotFoundError(uri))
        if isinstance(found, Exception):
            raise found
        return io.BytesIO(found)

    module.SCHEME, module.open_uri = "shelf", open_uri
    module.parse_uri = lambda uri: {"scheme": "shelf", "uri_path": uri}
    module.open = lambda *arguments, **options: None
    monkeypatch.setitem(transport._REGISTRY, "shelf", module)
    monkeypatch.setattr(transport, "SUPPORTED_SCHEMES", (*transport.SUPPORTED_SCHEMES, "shelf"))
    return files


def test_a_file_is_read_and_has_a_size(shelf):
    shelf["a.jsonl"] = b'{"text": "one"}\n'
    assert streams.read_bytes("shelf://host/a.jsonl") == b'{"text": "one"}\n'
    assert streams.size("shelf://host/a.jsonl") == 16
    assert not streams.exists("shelf://host/b.jsonl")


def test_a_command_reads_documents_there(shelf, tmp_path):
    import dolma

    shelf["a.jsonl"] = b'{"id": "1", "text": "one two"}\n'
    report = dolma.tag("shelf://host/a.jsonl", taggers=["length"], attributes=str(tmp_path / "out"), workers=1)
    assert report.ledger.total().out.documents == 1


def test_what_the_client_says_is_said(shelf):
    shelf["a.jsonl"] = RuntimeError("530 login incorrect")
    with pytest.raises(DataError, match=r"shelf://host/a\.jsonl: cannot be read: RuntimeError: 530 login incorrect\n"):
        streams.read_bytes("shelf://host/a.jsonl")


def test_a_package_that_is_missing_is_named(shelf):
    shelf["a.jsonl"] = ImportError("pip install smart_open[shelf]")
    with pytest.raises(ConfigError, match=r"needs another package: pip install smart_open\[shelf\]"):
        streams.read_bytes("shelf://host/a.jsonl")


def test_a_lost_connection_is_tried_again(shelf, monkeypatch):
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)
    shelf["a.jsonl"] = ConnectionResetError("reset by peer")
    with pytest.raises(DataError, match=f"reset by peer, {remote.ATTEMPTS} times"):
        streams.read_bytes("shelf://host/a.jsonl")


def test_nothing_is_written_there(shelf):
    with pytest.raises(ConfigError, match="cannot write there; it is for reading only"):
        streams.write_bytes("shelf://host/a.jsonl", b"")
