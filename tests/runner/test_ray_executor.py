"""`pytest tests/runner/test_ray_executor.py`: a cluster of two nodes, started and stopped here. About half a minute."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import run_works as works

from dolma.errors import MissingExtraError
from dolma.runner.executors import executor_for
from dolma.runner.options import RunOptions

HERE = str(Path(__file__).parent)
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (dolma[ray])")


def test_without_ray_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--executor ray needs the package 'ray'.*\n  run `pip install"):
        executor_for(RunOptions(executor="ray"), note=print)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ray_environment(folder: str) -> dict[str, str]:
    # A token of the cluster's own: without these, Ray would use, or ask for, the one in the home folder.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": os.path.join(folder, "token")}
    return os.environ | token | {"PYTHONPATH": HERE, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}


class Cluster:
    """Two nodes of one CPU each on this machine, each a `ray start --block` in the foreground."""

    def __init__(self, folder: str) -> None:
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen] = []

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        Path(self.folder, "token").write_text(secrets.token_hex(32))
        self._node("--head", f"--port={port}", f"--temp-dir={self.folder}", "--include-dashboard=false")
        self._await_head()
        self._node(f"--address={self.address}")

    def _await_head(self) -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(self.address.rpartition(":")[2]))) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(Path(self.folder, "log.txt").read_text())

    def _node(self, *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1", "--num-gpus=0"]
        command += ["--object-store-memory=80000000", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        with open(os.path.join(self.folder, "log.txt"), "ab") as log:
            node = subprocess.Popen(
                [*command, *arguments], env=ray_environment(self.folder), stdout=log, stderr=log, start_new_session=True
            )
        self.nodes.append(node)

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.terminate()
        for node in reversed(self.nodes):
            try:
                node.wait(timeout=15)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
            try:
                os.killpg(node.pid, signal.SIGKILL)  # what the node left behind, if anything
            except ProcessLookupError:
                pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # A short path: Ray puts Unix sockets below it, whose names may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="ray-")
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run_program(tmp_path: Path, program: str, *arguments: str, folder: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, env=ray_environment(folder), capture_output=True, text=True, timeout=90)


@needs_ray
@pytest.mark.slow
@pytest.mark.e2e
def test_two_nodes_give_the_bytes_of_one_process(cluster: Cluster, tmp_path: Path) -> None:
    program = """
    import sys, time
    import ray
    import run_works as works
    from dataclasses import dataclass
    from dolma.errors import DataError
    from dolma.runner.options import RunOptions
    from dolma.runner.progress import NullReporter
    from dolma.runner.task import Task, TaskResult

    class Count(NullReporter):
        tasks = documents = 0
        def advance(self, documents=0, bytes=0, *, tasks=0, size=0):
            self.tasks += tasks
            self.documents += documents

    @dataclass(frozen=True)
    class Where:
        def __call__(self, spec):
            import ray
            time.sleep(0.3)
            return TaskResult(payload={"node": ray.get_runtime_context().get_node_id()})

    if __name__ == "__main__":
        folder, address = sys.argv[1:]
        options, count = RunOptions(executor="ray", address=address), Count()
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        for _ in range(300):
            if len([node for node in ray.nodes() if node["Alive"]]) == 2:
                break
            time.sleep(0.1)
        ray.shutdown()

        with works.open_stage([works.file_set(folder)], options=options, reporter=count) as stage:
            stage.finish(works.join_parts(stage, folder, seconds=0.0, n_tasks=6))
        assert (count.tasks, count.documents) == (7, 12), (count.tasks, count.documents)

        with works.open_stage([works.file_set(folder + "-nodes")], options=options) as stage:
            results = stage.run("where", works.tasks_of(works.names(8)), Where())
            assert len({result.payload["node"] for result in results}) == 2
            work = works.Fail(write=works.Write(folder=folder + "-nodes"), name="b-01", known=True)
            try:
                stage.run("fail", works.tasks_of(works.names()), work)
            except DataError as error:
                assert str(error) == "/in/b-01:7: not JSON (byte 99)"
            else:
                raise AssertionError
        assert not ray.is_initialized()
        print("done")
    """
    done = run_program(tmp_path, program, str(tmp_path / "ray"), cluster.address, folder=cluster.folder)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert done.stderr == ""
    works.run_two_phases(str(tmp_path / "local"), options=RunOptions(workers=1))
    assert works.contents(tmp_path / "ray") == works.contents(tmp_path / "local")


@needs_ray
def test_an_address_where_nothing_is_says_what_to_type(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    program = """
    import sys
    import run_works as works
    from dolma.errors import ConfigError
    from dolma.runner.options import RunOptions

    try:
        works.run_write(sys.argv[1], options=RunOptions(executor="ray", address=sys.argv[2]))
    except ConfigError as error:
        print(error)
    """
    done = run_program(tmp_path, program, str(tmp_path / "out"), address, folder=str(tmp_path))
    assert done.stdout.startswith(f"no Ray cluster at {address}: "), (done.stdout, done.stderr)
    assert "`ray start --head`" in done.stdout
