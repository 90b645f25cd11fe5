"""Memory that is let go goes back to the system. Run: pytest tests/runner/test_allocators.py"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import pyarrow as pa
from dolma.runner.allocators import give_back

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) >> 10

give_back()
before = resident()
blocks = [b"x" * (1 << 20) for _ in range(100)]
last = b"x" * (1 << 20)  # above them all, so that the heap does not get shorter by itself
del blocks
give_back()
print(resident() - before, pa.default_memory_pool().backend_name)
"""


def run(**environment: str) -> list[str]:
    names = ("MALLOC_MMAP_THRESHOLD_", "ARROW_DEFAULT_MEMORY_POOL")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=kept | environment)
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_blocks_that_nothing_holds_are_given_back() -> None:
    mib, pool = run()
    assert int(mib) < 20
    assert pool == "system"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_the_environment_sets_stays() -> None:
    assert run(ARROW_DEFAULT_MEMORY_POOL="mimalloc")[1] == "mimalloc"
