"""What commands cost before they do anything: CPU time of whole commands, against that of importing Numba and Arrow.

    python -m benchmarks.startup
    python -m benchmarks.startup --repeats 15 --write 2026-11-28

All commands in turn, as often as `--repeats` says; the least CPU time of each counts. Packages that dolma does not
need, but imports by way of others where they are installed (pandas by Arrow, SciPy by Numba), are named.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BASE = "import numba, pyarrow"
LINE = '{"id": "%d", "text": "Some words in a line of its own, as many as there are in short ones."}\n'


def seconds(command: list[str]) -> float:
    """User and system time of a command that succeeds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(folder: Path, repeats: int) -> dict[str, float]:
    """The least CPU seconds of each command."""
    documents, attributes = folder / "documents" / "a.jsonl", folder / "attributes"
    documents.parent.mkdir()
    documents.write_text("".join(LINE % i for i in range(20)))
    dolma = [sys.executable, "-m", "dolma"]
    tag = [*dolma, "tag", "-t", "length", "--documents", str(documents)]
    commands = {
        BASE: [sys.executable, "-c", BASE],
        "dolma --help": [*dolma, "--help"],
        "dolma list": [*dolma, "list"],
        "dolma tag -t length, 20 lines": tag,
        "the same again, nothing to do": tag,
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        shutil.rmtree(attributes, ignore_errors=True)
        for name, command in commands.items():
            found[name].append(seconds(command))
    return {name: min(times[1:]) for name, times in found.items()}  # the first round compiles


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--write", metavar="DATE", help="leave benchmarks/results/DATE-startup.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measured(Path(folder), given.repeats)
    there = [name for name in ("pandas", "scipy") if importlib.util.find_spec(name) is not None]
    lines = [
        "# Start-up",
        "",
        f"CPU seconds of whole commands, least of {given.repeats}, in turn; Python {platform.python_version()}, "
        f"{os.cpu_count()} cores; also installed: {', '.join(there) or 'neither pandas nor SciPy'}.",
        "",
        "| command | seconds | of the first |",
        "| --- | ---: | ---: |",
        *(f"| `{name}` | {time:.2f} | {time / times[BASE]:.2f} |" for name, time in times.items()),
    ]
    text = "\n".join(lines) + "\n"
    if given.write:
        (Path(__file__).parent / "results" / f"{given.write}-startup.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
