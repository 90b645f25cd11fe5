"""`pytest tests/runner/test_interruption.py`: runs that are killed, interrupted or started wrongly, as subprocesses."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import run_works as works

from dolma.runner.options import RunOptions

pytestmark = pytest.mark.e2e

HERE = str(Path(__file__).parent)
SECONDS = 60.0


def start(tmp_path: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    """The program, from a file, in a process group of its own."""
    path = tmp_path / "program.py"
    path.write_text(f"import sys\nsys.path.insert(0, {HERE!r})\n" + textwrap.dedent(program))
    return subprocess.Popen(
        [sys.executable, str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Status, standard output and error; a process that does not end is killed, workers and all."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def wait_for(condition) -> None:
    """Until the condition holds; an error after a minute."""
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)


def n_records(folder: str) -> int:
    return len(list(Path(folder, ".journal").glob("*/[!.]*.json")))


SLOW = """
import run_works as works
from dolma.runner.options import RunOptions

if __name__ == "__main__":
    works.run_two_phases(sys.argv[1], options=RunOptions(workers=2), seconds=float(sys.argv[2]), n_tasks=8)
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    works.run_two_phases(str(folder), options=RunOptions(workers=1), n_tasks=8)
    return works.contents(folder)


def test_killed_at_any_time_and_run_again_gives_the_same_folder(tmp_path: Path, folder: str, undisturbed) -> None:
    moments = random.Random(1)
    for _ in range(4):
        process = start(tmp_path, SLOW, folder, "0.1")
        time.sleep(moments.uniform(0.2, 0.8))
        process.kill()
        finish(process)
    assert finish(start(tmp_path, SLOW, folder, "0"))[0] == 0
    assert works.contents(folder) == undisturbed


def test_killed_with_its_whole_group_in_the_middle(tmp_path: Path, folder: str, undisturbed) -> None:
    process = start(tmp_path, SLOW, folder, "0.1")
    wait_for(lambda: n_records(folder) >= 3)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    assert finish(start(tmp_path, SLOW, folder, "0"))[0] == 0
    assert works.contents(folder) == undisturbed


SHARD = """
import os, signal
import run_works as works
from dolma.runner.journal import Journal
from dolma.runner.options import RunOptions

write, left = Journal.write, int(sys.argv[3])

def write_and_die(*arguments):
    global left
    result = write(*arguments)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

Journal.write = write_and_die
works.run_two_phases(sys.argv[1], options=RunOptions(workers=1, shard=(int(sys.argv[2]), 2)), n_tasks=8)
"""


@pytest.mark.parametrize("shard", ["1", "2"])
def test_a_shard_killed_after_some_of_its_records_and_started_again(
    tmp_path: Path, folder: str, undisturbed, shard: str
) -> None:
    killed = start(tmp_path, SHARD, folder, shard, "2")
    assert finish(killed)[0] == -signal.SIGKILL
    assert len(list(Path(folder, ".journal", "parts").glob("[!.]*.json"))) == 2
    both = [start(tmp_path, SHARD, folder, number, "0") for number in ("1", "2")]
    try:
        assert [finish(process)[0] for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert works.contents(folder) == undisturbed


# Every change of a name on disk is a moment to die at: before it and after it. One process forks a run for each, since
# a fresh interpreter would cost half a second a moment; there is one worker, hence no thread that a fork could harm.
EVERY_MOMENT = """
import os, shutil, signal, warnings
import run_works as works
from dolma.data import streams
from dolma.runner import together
from dolma.runner.options import RunOptions

if sys.argv[2] == "together":
    together.grouped = lambda sizes: [list(range(len(sizes)))]

# From Python 3.12 on, forking beside native threads warns; the forks here only write files and die.
warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)

def dying(function, moments):
    def wrapped(*arguments, **options):
        tick(moments)
        result = function(*arguments, **options)
        tick(moments)
        return result
    return wrapped

def tick(moments):
    moments[0] -= 1
    if moments[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def run(folder):
    options = RunOptions(workers=1, overwrite=True)
    with works.open_stage([works.file_set(folder, n=2)], options=options) as stage:
        if not stage.complete and sys.argv[2] == "phases":
            stage.finish(works.join_parts(stage, folder, seconds=0.0, n_tasks=2))
        elif not stage.complete:
            work = works.Write(folder=folder)
            stage.finish(stage.run("write", works.tasks_of(works.names(3)), work))

def forked(function, *arguments):
    child = os.fork()
    if child == 0:
        function(*arguments)
        os._exit(0)
    return os.waitpid(child, 0)[1]

def run_and_die(folder, moment):
    moments = [moment]
    os.replace, streams.remove, streams.remove_tree, shutil.rmtree = (
        dying(function, moments) for function in (os.replace, streams.remove, streams.remove_tree, shutil.rmtree)
    )
    run(folder)

if __name__ == "__main__":
    base, moment, status = sys.argv[1], 0, 1
    run(base + "/undisturbed")
    while status:
        moment += 1
        folder = f"{base}/{moment}"
        works.run_write(folder, options=RunOptions(workers=1), specs=["old"], n=1)
        status = forked(run_and_die, folder, moment)
        assert status in (0, signal.SIGKILL), status
        assert forked(run, folder) == 0
        assert works.contents(folder) == works.contents(base + "/undisturbed"), moment
    print(moment)
"""


@pytest.mark.parametrize("tasks", ["phases", "together"])
def test_killed_before_and_after_every_change_on_disk(tmp_path: Path, tasks: str) -> None:
    status, out, err = finish(start(tmp_path, EVERY_MOMENT, str(tmp_path / "runs"), tasks))
    assert (status, err) == (0, "")
    assert int(out) > 20


def test_no_worker_outlives_a_killed_parent(tmp_path: Path, folder: str) -> None:
    process = start(tmp_path, SLOW, folder, "600")
    parent = psutil.Process(process.pid)
    # Two workers that write, and the resource tracker of multiprocessing.
    wait_for(lambda: len(list(Path(folder, ".work").glob(".*.tmp"))) == 2)
    children = parent.children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=SECONDS)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    finish(process)


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_ends_within_seconds_and_keeps_the_journal(
    tmp_path: Path, folder: str, undisturbed, whole_group: bool
) -> None:
    process = start(tmp_path, SLOW, folder, "0.3")
    wait_for(lambda: n_records(folder) >= 2)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT) if whole_group else process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert time.monotonic() - began < 10
    assert status != 0
    assert (out, err.count("Traceback"), err.rstrip().rpartition("\n")[2]) == ("", 1, "KeyboardInterrupt")
    assert 2 <= n_records(folder) < 9
    assert finish(start(tmp_path, SLOW, folder, "0"))[0] == 0
    assert works.contents(folder) == undisturbed


def test_ctrl_c_while_workers_start_up_shows_no_trace_of_theirs(tmp_path: Path, folder: str) -> None:
    process = start(tmp_path, SLOW, folder, "600")
    wait_for(lambda: len(psutil.Process(process.pid).children()) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    status, _, err = finish(process)
    assert status != 0
    assert err.count("Traceback") == 1


def test_a_program_without_main_guard_is_told_so(tmp_path: Path, folder: str) -> None:
    program = """
    import run_works as works
    from dolma.runner.options import RunOptions

    works.run_write(sys.argv[1], options=RunOptions(workers=3))
    print("not reached")
    """
    status, out, err = finish(start(tmp_path, program, folder))
    assert status == 1
    assert out == ""
    assert "put the call under `if __name__ == '__main__':`, or pass `workers=1`" in err
    assert err.count("Traceback") == 1


def test_a_program_whose_import_fails_in_the_worker_is_told_so(tmp_path: Path, folder: str) -> None:
    program = """
    import run_works as works
    from dolma.runner.options import RunOptions

    if __name__ == "__main__":
        works.run_write(sys.argv[1], options=RunOptions(workers=2))
    else:
        raise ImportError("only as a program")
    """
    status, _, err = finish(start(tmp_path, program, folder))
    assert status == 1
    assert "a worker process could not start (exit status 1); its own message is above" in err


def test_somebody_elses_spawned_child_is_told_so(tmp_path: Path, folder: str) -> None:
    program = """
    import multiprocessing
    import run_works as works
    from dolma.runner.options import RunOptions

    if __name__ == "__main__":
        child = multiprocessing.get_context("spawn").Process(target=print)
        child.start()
        child.join()
        sys.exit(child.exitcode)
    works.run_write(sys.argv[1], options=RunOptions(workers=2))
    """
    status, _, err = finish(start(tmp_path, program, folder))
    assert status == 1
    assert "dolma.errors.ConfigError: the main program calls dolma while it is being imported" in err


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_program_that_chose_a_start_method_works(tmp_path: Path, folder: str, method: str) -> None:
    program = f"""
    import multiprocessing
    import run_works as works
    from dolma.runner.options import RunOptions

    if __name__ == "__main__":
        multiprocessing.set_start_method("{method}")
        works.run_write(sys.argv[1], options=RunOptions(workers=2))
        assert multiprocessing.get_start_method() == "{method}"
    """
    assert finish(start(tmp_path, program, folder)) == (0, "", "")
