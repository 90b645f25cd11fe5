"""Memory that a task has let go, given back to the system: what a process takes then follows what it holds.

glibc keeps freed blocks of up to 32 MiB, as it raises the size from which a block is mapped by itself to that of any
such block that was freed; Arrow's mimalloc keeps as much as a task held at its peak. Blocks of 4 MiB and more mapped by
themselves, Arrow on glibc, and a trim between phases took 50 to 110 MiB off the peaks of `tokenize` and of `dedupe` by
paragraphs at `--max-memory 64MiB`, and cost no time that shows (`benchmarks/results/2026-11-28-memory.md`).
Other C libraries are left as they are, and so is what the environment sets.
"""

from __future__ import annotations

import ctypes
import functools
import os

MAPPED_BYTES = 4 << 20
_M_MMAP_THRESHOLD = -3  # of malloc.h


def give_back() -> None:
    """Set the allocators of this process, once, and have them give back what nothing holds."""
    import pyarrow as pa

    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
    pa.default_memory_pool().release_unused()


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    import pyarrow as pa

    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())
    return library
