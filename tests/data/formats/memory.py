"""How much memory reading takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEASURED = """
import resource, sys
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats import records
from dolma.runner.allocators import give_back
from dolma.runner.compiling import compile_by_calling

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10

give_back()  # which sets the allocators as in a worker
compile_by_calling(None)  # so that both files are read by kernels
(shard,), (small,) = (Dataset(documents=(path,)).shards() for path in sys.argv[1:3])
reading = Reading(on_error="skip", max_line_bytes=int(sys.argv[4]))
whole = sys.argv[3] == "True"
for batch in read_batches(small, reading, intake=Intake(), records=whole):
    pass
before, intake = peak(), Intake()
for batch in read_batches(shard, reading, intake=intake, records=whole):
    pass
print(peak() - before, intake.documents, intake.n_failed)
"""


def measured(path: Path, small: Path, *, records: bool, max_line_bytes: int) -> tuple[int, int, int]:
    """Bytes of memory that reading a file took beyond reading a small one; documents; records left out."""
    command = [sys.executable, "-c", MEASURED, str(path), str(small), str(records), str(max_line_bytes)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, documents, failed = map(int, ended.stdout.split())
    return grown, documents, failed


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read in /proc")
