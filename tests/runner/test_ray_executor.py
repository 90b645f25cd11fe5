"""`pytest tests/runner/test_ray_executor.py`: a cluster of two nodes, started and stopped here. About half a minute."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import run_works as works
from ray_cluster import Cluster, free_port, ray_environment

from dolma.errors import MissingExtraError
from dolma.runner.executors import executor_for
from dolma.runner.options import RunOptions

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (dolma[ray])")


def test_without_ray_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--executor ray needs the package 'ray'.*\n  run `pip install"):
        executor_for(RunOptions(executor="ray"), note=print)


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
