"""What to do about a file or folder that the file system does not let us read."""

from __future__ import annotations

import errno


def allowed(error: OSError, mode: str) -> str:
    """What to type next; `mode` is what `chmod` takes to allow it."""
    if error.errno == errno.ELOOP:
        return "mend the symbolic links: they lead back to themselves"
    return f"allow yourself to read it: `chmod {mode}`"
