"""`pytest tests/e2e/test_ray_s3.py`: Ray on two nodes, documents and outputs on S3; driver and a node killed.

moto plays S3, in this process. The nodes are two `ray start` on this machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runner.ray_cluster import Cluster, ray_environment

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (dolma[s3])")
moto = pytest.importorskip("moto.server", reason="moto is not installed (dolma[dev])")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (dolma[ray])"),
]

SECONDS = 300.0
N_FILES = 6
TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
RECIPE = {
    "documents": ["s3://corpus/documents/*.jsonl.gz"],
    "output": "s3://corpus/out",
    "tag": {"taggers": ["length"]},
    "mix": {"keep": ["length.words > 20"], "sources": {"corpus": {"repeat": 1.5}}},
    "tokenize": {"tokenizer": str(TOKENIZER), "max_tokens_per_shard": 30_000},
}


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """The environment's variables that lead to the server."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


class Bucket:
    """The bucket of the corpus, and of what is made of it."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings["AWS_ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket="corpus")

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket="corpus", Key=key, Body=data)

    def paths(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket="corpus", Prefix="out/")
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def tree(self) -> dict[str, bytes]:
        """All that was written, hidden ones too, but `recipe.yaml`, which says who ran it."""
        keys = [key for key in self.paths() if not key.endswith("recipe.yaml")]
        return {key: self._client.get_object(Bucket="corpus", Key=key)["Body"].read() for key in keys}

    def clear(self) -> None:
        for key in self.paths():
            self._client.delete_object(Bucket="corpus", Key=key)


@pytest.fixture(scope="module")
def bucket(settings: dict[str, str]) -> Bucket:
    import gzip

    bucket, rng = Bucket(settings), random.Random(3)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 9))) for _ in range(500)]
    for number in range(N_FILES):
        texts = [" ".join(rng.choices(words, k=rng.randint(5, 100))) for _ in range(300)]
        lines = [json.dumps({"id": f"{number}-{i}", "text": text}) + "\n" for i, text in enumerate(texts)]
        bucket.put(f"documents/{number}.jsonl.gz", gzip.compress("".join(lines).encode()))
    return bucket


@pytest.fixture(scope="module")
def expected(bucket: Bucket, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes, which then is removed."""
    finish(start(tmp_path_factory.mktemp("one"), settings, "--workers", "1"))
    made = bucket.tree()
    bucket.clear()
    return made


@pytest.fixture
def cluster(settings: dict[str, str]) -> Iterator[Cluster]:
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path, for sockets
    cluster = Cluster(folder, settings=settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
    return subprocess.Popen(
        [sys.executable, "-m", "dolma", "run", "recipe.yaml", *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        stop(process)
    assert process.returncode == 0, said


def stop(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until the condition holds or the process has ended."""
    give_up = time.monotonic() + SECONDS
    while not condition() and process.poll() is None:
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def test_driver_and_a_node_are_killed(
    cluster: Cluster, bucket: Bucket, settings: dict[str, str], expected: dict[str, bytes], tmp_path: Path
) -> None:
    environment = ray_environment(cluster.folder) | settings

    def begin() -> subprocess.Popen[str]:
        return start(tmp_path, environment, "--executor", "ray", "--address", cluster.address)

    def has_records(phase: str) -> Callable[[], bool]:
        return lambda: any(f"/.journal/{phase}/" in path for path in bucket.paths())

    driver = begin()
    try:
        wait_for(has_records("decide"), driver)
        driver.kill()
    finally:
        stop(driver)
    assert bucket.tree() != expected

    driver = begin()
    try:
        wait_for(has_records("encode"), driver)
        cluster.kill()
    except BaseException:
        stop(driver)
        raise
    finish(driver)
    assert bucket.tree() == expected
