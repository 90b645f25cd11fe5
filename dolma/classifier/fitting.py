"""fastText's training in a process of its own, as nothing interrupts it in this one.

`fit` starts this file as a program. It is told what to do in JSON, and ends when its standard input does: with the
process that started it, however that ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any


def fit(options: dict[str, Any], *, model: str) -> str:
    """Train by these options of the library's `train_supervised`, and save the model; "", or what went wrong."""
    # -P: modules beside this one hide none of others.
    command = [sys.executable, "-P", __file__, json.dumps({"options": options, "model": model})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            said = child.stderr.read().strip()
            status = child.wait()
        except BaseException:
            child.kill()  # so that it writes nothing more: the end of its input is not looked at while it saves
            raise
    return "" if status == 0 else said.rpartition("\n")[2] or f"its process ended with status {status}"


def main() -> None:
    """The program."""
    given = json.loads(sys.argv[1])
    threading.Thread(target=_end_with_input, daemon=True).start()
    import fasttext

    fasttext.train_supervised(**given["options"]).save_model(given["model"])


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
