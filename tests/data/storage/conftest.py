"""Servers on this machine: moto for S3; Azurite and gcp-storage-emulator where they are installed."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # public


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    pytest.importorskip("boto3", reason="boto3 is not installed (dolma[s3])")
    moto = pytest.importorskip("moto.server", reason="moto is not installed (dolma[dev])")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    pytest.importorskip("google.cloud.storage", reason="google-cloud-storage is not installed (dolma[gcs])")
    program = _program("gcp-storage-emulator")
    yield from _served(lambda port, _: [program, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"])


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is not installed (dolma[azure])")
    program, where = _program("azurite-blob"), ["--blobHost", "127.0.0.1", "--blobPort"]
    quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    yield from _served(lambda port, folder: [program, *where, str(port), "--location", folder, *quiet])


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _served(command: Callable[[int, str], list[str]]) -> Iterator[str]:
    import tempfile

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(command(port, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(300):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                pytest.fail("the server does not answer")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=30)


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket of moto's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    import boto3

    name = f"storage-{next(_numbers)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def gs(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)
    from google.cloud import storage

    name = f"storage-{next(_numbers)}"
    storage.Client.create_anonymous_client().create_bucket(name)
    return f"gs://{name}"


@pytest.fixture
def azure(azure_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY};"
        f"BlobEndpoint={azure_server}/devstoreaccount1;"
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    from azure.storage.blob import BlobServiceClient

    name = f"storage-{next(_numbers)}"
    BlobServiceClient.from_connection_string(connection).create_container(name)
    return f"azure://{name}"


@pytest.fixture(params=["local", "s3", "gs", "azure"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of each storage that can be written to."""
    return str(tmp_path) if request.param == "local" else request.getfixturevalue(request.param)
