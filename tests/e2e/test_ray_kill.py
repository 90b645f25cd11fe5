"""`pytest tests/e2e/test_ray_kill.py`: the driver of a Ray cluster killed in each phase of each stage, and workers.

The driver is a program of its own, as Ray stays in a process that has called it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.every_phase import PHASES

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (dolma[ray])"),
]

REPOSITORY = Path(__file__).parents[2]
SECONDS = 600.0
DEADLY = {
    "measured": "measure",
    "copies": "hash",
    "lines": "group",
    "known": "fill",
    "sampled": "join",
    "tokens": "encode",
    "counted": "describe",
}
"""The stages, and the phase of each in which a worker is killed: a new one takes seconds, so not in all."""
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
import ray
from dolma.runner.local import SINGLE_THREADED
from dolma.runner.options import RunOptions
from dolma.runner.stage import StageRun
from tests.e2e.every_phase import KillOnce, before, make, run, small, tree

home, sockets, deadly_phases = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])

class Deadly:
    # Kills the worker that is the first to be given a task of this phase.
    def __init__(self, work, mark):
        self.work, self.mark = work, mark

    def __call__(self, spec):
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return self.work(spec)
        os.kill(os.getpid(), signal.SIGKILL)

run_phase = StageRun.run

def kill_a_worker(stage, phase, tasks, work, **named):
    deadly = phase == deadly_phases[name]
    return run_phase(stage, phase, tasks, Deadly(work, str(home / name / "mark")) if deadly else work, **named)

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=sockets,
         runtime_env={"env_vars": SINGLE_THREADED})
found = {}
with small():
    make(home / "whole")
    StageRun.run = kill_a_worker
    for name in deadly_phases:
        again = before(home / "whole", name, home / name)
        killed, at = set(), "the beginning"
        while at:
            with KillOnce(killed) as kill:
                run(again, name, RunOptions(executor="ray"))
            at = kill.at
            killed |= {at} - {""}
        assert tree(again, name) == tree(home / "whole", name), name
        assert (again / "mark").exists(), name
        found[name] = sorted(killed)
(home / "found.json").write_text(json.dumps(found))
"""


RAY_FAULT = "You have likely discovered a bug in Ray"


def run_program(folder: Path) -> tuple[int, str]:
    """Run the program in a folder; its status, and what it says of errors."""
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as sockets:  # a short path, for sockets
        process = subprocess.Popen(
            [sys.executable, str(folder / "program.py"), str(folder), sockets, json.dumps(DEADLY)],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, err = process.communicate(timeout=SECONDS)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    return process.returncode, err


def test_killed_in_each_phase_and_run_again(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        status, err = run_program(folder)
        if status == 0 or RAY_FAULT not in err:  # a check of its own by which Ray ends a program, now and then
            break
    assert status == 0, err
    found = json.loads((folder / "found.json").read_text())
    assert list(found) == list(DEADLY)
    assert not [name for name in found if not {*PHASES[name], "the manifest"} <= set(found[name])], found
